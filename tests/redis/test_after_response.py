"""``options(after="response")``: the job is made at the call, and pushed once the response was sent."""

from __future__ import annotations

import gc
import http.client
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from support.both_hosts import WEBS, Web
from support.waiting import wait_until
from support.working import why_failed, work
from werkzeug.exceptions import NotFound
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder
from werkzeug.utils import send_file
from werkzeug.wrappers import Response

from ctxjobs import App, ContextJob, CtxJobs, job
from ctxjobs.errors import ConfigError
from ctxjobs.registry import registry


@job
def echo(value: Any = None) -> Any:
    return value


later = echo.options(after="response")


@job
def enqueue_in_job() -> None:
    later.enqueue()


class BoomError(Exception):
    """What views raise."""


class Site:
    """An app of one view, which each test gives.

    Attributes:
        view: The view.
        jobs: What it has enqueued.
    """

    def __init__(self, web: Web, redis_url: str) -> None:
        self.app = web.app(TESTING=False, CTXJOBS_REDIS_URL=redis_url)
        self.app.add_url_rule("/view", "view", lambda: self.view(), methods=["GET", "HEAD"])
        self.g = web.g
        self.view: Callable[[], Any] = self.enqueue
        self.jobs: list[ContextJob] = []

    def enqueue(self, value: Any = None) -> str:
        """Enqueue one job; also a view."""
        self.jobs.append(later.enqueue(value))
        return "answer"

    def call(self, **options: Any) -> Any:
        """The body of the response, as a WSGI server gets it."""
        environ = EnvironBuilder("/view", **options).get_environ()
        return self.app(environ, lambda *args: None)

    def get(self, **options: Any) -> bytes:
        """Do what a server does."""
        body = self.call(**options)
        try:
            return b"".join(body)
        finally:
            if hasattr(body, "close"):
                body.close()

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.jobs]


@pytest.fixture(params=WEBS)
def site(
    request: pytest.FixtureRequest,
    redis_url: str,
    redis_connection: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> Site:
    """The site on each host, with an empty Redis."""
    monkeypatch.setattr(registry, "apps", {})
    caplog.set_level(logging.WARNING, "ctxjobs")
    return Site(WEBS[request.param], redis_url)


def queued(connection: redis.Redis) -> list[str]:
    return [key.decode() for key in connection.lrange("rq:queue:default", 0, -1)]


# --- When it is pushed -----------------------------------------------------------------------


def test_it_is_pushed_when_the_server_closes_the_response(site: Site, redis_connection: redis.Redis) -> None:
    """Neither when the view returns, nor while the body is sent."""
    body = site.call()
    assert redis_connection.keys("rq:*") == []
    assert b"".join(body) == b"answer"
    assert redis_connection.keys("rq:*") == []
    body.close()
    assert queued(redis_connection) == site.ids


def test_a_stream_is_sent_first(site: Site, redis_connection: redis.Redis) -> None:
    """Its contexts are gone long before its end; the job has those of the call."""

    def view() -> Any:
        site.g.tenant = "acme"
        site.enqueue()
        site.g.tenant = "other"
        return Response(iter(["first", "second"]))

    site.view = view
    body = site.call()
    assert list(body) == [b"first", b"second"]
    assert redis_connection.keys("rq:*") == []
    body.close()
    snapshot = ContextJob.fetch(site.ids[0], redis_connection).snapshot
    assert snapshot is not None
    assert snapshot.g == {"tenant": "acme"}


def test_a_client_that_goes_away(site: Site, redis_connection: redis.Redis) -> None:
    """The server closes what it cannot send; that is the end of the response, too."""
    site.view = lambda: Response(iter([site.enqueue(), "never sent"]))
    body = site.call()
    next(iter(body))
    body.close()
    assert queued(redis_connection) == site.ids


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_whatever_the_response_of_the_view(
    site: Site, redis_connection: redis.Redis, status: int, method: str
) -> None:
    """Also one without a body."""
    site.view = lambda: Response(site.enqueue(), status=status)
    site.get(method=method)
    assert queued(redis_connection) == site.ids


def test_a_file_that_the_server_sends_itself(
    site: Site, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """Then nobody closes the response, only its body."""
    (tmp_path / "bill.txt").write_text("42 EUR")

    def view() -> Any:
        site.enqueue()
        return send_file(tmp_path / "bill.txt", EnvironBuilder().get_environ())

    site.view = view
    assert site.get() == b"42 EUR"
    assert queued(redis_connection) == site.ids


def test_a_response_that_is_replaced(site: Site, redis_connection: redis.Redis) -> None:
    """What counts is the one that is sent."""
    site.app.after_request(lambda response: Response("another"))
    assert site.get() == b"another"
    assert queued(redis_connection) == site.ids


def test_in_the_order_of_the_calls(site: Site, redis_connection: redis.Redis) -> None:
    """Several jobs of one request, and those of several requests as they end."""

    def view() -> str:
        site.jobs += [later.enqueue(1), *later.enqueue_many([(2,), (3,)])]
        return site.enqueue(4)

    site.view = view
    site.get()
    site.get()
    assert queued(redis_connection) == site.ids
    assert len(site.ids) == 8


def test_a_request_inside_a_request(site: Site, redis_connection: redis.Redis) -> None:
    """The response to the inner one is not that to the outer one."""

    def view() -> str:
        site.enqueue("outer")
        site.view = site.enqueue
        site.get()
        assert queued(redis_connection) == site.ids[1:]
        return "answer"

    site.view = view
    site.get()
    assert queued(redis_connection) == [*site.ids[1:], site.ids[0]]


@contextmanager
def serving(app: Any) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_behind_a_real_server(site: Site, redis_connection: redis.Redis) -> None:
    """A client has read the whole response before there is a job, which the server pushes right after it."""
    may_end, was_empty = threading.Event(), []

    def chunks() -> Iterator[str]:
        yield "first"
        may_end.wait(10)
        was_empty.append(redis_connection.keys("rq:*") == [])

    def view() -> Any:
        site.enqueue(42)
        return Response(chunks())

    site.view = view
    with serving(site.app) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        client.request("GET", "/view")
        answer = client.getresponse()
        assert answer.read(5) == b"first"
        may_end.set()
        assert answer.read() == b""
        wait_until(lambda: queued(redis_connection) == site.ids, what="the job is in its queue")
        client.close()
    work(redis_connection)
    assert (was_empty, site.jobs[0].return_value(refresh=True)) == ([True], 42)


# --- Errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize("propagate", [True, False])
def test_an_exception_that_nothing_handles_drops_it(
    site: Site, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture, propagate: bool
) -> None:
    """Whether it ends in a 500 or at the server; the log names the job and its function."""
    site.app.config["PROPAGATE_EXCEPTIONS"] = propagate
    site.view = lambda: [site.enqueue(), _boom()]
    if propagate:
        with pytest.raises(BoomError):
            site.get()
    else:
        site.get()
    assert redis_connection.keys("rq:*") == []
    assert f"job {site.ids[0]} ({__name__}.echo) was not enqueued: an exception" in caplog.text


def _boom() -> None:
    raise BoomError


def test_an_error_handler_makes_a_response(site: Site, redis_connection: redis.Redis) -> None:
    """The app has an answer to this exception; it is a response as any other."""
    site.app.errorhandler(BoomError)(lambda error: ("sorry", 400))
    site.view = lambda: [site.enqueue(), _boom()]
    assert site.get() == b"sorry"
    assert queued(redis_connection) == site.ids


def test_an_http_exception_is_a_response(site: Site, redis_connection: redis.Redis) -> None:
    """As ``abort(404)`` raises it."""

    def view() -> str:
        site.enqueue()
        raise NotFound

    site.view = view
    site.get()
    assert queued(redis_connection) == site.ids


def test_the_page_of_an_error_may_enqueue(site: Site, redis_connection: redis.Redis) -> None:
    """What the view enqueued is dropped; what the handler of the 500 enqueues is not."""

    def handler(error: Exception) -> str:
        return site.enqueue("report")

    site.app.errorhandler(500)(handler)
    site.view = lambda: [site.enqueue(), _boom()]
    assert site.get() == b"answer"
    assert queued(redis_connection) == site.ids[1:]


def test_an_after_request_function_that_raises(site: Site, redis_connection: redis.Redis) -> None:
    """The response of the view is never sent."""
    site.app.after_request(lambda response: _boom())
    site.get()
    assert redis_connection.keys("rq:*") == []


def test_redis_is_away(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """There is nobody any more to raise it to: the log has the job and the reason."""
    site.app.config["CTXJOBS_REDIS_URL"] = "redis://localhost:1"
    CtxJobs(site.app)
    assert site.get() == b"answer"
    assert f"job {site.ids[0]} ({__name__}.echo) was not enqueued: Redis at redis:" in caplog.text


def test_a_request_that_nobody_answers(
    site: Site, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """As in a shell or a test; that the job was lost is told."""
    with site.app.test_request_context("/"):
        site.enqueue()
    gc.collect()
    assert redis_connection.keys("rq:*") == []
    assert f"job {site.ids[0]} ({__name__}.echo) was not enqueued: its request ended" in caplog.text


def test_outside_of_a_request(site: Site) -> None:
    """There is no response, and the message says what to do."""
    with site.app.app_context(), pytest.raises(ConfigError, match="no request is being answered here"):
        later.enqueue()


def test_in_a_job(site: Site, redis_connection: redis.Redis) -> None:
    """The request of a job was answered long ago."""
    site.view = lambda: enqueue_in_job.enqueue().id
    job_id = site.get().decode()
    work(redis_connection)
    assert "options(after='response'): no request is being answered here" in why_failed(
        redis_connection, job_id
    )


def test_both_hosts_at_once(redis_url: str, redis_connection: redis.Redis) -> None:
    """A response of one app leaves the jobs of the other one where they are."""
    outer, inner = Site(WEBS["flask"], redis_url), App("inner")
    inner.config["SECRET_KEY"] = "k"
    CtxJobs(inner)
    inner.add_url_rule("/", "index", lambda: "inner")

    def view() -> str:
        outer.enqueue()
        assert inner.test_client().get("/").text == "inner"
        assert redis_connection.keys("rq:*") == []
        return "outer"

    outer.view = view
    outer.get()
    assert queued(redis_connection) == outer.ids
