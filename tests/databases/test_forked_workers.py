"""Forked workers and the connections of an app that has asked its database while it was imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from support.database_apps import DATABASE_URL, look_at_connection
from support.matrix.workers import run_process
from support.worker_process import run_worker

from ctxjobs import App, CtxJobs
from ctxjobs.registry import registry

FACTORIES = ("used_flask_app", "used_native_app")


@pytest.fixture(params=FACTORIES)
def factory(
    request: pytest.FixtureRequest, postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The app that the workers load; here only an app of its id, which can enqueue, is bound."""
    monkeypatch.setenv(DATABASE_URL, postgres_url)
    app = App("shop")
    app.config.update({"SECRET_KEY": "k" * 32, "CTXJOBS_REDIS_URL": redis_url})
    CtxJobs(app)
    return str(request.param)


def enqueue() -> list[Any]:
    """Two jobs."""
    with registry.apps["shop"].host.app.app_context():
        return [look_at_connection.enqueue(), look_at_connection.enqueue()]


def test_a_child_has_connections_of_its_own(
    factory: str, redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """Two processes on one connection read each other's answers; PostgreSQL says who is connected."""
    jobs = enqueue()
    app = ("--app", f"support.database_apps:{factory}()")
    with run_worker(tmp_path / "log", "--burst", app=app, redis_url=redis_url) as worker:
        assert worker.exit_code(timeout_s=30) == 0
    for seen in (job.latest_result().return_value for job in jobs):
        assert seen["now"] != seen["at_import"]


def test_a_stock_worker_that_has_loaded_the_app(
    factory: str, redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """RQ's worker forks for each job, and each fork connects anew."""
    jobs = enqueue()
    (tmp_path / "preload.py").write_text(f"import support.database_apps as apps\napp = apps.{factory}()\n")
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", redis_url]
    command += [f"--path={tmp_path}", "--config=preload"]
    run_process(command, redis_url, CTXJOBS_APP="preload:app")
    seen = [job.latest_result().return_value for job in jobs]
    assert len({one["pid"] for one in seen}) == 2
    assert len({one["at_import"] for one in seen}) == 1
    assert all(one["now"] != one["at_import"] for one in seen)


@pytest.mark.parametrize("factory", FACTORIES[:1], indirect=True)
def test_a_child_that_cannot_let_go_takes_no_job(
    factory: str, redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """It ends, and the supervisor tries again; the log says which app and why."""
    jobs = enqueue()
    app = ("--app", "support.database_apps:app_with_a_broken_engine()")
    with run_worker(tmp_path / "log", app=app, redis_url=redis_url) as worker:
        worker.wait_for_log("propagator broken: app 'shop' cannot be used after the fork")
        worker.wait_for_log("ZeroDivisionError")
        worker.stop()
        assert worker.exit_code() == 0
    assert [job.get_status() for job in jobs] == ["queued", "queued"]
