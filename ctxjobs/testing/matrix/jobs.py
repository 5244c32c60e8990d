"""The job functions and callbacks of the matrix: each notes on the stage that it runs, and what it sees.

Not bound to an app, so that every host runs the very same ones. May import the public floors of ctxjobs.
"""

from __future__ import annotations

from typing import Any

from rq import Retry

from ctxjobs.jobs import job
from ctxjobs.testing.matrix.stage import Stage

#: The stage of the matrix that runs now; workers find it here, because they run in the same process.
stages: list[Stage] = []


class MatrixError(Exception):
    """What the failing jobs raise."""


@job
def report() -> None:
    """Run."""
    stages[-1].note("run")


@job
def fail() -> None:
    """Run, and raise."""
    stages[-1].note("run")
    raise MatrixError("as it should")


@job
def fail_once() -> None:
    """Raise the first time."""
    if stages[-1].note("run") == 1:
        raise MatrixError("the first time")


@job
def come_back() -> Any:
    """Ask for a retry the first time."""
    return Retry(max=1) if stages[-1].note("run") == 1 else None


def callback(*_: Any) -> None:
    """Any of RQ's callbacks."""
    stages[-1].note("callback")
