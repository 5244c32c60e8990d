"""What somebody has put around RQ's ``perform_job``, as Sentry does, and what becomes of the job."""

from __future__ import annotations

from typing import Any

import pytest
import rq
from redis import Redis
from support import depot
from support.working import status, why_failed, work

from ctxjobs_worker.worker import Worker


def enqueue_two(connection: Redis) -> list[str]:
    queue = rq.Queue(connection=connection)
    return [queue.enqueue(depot.plain, name).id for name in ("first", "second")]


def test_raises_before(redis_connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it raises before the job has run, that job fails with the reason, and the next one runs."""
    perform_job = Worker.perform_job

    def wrapped(self: Worker, job: Any, queue: Any) -> bool:
        if job.args == ("first",):
            raise ZeroDivisionError("around the job")
        return perform_job(self, job, queue)

    monkeypatch.setattr(Worker, "perform_job", wrapped)
    first, second = enqueue_two(redis_connection)
    depot.create_app()
    work(redis_connection, allow_plain=("support.*",))
    assert [status(redis_connection, job_id) for job_id in (first, second)] == ["failed", "finished"]
    assert "around the job" in why_failed(redis_connection, first)


def test_raises_after(redis_connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it raises after the job has run, the job has succeeded all the same."""
    perform_job = Worker.perform_job

    def wrapped(self: Worker, job: Any, queue: Any) -> bool:
        perform_job(self, job, queue)
        raise ZeroDivisionError("around the job")

    monkeypatch.setattr(Worker, "perform_job", wrapped)
    jobs = enqueue_two(redis_connection)
    depot.create_app()
    work(redis_connection, allow_plain=("support.*",))
    assert [status(redis_connection, job_id) for job_id in jobs] == ["finished", "finished"]


def test_says_nothing(redis_connection: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it runs no job, the job fails, and its reason says so."""
    monkeypatch.setattr(Worker, "perform_job", lambda self, job, queue: True)
    jobs = enqueue_two(redis_connection)
    depot.create_app()
    work(redis_connection, allow_plain=("support.*",))
    assert [status(redis_connection, job_id) for job_id in jobs] == ["failed", "failed"]
    assert "returned without a word" in why_failed(redis_connection, jobs[0])
