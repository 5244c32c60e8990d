"""Whom the loop of a process works for, and what it works with: what the engine asks of each.

Protocols alone. May import the values that they speak of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rq.job import Job

from ctxjobs_worker.cycle import Taken
from ctxjobs_worker.perform import Outcome


class Employer(Protocol):
    """Whom the engine works for: the worker, as far as it is asked.

    Attributes:
        is_stopping: Whether it was asked to stop.
    """

    is_stopping: bool

    def read(self, taken: Taken) -> Job | None:
        """The job that *taken* is, verified or refused; None if it is none."""
        ...

    def queue_for(self, taken: Taken, job: Job) -> Any:
        """RQ's queue in which *taken* was found."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """A job has an outcome: log it, call exception handlers."""
        ...

    def queue_order(self) -> Sequence[str]:
        """Names of the queues, the most urgent first, for the next cycle."""
        ...

    def took_from(self, queue: str) -> None:
        """The next job was taken from this queue."""
        ...

    def between_jobs(self) -> None:
        """What is to be done now and then, when no job runs."""
        ...

    def show(self, state: str) -> None:
        """Show RQ that the worker is in this state."""
        ...

    def register(self) -> None:
        """Register with RQ again, which knows this worker no more."""
        ...


class Performs(Protocol):
    """What performs jobs."""

    def perform(self, taken: Taken, job: Job, began: str | None) -> Outcome:
        """Run *job*, which was read from *taken*: see :meth:`ctxjobs_worker.perform.Performer.perform`."""
        ...
