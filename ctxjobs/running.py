"""The job that runs now, for everybody who asks. May import the floor of the snapshot; knows no RQ."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, cast

from werkzeug.local import LocalProxy

from ctxjobs.snapshot import Snapshot

JobPart = Literal["function", "on_success", "on_failure", "on_stopped"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a job came to run, and what of it runs now; for those who trace it.

    Attributes:
        function: Dotted name of its function.
        queue: Name of its queue.
        part: Its function, or which of its callbacks.
        immediate: Whether this is the first run, straight from the queue that the job was enqueued on:
            nothing delayed, retried, repeated or requeued it, and it waited for no other job.
        retries_left: How many times it will be run again if it fails.
    """

    function: str
    queue: str
    part: JobPart
    immediate: bool
    retries_left: int


class RunningJob(Protocol):
    """A job, as far as its contexts need it.

    Attributes:
        leaks: What it left behind so far, in sentences.
    """

    leaks: Sequence[str]

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def snapshot(self) -> Snapshot | None:
        """What it was enqueued in; None for a plain RQ job."""
        ...

    @property
    def delivery(self) -> Delivery:
        """How it came to run."""
        ...


cv_job: ContextVar[RunningJob] = ContextVar("ctxjobs.current_job")

#: The job that runs now: RQ's Job object. Unlike RQ's own, it follows asyncio tasks.
current_job: Final = cast(
    "Any",
    LocalProxy(
        cv_job,
        unbound_message="Working outside of a job.\n\ncurrent_job is only set while a worker runs a job. "
        "Test with 'if current_job:' where the same code also runs in a request.",
    ),
)
