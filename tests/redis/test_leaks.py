"""What a job leaves behind: found, named with the job's id, removed where possible; failed where asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import flask
import pytest
import redis
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import text
from support import inline_jobs
from support.both_hosts import WEBS, Web
from support.working import QuietWorker, why_failed, work

import ctxjobs
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test."""
    monkeypatch.setattr(registry, "apps", {})


@pytest.fixture(params=WEBS)
def web(request: pytest.FixtureRequest, redis_url: str, redis_connection: redis.Redis) -> Iterator[Web]:
    """A host, with an app of it whose context is active."""
    inline_jobs.events.clear()
    inline_jobs.released.clear()
    web = WEBS[request.param]
    with web.app("leaky", CTXJOBS_REDIS_URL=redis_url).app_context():
        yield web
    inline_jobs.released.set()


def run(connection: redis.Redis, on_leak: str = "log") -> QuietWorker:
    """Work until the queue is empty; return the worker."""
    workers: list[QuietWorker] = []

    class TheWorker(QuietWorker):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, on_leak=on_leak, **kwargs)
            workers.append(self)

    work(connection, system_app="leaky", worker_class=TheWorker)
    return workers[0]


LEAKS: list[tuple[Callable[[], Any], str]] = [
    (
        inline_jobs.leave_a_thread.enqueue,
        "it left thread 'poller' running (threading.Event.wait)",
    ),
    (
        inline_jobs.leave_a_task.enqueue,
        "it left task 'ticker' running, which is cancelled (tick)",
    ),
    (
        inline_jobs.leave_a_context.enqueue,
        "it pushed a context and never popped it (AppContext)",
    ),
]


@pytest.mark.parametrize(("enqueue", "leak"), LEAKS, ids=["thread", "task", "context"])
def test_a_leak_is_logged_with_the_jobs_id(
    web: Web,
    redis_connection: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    enqueue: Callable[[], Any],
    leak: str,
) -> None:
    """The log names the job and the thing; the job is finished."""
    job = enqueue()
    run(redis_connection)
    assert f"job {job.id}: {leak}" in caplog.messages
    assert job.get_status() == "finished"


def test_a_context_of_another_host_is_found(
    web: Web, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """What a job pushed for an app of the other framework is popped, too."""
    other = next(name for name, one in WEBS.items() if one is not web)
    job = inline_jobs.leave_a_context_of_another_app.enqueue(other)
    run(redis_connection)
    assert f"job {job.id}: it pushed a context and never popped it (AppContext)" in caplog.messages


def test_a_thread_is_reported_once(
    web: Web, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The next job is not blamed for it."""
    inline_jobs.leave_a_thread.enqueue()
    inline_jobs.note.enqueue()
    run(redis_connection)
    assert sum("it left thread" in line for line in caplog.messages) == 1


def test_daemon_threads_are_no_leaks(
    web: Web, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Services of the process, such as those of tracers, start with the first job that needs them."""
    inline_jobs.leave_a_daemon_thread.enqueue()
    run(redis_connection)
    assert not [line for line in caplog.messages if "it left" in line]


@pytest.mark.parametrize(("enqueue", "leak"), LEAKS, ids=["thread", "task", "context"])
def test_fail_fails_the_job(
    web: Web, redis_connection: redis.Redis, enqueue: Callable[[], Any], leak: str
) -> None:
    """With on_leak="fail" it is a LeakError that names the job and the thing."""
    job = enqueue()
    run(redis_connection, "fail")
    message = f"LeakError: Job {job.id} returned, and left something behind: {leak}. "
    assert message in why_failed(redis_connection, job.id)


def test_fail_lets_clean_jobs_pass(web: Web, redis_connection: redis.Redis) -> None:
    """A job that leaves nothing is finished."""
    job = inline_jobs.note.enqueue()
    run(redis_connection, "fail")
    assert job.get_status() == "finished"


def test_recycle_ends_after_the_job(web: Web, redis_connection: redis.Redis) -> None:
    """With on_leak="recycle" the worker finishes the job, takes no other one, and says why it ended."""
    jobs = [inline_jobs.leave_a_thread.enqueue(), inline_jobs.note.enqueue()]
    worker = run(redis_connection, "recycle")
    assert worker.is_spoilt
    assert [job.get_status() for job in jobs] == ["finished", "queued"]


def test_an_open_database_session_is_closed(
    redis_url: str,
    redis_connection: redis.Redis,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session that a thread of the job has used, in a context that it never popped, is a leak."""
    app = flask.Flask("orders")
    app.config.update(SECRET_KEY="k" * 32, CTXJOBS_REDIS_URL=redis_url, SQLALCHEMY_DATABASE_URI="sqlite://")
    database = SQLAlchemy()
    database.init_app(app)

    def use_a_session() -> None:
        app.app_context().push()
        database.session.execute(text("select 1"))

    monkeypatch.setattr(inline_jobs.note, "func", lambda number=0: _in_a_thread(use_a_session))
    ctxjobs.CtxJobs(app)
    with app.app_context():
        job = inline_jobs.note.enqueue()
    run(redis_connection)
    assert f"job {job.id}: it left a database session open (Session)" in caplog.messages
    assert database.session.registry.registry == {}


def _in_a_thread(target: Callable[[], None]) -> None:
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
