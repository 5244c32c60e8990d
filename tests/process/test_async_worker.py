"""``async def`` jobs in a worker: on the child's one event loop, cancelled when their time is over."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from support import async_app
from support.worker_process import run_worker
from support.working import why_failed

from ctxjobs.registry import registry

APP = ("--app", "support.async_app:create_app()")


@pytest.fixture(autouse=True)
def bound(redis_url: str, redis_connection: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "apps", {})
    async_app.create_app(redis_url=redis_url)


def run(redis_url: str, folder: Path) -> str:
    """Run a worker until all is done; its log."""
    with run_worker(folder / "log", "--burst", app=APP, redis_url=redis_url) as worker:
        assert worker.exit_code() == 0
    return worker.log


def test_all_run_on_one_loop(redis_url: str, tmp_path: Path) -> None:
    """The loop of one job is that of the next, so that what belongs to a loop can be kept."""
    jobs = [async_app.which_loop.enqueue() for _ in range(3)]
    run(redis_url, tmp_path)
    assert len({job.return_value() for job in jobs}) == 1


def test_a_job_whose_time_is_over_is_cancelled(
    redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """It may clean up, awaiting; then it has failed over its limit."""
    job = async_app.sleep_long.options(timeout=1).enqueue()
    run(redis_url, tmp_path)
    assert redis_connection.lrange("cancelled", 0, -1) == [job.id.encode()]
    reason = why_failed(redis_connection, job.id)
    assert "JobTimeoutException: Task exceeded maximum timeout value (1 seconds)" in reason


def test_tasks_left_running_are_cancelled_and_named(
    redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """The job succeeds; the log has its id and the name of the task, which ends."""
    job = async_app.leave_task.enqueue()
    log = run(redis_url, tmp_path)
    assert job.return_value() == "left"
    assert f"job {job.id}: it left task 'watcher' running" in log
    assert redis_connection.lrange("cancelled", 0, -1) == [b"watcher"]


def test_a_cancelled_job_leaves_the_next_one_alone(redis_url: str, tmp_path: Path) -> None:
    """On the same loop."""
    jobs = [async_app.sleep_long.options(timeout=1).enqueue(), async_app.which_loop.enqueue()]
    run(redis_url, tmp_path)
    assert [job.get_status() for job in jobs] == ["failed", "finished"]
