"""``ctxjobs worker --isolate``: what a job's own process tells is all there, whoever writes it down."""

from __future__ import annotations

from pathlib import Path

import redis
from support import depot
from support.worker_process import run_worker
from support.working import fields_of, status, why_failed


def test_what_rq_writes_of_an_isolated_job_is_complete(
    redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """Of a job that others depend on, the value or the reason is there, and who ran it."""
    depot.create_app(redis_url=redis_url)
    good, bad = depot.note.enqueue("good"), depot.fail.enqueue("bad")
    after = depot.note.options(depends_on=good).enqueue("after")
    depot.note.options(depends_on=bad).enqueue("never")
    with run_worker(tmp_path / "log", "--burst", "--isolate", redis_url=redis_url) as worker:
        assert worker.exit_code() == 0
    assert (good.return_value(), after.return_value()) == ("good", "after")
    assert "ValueError: the job failed" in why_failed(redis_connection, bad.id)
    assert status(redis_connection, bad.id) == "failed"
    assert all(fields_of(redis_connection, job.id)["worker_name"] for job in (good, bad))
