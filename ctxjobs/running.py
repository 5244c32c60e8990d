"""The job that runs now, for everybody who asks. May import the floor of the snapshot; knows no RQ."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, Protocol, cast

from werkzeug.local import LocalProxy

from ctxjobs.snapshot import Snapshot


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
