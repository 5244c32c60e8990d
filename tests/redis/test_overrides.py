"""``Override`` on every way to enqueue, in the envelope; and the system context of plain jobs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
from rq import Queue
from support import depot
from support.working import work

from ctxjobs import Override

ACME = Override(g={"tenant": "acme"})

WAYS: dict[str, Any] = {
    "enqueue": lambda jobs: jobs.enqueue(),
    "enqueue_in": lambda jobs: jobs.enqueue_in(60),
    "enqueue_at": lambda jobs: jobs.enqueue_at(datetime.now(timezone.utc) + timedelta(hours=1)),
    "enqueue_many": lambda jobs: jobs.enqueue_many([()])[0],
}


@pytest.mark.parametrize("way", WAYS)
def test_what_was_said_is_in_the_envelope(redis_connection: redis.Redis, redis_url: str, way: str) -> None:
    """Signed, and read back with the job, on every way to enqueue."""
    depot.create_app(redis_url=redis_url)
    job = WAYS[way](depot.note_g.options(context=ACME))
    stored = depot.jobs.queue().fetch_job(job.id)
    assert stored is not None
    assert (stored.refusal, stored.snapshot.overrides, stored.snapshot.g) == (
        None,
        ("g.tenant",),
        {"tenant": "acme"},
    )


def test_a_job_sees_what_was_said(redis_connection: redis.Redis, redis_url: str) -> None:
    """And the next one does not."""
    depot.create_app(redis_url=redis_url)
    depot.note_g.options(context=ACME).enqueue()
    depot.note_g.enqueue()
    work(redis_connection)
    assert depot.ran(redis_connection) == ["acme", "None"]


def test_a_plain_job_runs_in_the_declared_system_context(
    redis_connection: redis.Redis, redis_url: str
) -> None:
    """It was enqueued by a tool that knows no context."""
    depot.create_app(redis_url=redis_url, CTXJOBS_SYSTEM_CONTEXT=ACME)
    job = Queue(connection=redis_connection).enqueue("support.depot.tenant_on_g")
    work(redis_connection, allow_plain=("support.depot.*",))
    assert job.return_value() == "acme"
