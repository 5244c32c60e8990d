"""The jobs and callbacks of the matrix: each says what it sees, as an event and as its result.

Not bound to an app, so that both hosts run the very same functions. Knows no framework.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from redis import Redis
from rq import Retry
from rq.job import Job
from support.matrix.events import emit
from support.matrix.seeing import (
    APPS,
    STRAY,
    active_framework,
    is_anything_active,
    log_ids,
    see,
    surroundings,
)

from ctxjobs import current_job, job
from ctxjobs.keys import ENVELOPE_FIELD


class BoomError(Exception):
    """What the failing jobs raise."""


def look(label: str = "") -> dict[str, Any]:
    """Record that the running job starts, and what it sees."""
    seen = see()
    emit(
        current_job.connection,
        current_job.id,
        "start",
        label=label,
        seen=seen,
        meta=dict(current_job.meta),
        envelope=current_job.connection.hget(current_job.key, ENVELOPE_FIELD),
        **surroundings(),
    )
    return seen


def is_first_run() -> bool:
    """Whether the running job runs for the first time."""
    return int(current_job.connection.incr(f"matrix:runs:{current_job.id}")) == 1


@job
def report(label: str = "") -> dict[str, Any]:
    """Say what is seen."""
    return look(label)


@job(queue="other", description="as decorated", meta={"by": "decorator"})
def report_as_decorated(label: str = "") -> dict[str, Any]:
    """Say what is seen; enqueued with options of its own."""
    return look(label)


@job
async def report_async(label: str = "") -> dict[str, Any]:
    """Say what is seen, after a turn of the event loop."""
    await asyncio.sleep(0)
    return look(label)


@job
def fail(label: str = "") -> None:
    """Raise."""
    look(label)
    raise BoomError(label)


@job
def flaky(label: str = "") -> dict[str, Any]:
    """Raise the first time."""
    seen = look(label)
    if is_first_run():
        raise BoomError(label)
    return seen


@job
def count_in_meta() -> dict[str, Any]:
    """Count the runs in the job's meta, and raise the first time."""
    seen = look()
    current_job.meta["runs"] = (*current_job.meta["runs"], len(current_job.meta["runs"]))
    current_job.save_meta()
    if is_first_run():
        raise BoomError("meta")
    return seen


@job
def hang() -> None:
    """Run for longer than anybody waits."""
    look()
    threading.Event().wait(60)


@job
def comeback(interval_s: int) -> Any:
    """Ask for a retry the first time."""
    seen = look()
    return Retry(max=1, interval=interval_s) if is_first_run() else seen


@job
def nest(depth: int) -> dict[str, Any]:
    """Enqueue a job like this one, *depth* deep."""
    seen = look(f"{depth} to go")
    if depth:
        nest.enqueue(depth - 1)
    return seen


@job
def pollute(fails: bool) -> dict[str, Any]:
    """Leave behind whatever a job can leave behind."""
    seen = look()
    app, (_, framework) = APPS[seen["app"]], active_framework()
    framework.g.stolen = framework.session["stolen"] = "left behind"
    STRAY.set("left behind")
    app.app_context().push()
    app.test_request_context("/nowhere").push()
    if fails:
        raise BoomError("polluted")
    return seen


def on_success(job: Job, connection: Redis, result: Any) -> None:
    """A success callback."""
    _look_from_callback(job, connection, "success", result)


def on_failure(job: Job, connection: Redis, kind: type, exc: BaseException, traceback: Any) -> None:
    """A failure callback."""
    _look_from_callback(job, connection, "failure", repr(exc))


def _look_from_callback(job: Job, connection: Redis, kind: str, outcome: Any) -> None:
    seen = see() if is_anything_active() else None
    facts = {"seen": seen, "current": bool(current_job), "log_ids": log_ids()}
    emit(connection, job.id, "callback", kind=kind, outcome=outcome, **facts)
