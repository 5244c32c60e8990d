"""``ctxjobs worker --on-leak``: a child that a job has spoilt is replaced, by real processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from support import inline_jobs
from support.worker_process import run_worker

from ctxjobs.registry import registry

LEAKY = ("--app", "support.inline_jobs:create_app('native')")


def test_recycle_replaces_the_child(
    redis_url: str, redis_connection: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job after a leaky one runs in another process, at once; a burst ends when all are done."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    with inline_jobs.create_app("native").app_context():
        jobs = [
            inline_jobs.which_process.enqueue(),
            inline_jobs.leave_a_thread.enqueue(),
            inline_jobs.which_process.enqueue(),
        ]
    options = ("--burst", "--on-leak", "recycle")
    with run_worker(tmp_path / "log", *options, app=LEAKY, redis_url=redis_url) as worker:
        assert worker.exit_code() == 0
    first, _, last = (job.return_value() for job in jobs)
    assert jobs[1].get_status() == "finished"
    assert first != last
    assert f"job {jobs[1].id}: it left thread 'poller' running (threading.Event.wait)" in worker.log
    assert "was left unclean by its job; starting another one" in worker.log
