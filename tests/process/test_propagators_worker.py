"""Propagators through a worker of its own: the job of a logged-in user, then one of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
import structlog
from support.extensions_app import create_app, look_in_job, tenant
from support.worker_process import run_worker

from ctxjobs.registry import registry

APP = ("--app", "support.extensions_app:create_app()")


@pytest.fixture(autouse=True)
def nothing_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    structlog.contextvars.clear_contextvars()


def test_a_worker_puts_back_what_the_view_had_and_forgets_it(
    redis_connection: redis.Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One child runs both jobs; no secret of the user is anywhere in Redis."""
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    app, jobs = create_app(), []
    client = app.test_client()

    def enqueue() -> str:
        token = tenant.set("acme")
        structlog.contextvars.bind_contextvars(order=42)
        jobs.append(look_in_job.enqueue())
        tenant.reset(token)
        return "enqueued"

    def enqueue_alone() -> str:
        structlog.contextvars.clear_contextvars()
        jobs.append(look_in_job.enqueue())
        return "enqueued"

    client.get("/in/7")
    for view, url in ((enqueue, "/?lang=de&zone=Europe/Vienna"), (enqueue_alone, "/?zone=UTC")):
        app.extensions["tests.view"] = view
        assert client.get(url).text == "enqueued"
        client.delete_cookie("session")

    with run_worker(tmp_path / "log", "--burst", app=APP, redis_url=redis_url) as worker:
        assert worker.exit_code(timeout_s=30) == 0
    assert [job.latest_result().return_value for job in jobs] == [
        {
            "user": "7",
            "locale": "de",
            "zone": "Europe/Vienna",
            "bound": {"order": 42},
            "tenant": "acme",
        },
        {"user": None, "locale": "en", "zone": "UTC", "bound": {}, "tenant": "not set"},
    ]
    assert "SECRET" not in repr(
        [redis_connection.hgetall(key) for key in redis_connection.scan_iter("rq:job:*")]
    )
