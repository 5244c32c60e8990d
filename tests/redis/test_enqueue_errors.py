"""What cannot be enqueued or stored: a clear error at once, and nothing left in Redis."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import flask
import flask_login
import pytest
import redis
from support import depot
from support.both_hosts import WEBS
from support.working import status, why_failed, work

import ctxjobs
from ctxjobs import App, Capture, Queue, g
from ctxjobs.errors import (
    CtxJobsError,
    NotAJobError,
    RedisUnavailableError,
    SnapshotTooLargeError,
    UnboundJobError,
    UnencodableValueError,
    ValueLimitError,
)
from ctxjobs.registry import registry


@pytest.fixture
def connection(redis_url: str, redis_connection: redis.Redis) -> redis.Redis:
    """An empty Redis, with the app ``depot`` bound to it."""
    depot.create_app(redis_url=redis_url)
    return redis_connection


@pytest.fixture
def app(connection: redis.Redis) -> App:
    return registry.apps["depot"].host.app


# --- Arguments ------------------------------------------------------------------------------


class Order:
    """A class of an app that the codec does not know."""

    id = 7


def generate() -> Iterator[int]:
    yield 1


ARGUMENTS: dict[str, tuple[Any, str]] = {
    "current_app": (ctxjobs.current_app, "current_app.name"),
    "g": (ctxjobs.g, "It is a proxy"),
    "request": (ctxjobs.request, "It is a proxy"),
    "session": (ctxjobs.session, "It is a proxy"),
    "current_user": (flask_login.current_user, "current_user.id"),
    "an object": (Order(), "id"),
    "a generator": (generate(), "list"),
    "a lambda": (lambda: 1, ""),
    "a bound method": (Order().__init__, ""),
    "a class": (Order, ""),
    "a file": (sys.stdout, ""),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_travel(app: App, connection: redis.Redis, name: str) -> None:
    """The error names the parameter and says what to pass instead; nothing is left in Redis."""
    value, advice = ARGUMENTS[name]
    with app.test_request_context("/"), pytest.raises(UnencodableValueError) as caught:
        depot.note.enqueue(value)
    assert caught.value.path == "argument name"
    assert advice in caught.value.advice
    assert connection.keys() == []


class LoggedIn(flask_login.UserMixin):
    def __init__(self, user_id: str) -> None:
        self.id = user_id


def test_a_logged_in_user_as_an_argument(connection: redis.Redis, redis_url: str) -> None:
    """``current_user`` of Flask-Login, logged in: the error says to pass its id."""
    app = WEBS["flask"].app("users", CTXJOBS_REDIS_URL=redis_url)
    login = flask_login.LoginManager(app)
    login.user_loader(LoggedIn)
    with app.test_request_context("/"):
        flask.session["_user_id"] = "7"
        with pytest.raises(UnencodableValueError, match=r"current_user\.id"):
            unbound.enqueue(flask_login.current_user)
    registry.apps.pop("users")
    assert connection.keys() == []


@ctxjobs.job
def unbound(value: Any) -> None: ...


def test_a_value_inside_of_an_argument_is_named_by_its_path(connection: redis.Redis) -> None:
    """However deep it is, the error says where."""
    with pytest.raises(UnencodableValueError, match=r"^argument name\.lines\[1\]: Order cannot be encoded"):
        depot.note.enqueue({"lines": [1, Order()]})
    assert connection.keys() == []


@pytest.mark.parametrize(
    ("value", "what"),
    [("x" * (17 << 20), "bytes"), (functools.reduce(lambda v, _: [v], range(500), 1), "levels")],
)
def test_an_argument_over_a_limit(connection: redis.Redis, value: Any, what: str) -> None:
    """A queue is no file store: the error says how much it is, and how much may be."""
    with pytest.raises(ValueLimitError) as caught:
        depot.note.enqueue(value)
    assert caught.value.what == what
    assert connection.keys() == []


# --- Every way to enqueue leaves nothing ----------------------------------------------------

WAYS: dict[str, Callable[[Any], Any]] = {
    "enqueue": depot.note.enqueue,
    "enqueue_in": lambda value: depot.note.enqueue_in(60, value),
    "enqueue_many": lambda value: depot.note.enqueue_many([("fine",), (value,)]),
    "unique": lambda value: depot.note.options(unique=True, job_id="one").enqueue(value),
    "meta": lambda value: depot.note.options(meta={"order": value}).enqueue("fine"),
    "Queue.enqueue": lambda value: depot.jobs.queue().enqueue(depot.note, value),
    "Queue.enqueue_call": lambda value: depot.jobs.queue().enqueue_call(depot.note, (value,)),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_enqueue_leaves_nothing(connection: redis.Redis, way: str) -> None:
    """Whichever way a job is enqueued, a value that does not encode leaves no trace of any job."""
    with pytest.raises(UnencodableValueError):
        WAYS[way](Order())
    assert connection.keys() == []


def test_a_snapshot_over_the_limit(redis_url: str, connection: redis.Redis) -> None:
    """The error names the largest value; nothing is left in Redis."""
    app = depot.create_app(redis_url=redis_url, CTXJOBS_SNAPSHOT_LIMIT_BYTES=100)
    with app.app_context():
        g.report = "x" * 200
        with pytest.raises(SnapshotTooLargeError, match=r"Its largest value is g\.report\."):
            depot.note.options(capture=Capture(g=("report",))).enqueue("note")
    assert connection.keys() == []


# --- What is no job -------------------------------------------------------------------------


class Shop:
    def method(self) -> None: ...

    def __call__(self) -> None: ...


def nested() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


async def generate_later() -> Any:
    yield 1


NO_JOBS: dict[str, tuple[Any, str]] = {
    "bound method": (Shop().method, "it is a method"),
    "method": (Shop.method, "it is defined in a class"),
    "lambda": (lambda: None, "it is a lambda"),
    "nested": (nested(), "it is defined inside another function"),
    "generator function": (generate, "it is a generator function"),
    "async generator function": (generate_later, "it is a generator function"),
    "class": (Shop, "it is a type"),
    "callable object": (Shop(), "it is a Shop"),
    "builtin": (print, "it is a builtin_function_or_method"),
    "partial": (functools.partial(print), "it is a partial"),
}


@pytest.mark.parametrize("name", NO_JOBS)
@pytest.mark.parametrize(
    "decorate", [ctxjobs.job, depot.jobs.job, ctxjobs.job(timeout=3)], ids=["job", "bound", "options"]
)
def test_what_a_worker_could_not_find_is_no_job(name: str, decorate: Any) -> None:
    """``@job`` refuses at import what no worker could run, and says why."""
    func, reason = NO_JOBS[name]
    with pytest.raises(NotAJobError) as caught:
        decorate(func)
    assert caught.value.reason.startswith(reason)


@pytest.mark.parametrize("name", NO_JOBS)
def test_a_queue_refuses_what_is_no_job(connection: redis.Redis, name: str) -> None:
    """``ctxjobs.Queue`` takes job functions only, and says why for each other thing."""
    func, reason = NO_JOBS[name]
    with pytest.raises(NotAJobError) as caught:
        Queue(connection=connection).enqueue(func)
    assert caught.value.reason.startswith(reason)
    assert connection.keys() == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (depot.plain, "it is not under @job"),
        ("support.depot.plain", "it is not under @job"),
        ("support.depot.gone", "it cannot be imported"),
        ("no_such_shop.f", "it cannot be imported"),
        ("os.getenv", "it is not under @job"),
        (depot.note.func, "it is not under @job"),
    ],
)
def test_a_queue_refuses_a_function_that_is_not_under_job(
    connection: redis.Redis, given: Any, reason: str
) -> None:
    """A plain function, by itself or by its name, is no job."""
    with pytest.raises(NotAJobError) as caught:
        Queue(connection=connection).enqueue(given, "x")
    assert caught.value.reason.startswith(reason)
    assert connection.keys() == []


SCRIPT = """
import sys, redis
from ctxjobs import App, CtxJobs
from ctxjobs.errors import NotAJobError
app = App(__name__)
app.config.update(SECRET_KEY="k", CTXJOBS_APP_ID="script", CTXJOBS_REDIS_URL=sys.argv[1])
jobs = CtxJobs(app)
@jobs.job
def f(): ...
try:
    eval(sys.argv[2])
except NotAJobError as error:
    print(error)
print(redis.Redis.from_url(sys.argv[1]).keys())
"""


@pytest.mark.parametrize(
    "way", ["f.enqueue()", "f.enqueue_in(60)", "f.enqueue_many([()])", "jobs.queue().enqueue_call(f)"]
)
def test_a_job_of_the_script_that_runs(
    redis_url: str, connection: redis.Redis, tmp_path: Path, way: str
) -> None:
    """A function in ``__main__`` has another name in the worker: the error says to move it."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-W", "error", str(script), redis_url, way]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.splitlines() == [
        "__main__.f cannot be a job: it is defined in the script that runs. Move it to a module that both "
        "the web process and the worker import.",
        "[]",
    ]


# --- No app, no Redis -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "context", [nullcontext(), App("unbound").app_context()], ids=["none", "unbound app"]
)
def test_an_unbound_job_needs_a_context(connection: redis.Redis, context: Any) -> None:
    """Outside of the contexts of a bound app, the error says to push one or to bind the job."""
    expected = r"with app\.app_context\(\).*jobs = CtxJobs\(app\)"
    with context, pytest.raises(UnboundJobError, match=expected):
        unbound.enqueue(1)
    assert connection.keys() == []


@pytest.mark.parametrize("way", ["enqueue", "enqueue_in", "enqueue_many"])
def test_redis_that_does_not_answer(way: str) -> None:
    """The error names the URL without the password."""
    depot.create_app(redis_url="redis://clerk:hush@127.0.0.1:1/0")
    with pytest.raises(RedisUnavailableError) as caught:
        WAYS[way]("note")
    assert caught.value.url == "redis://clerk:***@127.0.0.1:1/0"
    assert "hush" not in str(caught.value)


def test_no_redis_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL the error says which setting to make."""
    depot.create_app()
    with pytest.raises(CtxJobsError, match="CTXJOBS_REDIS_URL: is not set for app 'depot'"):
        depot.note.enqueue("note")


# --- Results --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("generator", "result: generator cannot be encoded"),
        ("proxy", "result: "),
        ("object", "result: Order cannot be encoded"),
        ("object in a list", "result[1]: Order cannot be encoded"),
        ("lazy", "result: "),
        ("function", "result: function cannot be encoded"),
    ],
)
def test_a_result_that_cannot_be_stored_fails_its_job(
    connection: redis.Redis, kind: str, expected: str
) -> None:
    """The job fails with the path and the advice, and the next one runs."""
    job = depot.give.enqueue(kind)
    depot.note.enqueue("next")
    work(connection)
    assert (status(connection, job.id), depot.ran(connection)) == ("failed", ["next"])
    assert expected in why_failed(connection, job.id)
