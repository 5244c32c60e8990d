"""ContextExecutor: what of the request a task has, on both hosts."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from support.futures import DEADLINE_S, result

import ctxjobs
from ctxjobs import ContextExecutor


def test_task_sees_the_request(web: Any, executor: ContextExecutor) -> None:
    """R31: a task has the request's method, URL, address, headers and cookies, and its route."""
    app = web.app()

    @app.route("/item/<int:number>", methods=["PUT"])
    def item(number: int) -> Any:
        def task() -> Any:
            r = web.names.request
            who = r.remote_addr, r.headers["X-Who"], r.cookies["a"]
            return r.method, r.url, r.endpoint, r.view_args, *who, web.names.url_for("item", number=4)

        return repr(result(executor.submit(task)))

    client = app.test_client()
    client.set_cookie("a", "b")
    response = client.put("/item/3?q=1", headers={"X-Who": "me"})
    assert response.text == repr(
        ("PUT", "http://localhost/item/3?q=1", "item", {"number": 3}, "127.0.0.1", "me", "b", "/item/4")
    )


def test_request_object_is_the_tasks_own(web: Any, executor: ContextExecutor) -> None:
    """The task's request is a new one: what either side does to it does not reach the other."""

    def task() -> Any:
        web.names.request.view_args["lang"] = "fr"
        return web.names.request._get_current_object()

    app = web.app()
    app.add_url_rule("/<lang>", "page", view_func=print)
    with app.test_request_context("/de"):
        web.names.request.view_args.pop("lang")  # as url_value_preprocessors do
        assert result(executor.submit(task)) is not web.names.request._get_current_object()
        assert web.names.request.view_args == {}


def test_task_runs_after_the_request(web: Any, executor: ContextExecutor) -> None:
    """R31: a task that runs after its request was torn down has all of it."""
    app, ended, futures = web.app(), threading.Event(), []
    app.teardown_request(lambda exc: None)

    @app.route("/a", methods=["POST"])
    def view() -> str:
        web.names.session["cart"] = 7
        web.names.g.x = web.names.request.get_json()["x"]

        def task() -> Any:
            assert ended.wait(DEADLINE_S)
            return web.names.request.json, web.names.g.x, web.names.session["cart"]

        futures.append(executor.submit(task))
        return "sent"

    assert app.test_client().post("/a", json={"x": 1}).text == "sent"
    ended.set()
    assert result(futures[0]) == ({"x": 1}, 1, 7)


def test_form_that_was_read(web: Any, executor: ContextExecutor) -> None:
    """A form that the view has read is there in the task; its uploads stay with the request."""
    app = web.app()

    @app.route("/a", methods=["POST"])
    def view() -> Any:
        upload = web.names.request.files["file"]

        def task() -> Any:
            return web.names.request.form["x"], len(web.names.request.files), web.names.request.get_data()

        return [str(result(executor.submit(task))), upload.read().decode()]

    response = app.test_client().post("/a", data={"x": "1", "file": (io.BytesIO(b"content"), "a.txt")})
    assert response.json == ["('1', 0, b'')", "content"]


def test_raw_body_that_was_read(web: Any, executor: ContextExecutor) -> None:
    """A body that the view has read as bytes can be read in the task in any way, and the view's stays."""
    with web.app().test_request_context(method="POST", data={"x": "1"}) as ctx:
        ctx.request.get_data()

        def task() -> Any:
            return web.names.request.get_data(), web.names.request.form["x"]

        assert result(executor.submit(task)) == (b"x=1", "1")
        assert ctx.request.form["x"] == "1"


@pytest.mark.parametrize("read", ["get_data", "get_json", "form"])
def test_body_that_was_not_read(web: Any, executor: ContextExecutor, read: str) -> None:
    """A body that nobody had read is not read by two threads: the task gets an error that says what to do."""

    def task() -> Any:
        value = getattr(web.names.request, read)
        return value() if callable(value) else value

    kind = {"json": {}} if read == "get_json" else {"data": {"x": "1"}}
    with web.app().test_request_context(method="POST", **kind) as ctx:
        with pytest.raises(ctxjobs.ContextError, match="Read it\nthere first"):
            result(executor.submit(task))
        assert ctx.request.get_data() != b""


def test_unread_body_of_unknown_length(web: Any, executor: ContextExecutor) -> None:
    """A chunked body that nobody had read is an error in the task as well."""
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}
    app, error = web.app(), pytest.raises(ctxjobs.ContextError, match="Read it\nthere first")
    with app.test_request_context(method="POST", environ_overrides=chunked), error:
        result(executor.submit(lambda: web.names.request.get_data()))


def test_no_body(web: Any, executor: ContextExecutor) -> None:
    """A request without a body has none in the task."""
    with web.app().test_request_context():
        assert result(executor.submit(lambda: web.names.request.get_data())) == b""


def test_objects_in_the_environ_stay_behind(web: Any, executor: ContextExecutor) -> None:
    """What middleware and instrumentation keep in the environ belongs to the request; strings are copied."""
    environ = {"tracer.span": object(), "tenant.name": "acme"}

    def task() -> Any:
        found = web.names.request.environ
        return "tracer.span" in found, found["tenant.name"]

    with web.app().test_request_context(environ_overrides=environ):
        assert result(executor.submit(task)) == (False, "acme")


def test_request_that_matched_nothing(web: Any, executor: ContextExecutor) -> None:
    """R19: a task of a request that matched no route has that request."""

    def task() -> Any:
        return web.names.request.path, type(web.names.request.routing_exception).__name__

    with web.app().test_request_context("/nowhere"):
        assert result(executor.submit(task)) == ("/nowhere", "NotFound")
