"""What ``ctxjobs worker`` was asked to do: one value that all of its processes share.

Travels from supervisor to loader through their pipe, never on a command line (a Redis URL may hold
a password). Imports nothing of ctxjobs.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_NO_REDIS: Final = 3
EXIT_NO_APP: Final = 4
#: A child that ended without being asked to: the supervisor starts another one. From sysexits.h.
EXIT_AGAIN: Final = 75
#: A child that ended in order, to be replaced by a fresh one: the supervisor starts it at once.
EXIT_RECYCLED: Final = 79

#: Of every line that one of its processes logs.
LOG_FORMAT: Final = "%(asctime)s %(name)s: %(message)s"

OnLeak = Literal["log", "recycle", "fail"]
DequeueStrategy = Literal["default", "round_robin", "random"]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of one worker.

    Attributes:
        apps: Apps to load, each as ``module:attribute`` or ``module:factory()``.
        queues: Names of the queues, most urgent first; empty means the apps' default queues.
        url: Redis; None means what the apps' settings name.
        concurrency: How many children run jobs.
        burst: End when the queues are empty.
        with_scheduler: Enqueue scheduled jobs when they are due.
        dequeue_strategy: From which queue the next job is taken; the names are RQ's.
        allow_plain: Patterns of the functions that plain RQ jobs may call.
        on_leak: What to do about a job that left something behind.
        isolate: Run each job in a process of its own.
        drain_timeout_s: For how long running jobs may go on once the worker was asked to stop, in seconds;
            None means until they end.
        kill_grace_s: How long after its time limit a job may go on before its process is killed, in seconds.
        max_jobs_per_child: After how many jobs a child is replaced; None means never.
        max_memory_mib: With how much resident memory a child is replaced after a job, in MiB; None means
            never.
        logging_level: Name of the lowest level that is logged.
    """

    apps: tuple[str, ...]
    queues: tuple[str, ...] = ()
    url: str | None = field(default=None, repr=False)  # it may hold a password
    concurrency: int = 1
    burst: bool = False
    with_scheduler: bool = False
    dequeue_strategy: DequeueStrategy = "default"
    allow_plain: tuple[str, ...] = ()
    on_leak: OnLeak = "log"
    isolate: bool = False
    drain_timeout_s: float | None = None
    kill_grace_s: float = 30.0
    max_jobs_per_child: int | None = None
    max_memory_mib: int | None = None
    logging_level: str = "INFO"

    def to_message(self) -> dict[str, Any]:
        """These options as JSON-shaped values."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> WorkerOptions:
        """Read what :meth:`to_message` wrote."""
        return msgspec.convert(message, cls)

    def resolved(self, url: str, queues: tuple[str, ...]) -> WorkerOptions:
        """These options, with *url* and *queues* where they are silent."""
        return replace(self, url=self.url or url, queues=self.queues or queues)


#: Why a job was ended, in the words that RQ's users know; what is in braces is filled in.
DIED: Final = "Work-horse terminated unexpectedly; {who} ended with {ending}."
OVERDUE: Final = "Work-horse terminated unexpectedly; it did not end after its time limit, and was killed."
KILLED: Final = "Work-horse terminated unexpectedly; it was killed by RQ's command kill-horse."
STOPPED: Final = "Job stopped by user, work-horse terminated."


@dataclass(frozen=True, slots=True)
class Remains:
    """A job whose process is gone, or was ended: what is left to do for it, by a child.

    Attributes:
        worker: Name of the worker that ran it.
        execution_id: Id of the execution.
        job_id: Id of the job.
        queue: Its queue.
        reason: What ended it, in a sentence.
        stopped: Whether it was stopped by RQ's command, and so does not count as failed.
        attempts: How many children have ended over it already.
    """

    worker: str
    execution_id: str
    job_id: str
    queue: str
    reason: str
    stopped: bool = False
    attempts: int = 0

    def to_message(self) -> dict[str, Any]:
        """This as JSON-shaped values."""
        return asdict(self)


def child_name(pid: int, token: str) -> str:
    """Name in RQ of the child with this *pid* on this machine, and this token."""
    return f"{socket.gethostname()}.{pid}.{token[:8]}"
