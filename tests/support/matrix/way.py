"""What a way to enqueue is: what a view does, and what is to become of the jobs.

The ways themselves are in ``ways_plain``, ``ways_options`` and ``ways_rq``; ``ways`` has all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from redis import Redis
from rq.job import Job

import ctxjobs

#: How one run of a job's function ends.
End = Literal["returns", "raises"]


@dataclass
class Desk:
    """What a way may need.

    Attributes:
        bound: The job function that is bound to the app.
        connection: Redis.
        hook_url: Where webhooks are listened for.
        notes: What the way found out, for tests.
    """

    bound: Any
    connection: Redis
    hook_url: str
    notes: dict[str, Any] = field(default_factory=dict)

    def queue(self, **options: Any) -> ctxjobs.Queue:
        """The queue, for RQ's own API."""
        return ctxjobs.Queue("default", connection=self.connection, **options)


@dataclass(frozen=True)
class Way:
    """One way to enqueue.

    Attributes:
        name: Its name.
        enqueue: Enqueues, and returns the jobs.
        runs: How each run of each of the jobs ends.
        where: In which contexts *enqueue* is called.
        requeue: By what a failed job is requeued.
        tidy: Whether the job pops all that it pushes.
        error: How the text of what the runs raise starts.
    """

    name: str
    enqueue: Callable[[Desk], Iterable[Job]]
    runs: tuple[End, ...] = ("returns",)
    where: Literal["view", "app", "nowhere"] = "view"
    requeue: Literal["rq requeue", "Job.requeue", None] = None
    tidy: bool = True
    error: str = "BoomError("


#: All of them by name.
WAYS: dict[str, Way] = {}
TWICE: tuple[End, ...] = ("returns", "returns")
SECOND_TRY: tuple[End, ...] = ("raises", "returns")


def way(**facts: Any) -> Callable[[Callable[[Desk], Iterable[Job]]], Callable[[Desk], Iterable[Job]]]:
    """Make a function a way; *facts* as for :class:`Way`."""

    def register(function: Callable[[Desk], Iterable[Job]]) -> Callable[[Desk], Iterable[Job]]:
        WAYS[function.__name__] = Way(function.__name__, function, **facts)
        return function

    return register


def in_seconds(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)
