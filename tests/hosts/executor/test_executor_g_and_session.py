"""ContextExecutor: what of g and of the session a task has, on both hosts."""

from __future__ import annotations

import contextvars
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from support.futures import DEADLINE_S, result
from werkzeug.local import LocalProxy

from ctxjobs import ContextExecutor


def test_task_sees_app_and_g(web: Any, executor: ContextExecutor) -> None:
    """R8: a task submitted in an application context has one of the same app, with the values of its g."""
    app = web.app()
    with app.app_context():
        web.names.g.tenant = "acme"

        def task() -> Any:
            current = web.names.current_app._get_current_object()
            return current is app, web.names.g.tenant, web.names.has_request_context()

        assert result(executor.submit(task)) == (True, "acme", False)


def test_g_is_the_tasks_own(web: Any, executor: ContextExecutor) -> None:
    """R9: what a task sets on g reaches neither the submitter nor the next task."""
    with web.app().app_context():
        web.names.g.x = 1

        def task() -> list[str]:
            before = sorted(web.names.g)
            web.names.g.x = web.names.g.left = 2
            return before

        assert [result(executor.submit(task)) for _ in range(2)] == [["x"], ["x"]]
        assert web.names.g.x == 1
        assert list(web.names.g) == ["x"]


def test_g_is_copied_at_submit(web: Any, executor: ContextExecutor) -> None:
    """R31: what the submitter sets on g afterwards does not reach the task."""
    go = threading.Event()

    def task() -> Any:
        go.wait(DEADLINE_S)
        return web.names.g.x

    with web.app().app_context():
        web.names.g.x = 1
        future = executor.submit(task)
        web.names.g.x = 2
        go.set()
        assert result(future) == 1


def test_g_values_are_shared(web: Any, executor: ContextExecutor) -> None:
    """A value on g is the same object in the task, as an argument would be."""
    with web.app().app_context():
        web.names.g.user = user = SimpleNamespace(name="Ann")
        assert result(executor.submit(lambda: web.names.g.user)) is user


def test_what_must_be_closed_stays_behind(web: Any, executor: ContextExecutor) -> None:
    """A connection on g is not carried, so the usual teardown function does not close it twice."""
    app, closed = web.app(), []

    class Connection:
        def close(self) -> None:
            closed.append(self)

    @app.teardown_appcontext
    def close(exc: BaseException | None) -> None:
        if "db" in web.names.g:
            web.names.g.pop("db").close()

    with app.app_context():
        web.names.g.db = db = Connection()
        assert result(executor.submit(lambda: "db" in web.names.g)) is False
        assert closed == []
    assert closed == [db]


def test_private_names_stay_behind(web: Any, executor: ContextExecutor) -> None:
    """What extensions keep on g under a name with an underscore is not shared with a task."""
    with web.app().app_context():
        web.names.g._login_user = object()
        assert result(executor.submit(lambda: list(web.names.g))) == []


def test_proxy_on_g(web: Any, executor: ContextExecutor) -> None:
    """A proxy on g is copied as a proxy: nothing asks what it stands for."""
    with web.app().app_context():
        web.names.g.user = LocalProxy(lambda: threading.current_thread().name)
        assert result(executor.submit(lambda: str(web.names.g.user))) != threading.current_thread().name
        web.names.g.user = LocalProxy(contextvars.ContextVar("never_set"))
        assert result(executor.submit(lambda: bool(web.names.g.user))) is False


def test_g_of_any_class(web: Any, executor: ContextExecutor) -> None:
    """R29: a g of the user's own class, without a single method, is copied, too."""
    app = web.app()
    app.app_ctx_globals_class = SimpleNamespace
    with app.app_context():
        web.names.g.x = 1
        assert result(executor.submit(lambda: web.names.g.x)) == 1


def test_session_is_a_copy(web: Any, executor: ContextExecutor, caplog: pytest.LogCaptureFixture) -> None:
    """R23: a task reads the session; what it writes reaches nobody, and a warning says so."""

    def task() -> Any:
        web.names.session["new"] = 1
        return web.names.session["cart"]

    with web.app().test_request_context():
        web.names.session["cart"] = 7
        assert result(executor.submit(task)) == 7
        assert "new" not in web.names.session
    executor.shutdown()  # the warning follows the result
    assert "task in a ContextExecutor: it changed the session" in caplog.text


def test_reading_the_session_is_no_write(
    web: Any, executor: ContextExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """R23: a task that only reads the session is not warned about."""
    with web.app().test_request_context():
        web.names.session["cart"] = 7
        result(executor.submit(lambda: web.names.session["cart"]))
    executor.shutdown()
    assert caplog.records == []


def test_submit_does_not_access_the_session(web: Any, executor: ContextExecutor) -> None:
    """R24: submitting does not mark the session as accessed, so the response does not vary by cookie."""
    app = web.app()

    @app.route("/a")
    def view() -> str:
        return result(executor.submit(lambda: "done"))

    assert "Vary" not in app.test_client().get("/a").headers


def test_empty_session(web: Any, executor: ContextExecutor) -> None:
    """R23: where the request's session is empty, the task's is a real one, too, and not the null session."""

    def task() -> int:
        web.names.session["a"] = 1
        return web.names.session["a"]

    with web.app().test_request_context():
        assert result(executor.submit(task)) == 1


def test_no_secret_key(web: Any, executor: ContextExecutor) -> None:
    """R23: without a secret key the task's session is empty and refuses writes, as the request's does."""

    def task() -> None:
        assert dict(web.names.session) == {}
        web.names.session["a"] = 1

    with web.app(SECRET_KEY=None).test_request_context(), pytest.raises(RuntimeError, match="no secret key"):
        result(executor.submit(task))
