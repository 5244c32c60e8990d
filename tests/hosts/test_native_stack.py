"""What the stack of contexts says and does when teardown, a job or a context itself misbehaves."""

from __future__ import annotations

import io
import logging
import sys
from collections import UserDict
from contextvars import copy_context
from typing import Any

import pytest

from ctxjobs import App, app_ctx, current_app, g, session
from ctxjobs.errors import ContextMismatchError, ContextPopError, DecodeError, TeardownError
from ctxjobs.hosts.environ import content_type, rebuild_environ
from ctxjobs.hosts.native import NativeHost
from ctxjobs.hosts.stack import ContextStack
from ctxjobs.native.ctx import AppContext
from ctxjobs.native.sessions import SecureCookieSession, SessionInterface
from ctxjobs.snapshot import RequestData, Snapshot

ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/a",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "wsgi.url_scheme": "http",
}
REQUEST = RequestData(ENVIRON, "a", "/a")


class BoomError(Exception):
    """What functions raise."""


class StuckContext(AppContext):
    """A context that refuses to be popped."""

    def pop(self, exc: Any = None) -> None:
        raise BoomError("stuck")


@pytest.fixture
def app() -> App:
    app = App("shop")
    app.secret_key = "k"
    app.add_url_rule("/a", "a")
    return app


@pytest.fixture
def torn_down(app: App) -> list[Any]:
    """What teardown functions get."""
    seen: list[Any] = []
    app.teardown_appcontext(seen.append)
    return seen


def fail(app: App, *errors: BaseException) -> None:
    """Let the teardown of *app* raise *errors*, in this order."""

    def make(error: BaseException) -> Any:
        def failing(exc: Any) -> None:
            raise error

        return failing

    for error in reversed(errors):
        app.teardown_appcontext(make(error))


def stack(app: App, snapshot: Snapshot | None = None) -> ContextStack:
    return ContextStack(NativeHost(app), snapshot or Snapshot("shop"))


def test_teardown_errors_after_a_success_are_told(app: App) -> None:
    """R14: the error of a job whose teardown failed names each class and text, in order."""
    fail(app, BoomError("one"), KeyError("two"))
    with (
        pytest.raises(TeardownError, match=r"its teardown raised: BoomError: one; KeyError: 'two'$"),
        stack(app),
    ):
        pass


def test_teardown_errors_after_an_error_are_noted_and_logged(app: App, caplog: Any) -> None:
    """R14: the job's error stays; those of teardown are logged with their tracebacks, and noted on it."""
    fail(app, BoomError("one"))
    with caplog.at_level(logging.ERROR), pytest.raises(KeyError) as caught, stack(app):
        raise KeyError("job")
    assert caplog.messages == ["teardown raised after KeyError: one"]
    assert "raise error" in caplog.text
    if sys.version_info >= (3, 11):
        assert caught.value.__notes__ == ["Afterwards its teardown raised BoomError: one"]


def test_the_jobs_own_error_is_not_noted_on_itself(app: App, caplog: Any) -> None:
    """R14: a teardown function that raises the job's error again adds nothing; the next one's is told."""
    error = KeyError("job")
    fail(app, error, BoomError("two"))
    with pytest.raises(KeyError) as caught, stack(app):
        raise error
    assert caught.value is error
    assert caplog.messages == ["teardown raised after KeyError: two"]


def test_teardown_errors_after_a_failing_push_are_noted(app: App, caplog: Any) -> None:
    """R27: a stack whose contexts do not match unwinds them, and tells of what that raised."""
    fail(app, BoomError("one"))
    with pytest.raises(ContextMismatchError), stack(app, Snapshot("shop", request=RequestData(ENVIRON))):
        pass
    assert caplog.messages == ["teardown raised after ContextMismatchError: one"]


def test_exit_from_a_teardown_function_is_told_with_the_other_errors(app: App, caplog: Any) -> None:
    """R14: an exit that a teardown function asks for hides neither the job's error nor the others'."""
    fail(app, BoomError("one"), SystemExit(3))
    with pytest.raises(KeyError), stack(app):
        raise KeyError("job")
    assert caplog.messages == ["teardown raised after KeyError: one", "teardown raised after KeyError: 3"]


def test_leak_names_the_kind_of_context(app: App) -> None:
    """What a job left pushed is named by its class."""
    with stack(app) as contexts:
        App("other").test_request_context().push()
    assert contexts.leaks == ["it pushed a context and never popped it (RequestContext)"]


def test_own_context_pushed_once_more_gets_the_error(app: App, torn_down: list[Any]) -> None:
    """R11: if the job pushed its own context again, teardown runs once, with the job's error."""
    error = KeyError()

    def job() -> None:
        app_ctx.push()
        raise error

    with pytest.raises(KeyError), stack(app):
        job()
    assert torn_down == [error]
    assert not current_app


def test_context_that_cannot_be_popped(app: App) -> None:
    """R15: unwinding ends though a context refuses to be popped; what it and the one below raise is told."""

    def job() -> list[Any]:
        with pytest.raises(TeardownError) as caught, stack(app):
            StuckContext(App("other")).push()
        return list(caught.value.errors)

    errors = copy_context().run(job)
    assert {type(error) for error in errors} == {BoomError, ContextPopError}
    assert not current_app


def test_route_that_no_longer_matches_is_told(app: App) -> None:
    """The error of a request that matches another route names the app and both routes."""
    for then, path, text in (
        (
            ("a", "/a"),
            "/b",
            "endpoint 'a' (/a) of app 'shop' when it was enqueued, and matches no route here",
        ),
        (
            (None, None),
            "/a",
            "no route of app 'shop' when it was enqueued, and matches endpoint 'a' (/a) here",
        ),
    ):
        snapshot = Snapshot("shop", request=RequestData({**ENVIRON, "PATH_INFO": path}, *then))
        with pytest.raises(ContextMismatchError) as caught, stack(app, snapshot):
            pass
        assert text in str(caught.value)


def test_value_that_cannot_be_decoded_is_told_by_its_name(app: App) -> None:
    """A value on g or in the session that is not what was written is named by its path."""
    broken: Any = {"~": "nothing", "v": 1}
    for snapshot, path in (
        (Snapshot("shop", g={"x": broken}), "g.x"),
        (Snapshot("shop", request=REQUEST, session={"x": broken}), "session['x']"),
    ):
        with pytest.raises(DecodeError) as caught, stack(app, snapshot):
            pass
        assert str(caught.value).startswith(path)


def test_session_is_of_the_interfaces_class(app: App) -> None:
    """R22: the session of a job is of the class that the app's interface names, else of the default one."""

    class Mine(SecureCookieSession):
        pass

    class Interface(SessionInterface):
        pass

    snapshot, classes = Snapshot("shop", request=REQUEST, session={"x": 1}), []
    for session_class in (Mine, None):
        app.session_interface = Interface()
        if session_class is not None:
            app.session_interface.session_class = session_class  # type: ignore[attr-defined]  # as such interfaces do
        with stack(app, snapshot):
            classes.append(type(session._get_current_object()))  # type: ignore[attr-defined]  # the proxy's
    assert classes == [Mine, SecureCookieSession]


@pytest.mark.parametrize("kind", [SecureCookieSession, UserDict])
def test_session_is_read_by_name(app: App, kind: Any) -> None:
    """R24: only the named keys of a session are read, whatever mapping it is; None means all."""
    host, ctx = NativeHost(app), app.test_request_context("/a")
    ctx._session = kind({"x": 1, "y": 2})
    with ctx:
        active = host.active()
        assert active is not None
        assert host.read_session(active, ["x", "z"]) == {"x": 1}
        assert host.read_session(active, None) == {"x": 1, "y": 2}
    assert not getattr(ctx._session, "accessed", False)


def test_rebuilt_environ_is_complete() -> None:
    """R16: a rebuilt environ has what PEP 3333 asks for, whatever was captured, and streams of its own."""
    environ = rebuild_environ(RequestData({}, body=b"abc"))
    body = environ.pop("wsgi.input")
    assert (type(body), body.read()) == (io.BytesIO, b"abc")
    assert environ == {
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": "3",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }


def test_content_type_is_text_or_left_out() -> None:
    """An environ without a content type, or with one that is no text, adds none."""
    assert [content_type(environ) for environ in ({}, {"CONTENT_TYPE": None}, {"CONTENT_TYPE": "a/b"})] == [
        {},
        {},
        {"CONTENT_TYPE": "a/b"},
    ]


def test_g_is_what_was_captured(app: App) -> None:
    """R8: the job's g has the snapshot's values."""
    with stack(app, Snapshot("shop", g={"x": 1})):
        assert g.x == 1


def test_a_leak_names_the_line_in_debug_mode(app: App) -> None:
    """In debug mode the report of a context that the job left behind says where it was pushed."""
    app.debug = True
    stack = ContextStack(NativeHost(app), Snapshot("shop"))
    with stack:
        app.app_context().push()
        place = f"{__file__}:{sys._getframe().f_lineno - 1}"
    assert stack.leaks == [f"it pushed a context and never popped it (AppContext, pushed at {place})"]
