"""What happens while the matrix runs: the events, and the Redis and the workers that it happens with.

May import the public floors of ctxjobs and RQ; imports no test framework. Everything runs in the test's own
process, so that jobs and callbacks can be watched, and what they leave behind be seen.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Literal, cast

import rq
from redis import Redis
from rq.scheduler import RQScheduler

from ctxjobs.hosts import active_hosts
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs.rqjob import ContextJob, Queue
from ctxjobs.running import current_job

QUEUE: Final = "matrix"
#: How long all runs of one way may take; repeats wait for a second.
DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        kind: A function ran, a callback ran, or an application context was torn down.
        who: Id of the job; ``thread`` or ``caller`` outside of one.
        seen: What the function or the callback saw.
        error: The exception that teardown got.
        envelope: What Redis held of the job's envelope; None outside of a job, and without Redis.
    """

    kind: Literal["run", "callback", "teardown"]
    who: str
    seen: Any = None
    error: BaseException | None = None
    envelope: bytes | None = None


@dataclass
class Stage:
    """Where the ways are played.

    Attributes:
        see: Tells what code sees.
        connection: Redis.
        who: Who runs outside of a job.
        events: What happened so far.
    """

    see: Callable[[], Any]
    connection: Redis
    who: str = "caller"
    events: list[Event] = field(default_factory=list)

    def note(self, kind: Literal["run", "callback"]) -> int:
        """Write down that a function or a callback runs; how often this one has run by now."""
        self.events.append(Event(kind, self._who(), self.see(), envelope=self._envelope()))
        return sum(event.kind == kind and event.who == self._who() for event in self.events)

    def torn_down(self, error: BaseException | None) -> None:
        """Write down that an application context is torn down."""
        self.events.append(Event("teardown", self._who(), error=error))

    @contextmanager
    def as_who(self, who: str) -> Iterator[None]:
        """Inside, what runs outside of a job is told of as *who*."""
        before, self.who = self.who, who
        try:
            yield
        finally:
            self.who = before

    def _who(self) -> str:
        return current_job.id if current_job else self.who

    def _envelope(self) -> bytes | None:
        connection = current_job.connection if current_job else None
        if not isinstance(connection, Redis):
            return None
        return cast("bytes | None", connection.hget(current_job.key, ENVELOPE_FIELD))

    def app(self) -> Any:
        """The app whose contexts are active."""
        return next(host.app for host, _ in active_hosts())

    # --- Redis and workers ----------------------------------------------------------------

    def queue(self, **options: Any) -> Queue:
        """The queue of the matrix."""
        return Queue(QUEUE, connection=self.connection, **options)

    def fetch(self, job_id: str) -> ContextJob:
        """A job as a worker reads it."""
        return cast("ContextJob", ContextJob.fetch(job_id, connection=self.connection))

    def work(self, stock: bool = False) -> None:
        """Run jobs until none is queued and none is scheduled.

        Args:
            stock: Let RQ's own ``SimpleWorker`` run them.

        Raises:
            TimeoutError: There are still jobs after :data:`DEADLINE_S`.
        """
        give_up_at = time.monotonic() + DEADLINE_S
        while True:
            self._release_what_is_due()
            if self.queue().count:
                _work_off(self._worker(stock))
            elif not self.queue().scheduled_job_registry.count:
                return
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"there are still jobs after {DEADLINE_S:.0f} s")
            time.sleep(_POLL_S)

    def _worker(self, stock: bool) -> Any:
        # By name: the library never imports the worker, but for tests that run one.
        worker_class = rq.SimpleWorker if stock else import_module("ctxjobs_worker.worker").Worker
        # Nobody sends it commands, and the end of listening for them takes up to a second.
        deaf = {"subscribe": lambda worker: None, "unsubscribe": lambda worker: None}
        return type("MatrixWorker", (worker_class,), deaf)([QUEUE], connection=self.connection)

    def _release_what_is_due(self) -> None:
        scheduler: Any = RQScheduler([QUEUE], connection=self.connection)
        scheduler.prepare_registries([QUEUE])
        scheduler.enqueue_scheduled_jobs()


def _work_off(worker: Any) -> None:
    """Run *worker* until its queue is empty; the process keeps its own signal handlers."""
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.getsignal(one) for one in signals]
    try:
        worker.work(burst=True, logging_level=None)  # what the process says about logs stays
    finally:
        for one, handler in zip(signals, handlers, strict=True):
            signal.signal(one, handler)
