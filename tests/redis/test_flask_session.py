"""Flask-Session on Redis: what a job sees of it."""

from __future__ import annotations

from collections.abc import Iterator

import flask
import pytest
import redis
from flask_session import Session
from support.capturing import Recorder, bind
from werkzeug.test import Client

from ctxjobs import run_in_context
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def nothing_bound() -> Iterator[None]:
    before = dict(registry.apps)
    registry.apps.clear()
    yield
    registry.apps.clear()
    registry.apps.update(before)


def test_the_job_neither_reads_nor_writes_the_store(redis_connection: redis.Redis) -> None:
    """The job sees the session as it was captured; what the store holds then is not looked at or changed."""
    view = Recorder()
    app = bind(flask.Flask("shop"), SESSION_TYPE="redis", SESSION_REDIS=redis_connection)
    Session(app)
    app.add_url_rule("/in", "in", lambda: flask.session.update(user=42, cart=["tea"]) or "in")
    app.add_url_rule("/", "home", view)
    client = Client(app)
    client.get("/in")
    client.get("/")
    assert view.seen["session"] == {"user": 42, "cart": ["tea"]}
    redis_connection.flushall()
    assert view.job() == view.seen
    run_in_context(view.snapshot, lambda: flask.session.update(user=7))
    assert redis_connection.keys() == []
