"""The request context (R16 to R28) on the native system and on Flask, and the improvements."""

from __future__ import annotations

import gc
import weakref
from io import BytesIO
from typing import Any

import pytest
from werkzeug.exceptions import BadRequest, MethodNotAllowed, NotFound
from werkzeug.routing import BaseConverter, RequestRedirect

from ctxjobs.errors import ContextError, ContextPopError, TeardownError


class BoomError(Exception):
    """What the tests raise."""


def fail(error: BaseException) -> Any:
    """A function of any arguments that raises."""

    def failing(*args: Any, **kwargs: Any) -> None:
        raise error

    return failing


def make_app(web: Any, **config: Any) -> Any:
    """An app with one route, and a list of what its functions saw."""
    app = web.app(**config)
    app.seen = []
    app.add_url_rule("/item/<int:number>", "item", lambda number: f"item {number}", methods=["GET", "POST"])
    app.add_url_rule("/folder/", "folder", lambda: "folder")
    app.teardown_request(lambda exc: app.seen.append(("request", exc)))
    app.teardown_appcontext(lambda exc: app.seen.append(("app", exc)))
    return app


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ({}, "https://shop.test/base/"),
        ({"path": "/a?b=c"}, "https://shop.test/base/a?b=c"),
        ({"subdomain": "de"}, "https://de.shop.test/base/"),
        ({"url_scheme": "http"}, "http://shop.test/base/"),
        ({"base_url": "http://x.test/y/"}, "http://x.test/y/"),
    ],
)
def test_environ_has_defaults_of_the_configuration(web: Any, arguments: Any, url: str) -> None:
    """R16: a test request is at SERVER_NAME, APPLICATION_ROOT and PREFERRED_URL_SCHEME, has no address."""
    app = web.app(SERVER_NAME="shop.test", APPLICATION_ROOT="/base", PREFERRED_URL_SCHEME="https")
    request = app.test_request_context(**arguments).request
    assert (request.url, request.remote_addr) == (url, None)


def test_brings_an_app_context(web: Any) -> None:
    """R17: a request context brings its own app context, which is torn down after it, with the error."""
    app, error = make_app(web), BoomError()
    app.before = []
    app.teardown_request(lambda exc: app.before.append(web.globals.current_app == app))
    with pytest.raises(BoomError), app.test_request_context():
        raise error
    assert app.before == [True]
    assert app.seen == [("request", error), ("app", error)]
    assert web.active() == (None, None)


def test_shares_an_app_context_on_top(web: Any) -> None:
    """R17, R25: an app context of the same app on top is used, its g too, and is not torn down."""
    app = make_app(web)
    with app.app_context() as ctx:
        ctx.g.x = 1
        with app.test_request_context(), app.test_request_context():
            assert web.active()[0] is ctx
            assert web.globals.g.x == 1
        assert app.seen == [("request", None)] * 2


def test_does_not_share_a_buried_app_context(web: Any) -> None:
    """R17: an app context of the same app below another app's is not used."""
    app = web.app()
    with app.app_context() as ctx, web.App("other").app_context(), app.test_request_context():
        assert web.active()[0] is not ctx


def test_session_and_converters_see_request_and_session(web: Any) -> None:
    """R18: the session opens with the request active; converters run with the session open."""
    seen = []

    class Interface(web.sessions.SecureCookieSessionInterface):
        def open_session(self, app: Any, request: Any) -> Any:
            seen.append(("open", web.globals.request.path, request.url_rule))
            return super().open_session(app, request)

    class Converter(BaseConverter):
        def to_python(self, value: str) -> str:
            seen.append(("match", dict(web.globals.session)))
            return value

    app = web.app()
    app.session_interface = Interface()
    app.url_map.converters["seen"] = Converter
    app.add_url_rule("/<seen:x>", "x", lambda x: x)
    with app.test_request_context("/a"):
        assert seen == [("open", "/a", None), ("match", {})]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"path": "/nowhere"}, NotFound),
        ({"path": "/item/1", "method": "DELETE"}, MethodNotAllowed),
        ({"path": "/folder"}, RequestRedirect),
        ({"base_url": "http://evil.test"}, BadRequest),
    ],
    ids=["404", "405", "redirect", "host"],
)
def test_routing_errors_are_kept(web: Any, request_: Any, error: Any) -> None:
    """R19: push raises no routing error; the request keeps it and has no endpoint, arguments or rule."""
    with make_app(web, TRUSTED_HOSTS=["localhost"]).test_request_context(**request_) as ctx:
        request = ctx.request
        assert isinstance(request.routing_exception, error)
        assert (request.endpoint, request.view_args, request.url_rule) == (None, None, None)


def test_url_for_of_an_untrusted_host(native: Any) -> None:
    """R19: url_for in a request of an untrusted host says what is missing."""
    ctx = make_app(native, TRUSTED_HOSTS=["localhost"]).test_request_context(base_url="http://evil.test")
    with ctx, pytest.raises(ContextError, match="no request with a trusted host"):
        native.helpers.url_for("folder")


def test_matched_request(web: Any) -> None:
    """R19: a matched request knows endpoint, arguments and rule after push."""
    with make_app(web).test_request_context("/item/3") as ctx:
        request = ctx.request
        assert (request.endpoint, request.view_args, request.url_rule.rule) == (
            "item",
            {"number": 3},
            "/item/<int:number>",
        )


def test_push_and_pop_run_no_request_functions(web: Any) -> None:
    """R20: push and pop alone run no function and send no signal of the request cycle, save no session."""
    app, seen = web.app(), []
    for register in (app.before_request, app.after_request, app.url_value_preprocessor):
        register(lambda *args: seen.append(args))
    for name in ("request_started", "request_finished"):
        getattr(web.signals, name).connect(lambda sender, **values: seen.append(sender), app, weak=False)
    app.session_interface.save_session = lambda *args: seen.append(args)
    try:
        with app.test_request_context():
            web.globals.session["x"] = 1
            web.helpers.after_this_request(seen.append)
    finally:
        del app.session_interface.save_session
    assert seen == []


def test_order_of_pop(web: Any) -> None:
    """R21: teardown in reverse, signal, uploads closed, request gone, then the app context's teardown."""
    app, log, upload = web.app(), [], BytesIO(b"x")
    app.teardown_appcontext(lambda exc: log.append(("app", bool(web.globals.request))))
    app.teardown_request(lambda exc: log.append(("first", bool(web.globals.request))))
    app.teardown_request(lambda exc: log.append(("second", upload.closed)))

    def signalled(sender: Any, exc: Any) -> None:
        log.append(("signal", sender is app, exc, upload.closed))

    web.signals.request_tearing_down.connect(signalled, app)
    with app.test_request_context() as ctx:
        ctx.request.files = {"f": upload}
    assert log == [("second", False), ("first", True), ("signal", True, None, False), ("app", False)]
    assert upload.closed


def test_session_before_push(native: Any) -> None:
    """R22: the session of a context that was not pushed yet is a ContextError."""
    with pytest.raises(ContextError, match="Push it first"):
        _ = native.app().test_request_context().session


def test_preset_session_is_not_opened(native: Any) -> None:
    """R22: a session set before push is the session, and the interface is not asked."""
    app = native.app()
    app.session_interface = None
    ctx = app.test_request_context()
    ctx._session = native.sessions.SecureCookieSession({"user": 7})
    with ctx:
        assert dict(native.globals.session) == {"user": 7}


def test_session_is_opened_once(web: Any) -> None:
    """R12, R23: a context pushed again keeps its session and gets a new app context and g."""
    with web.app().test_request_context() as ctx:
        web.globals.session["x"] = 1
        web.globals.g.x = 1
    with ctx:
        assert (web.globals.session["x"], "x" in web.globals.g) == (1, False)


def test_pushed_twice_tears_down_once(web: Any) -> None:
    """R11: of n pushes of one request context, only the n-th pop tears down, with its app context."""
    app = make_app(web)
    with app.test_request_context("/a") as ctx:
        with ctx:
            pass
        assert (app.seen, web.globals.request.path) == ([], "/a")
    assert app.seen == [("request", None), ("app", None)]


def test_no_secret_key(web: Any) -> None:
    """R23: without a secret key the session is empty, readable, and refuses every write."""
    app = web.App("shop")
    with app.test_request_context():
        session = web.globals.session
        assert (session.get("x"), dict(session)) == (None, {})
        for write in (lambda: session.update(x=1), lambda: session.pop("x", None), session.clear):
            with pytest.raises(RuntimeError, match="no secret"):
                write()


def test_any_look_at_the_session_marks_it(web: Any) -> None:
    """R24: reading _session does not mark the session as accessed; the proxy does, even by a bool()."""
    with web.app().test_request_context() as ctx:
        assert ctx._session.accessed is False
        bool(web.globals.session)
        assert ctx._session.accessed is True


def test_nested_requests_have_their_own_request(web: Any) -> None:
    """R25: request and session are each context's own; g of one app is shared."""
    app = web.app()
    with app.test_request_context("/a"):
        web.globals.session["x"] = web.globals.g.x = 1
        with app.test_request_context("/b"):
            seen = web.globals.request.path, dict(web.globals.session), web.globals.g.x
        assert (*seen, web.globals.request.path) == ("/b", {}, 1, "/a")


def test_request_shines_through_an_app_context(web: Any) -> None:
    """R26: an app context inside of a request hides nothing of it, not even another app's."""
    with web.app().test_request_context("/a"), web.App("other").app_context():
        assert (web.globals.request.path, web.globals.current_app.name) == ("/a", "other")


def test_pop_with_a_foreign_app_context_on_top(native: Any) -> None:
    """R15, improvement 2: a request whose app context is buried is not popped, and nothing is torn down."""
    app = make_app(native)
    with app.test_request_context() as ctx, native.App("other").app_context():
        before = native.active()
        with pytest.raises(ContextPopError):
            ctx.pop()
        assert (native.active(), app.seen) == (before, [])


@pytest.mark.parametrize("where", ["session", "converter"])
def test_failing_push_is_undone(native: Any, where: str) -> None:
    """R27, improvement 3: if opening the session or matching raises, all is torn down and nothing active."""
    app, error = make_app(native), BoomError()
    if where == "session":
        app.session_interface = type("Failing", (), {"open_session": fail(error)})()
    else:
        converter = type("Failing", (BaseConverter,), {"to_python": fail(error)})
        app.url_map.converters["failing"] = converter
        app.add_url_rule("/<failing:x>", "x", lambda x: x)
    with pytest.raises(BoomError), app.test_request_context("/a"):
        pass
    assert native.active() == (None, None)
    assert app.seen == [("request", error), ("app", error)]


def test_request_and_app_teardown_errors_come_together(native: Any) -> None:
    """R14, improvement 1: errors of the request's and of its app context's teardown are one error."""
    app, errors = make_app(native), [BoomError("request"), BoomError("app")]
    app.teardown_request(fail(errors[0]))
    app.teardown_appcontext(fail(errors[1]))
    with pytest.raises(TeardownError) as caught, app.test_request_context():
        pass
    assert list(caught.value.errors) == errors
    assert app.seen == [("request", None), ("app", None)]
    assert native.active() == (None, None)


@pytest.mark.parametrize("path", ["/item/1", "/nowhere", "/folder"])
def test_freed_without_the_collector(native: Any, path: str) -> None:
    """R28: after a request, matched or not, its context, request, session and g are freed by counting."""
    app, refs = make_app(native), []

    def remember(sender: Any) -> None:
        ctx = native.active()[1]
        refs.extend(
            map(weakref.ref, (ctx, ctx.request, ctx._session, native.active()[0], native.active()[0].g))
        )

    native.signals.request_started.connect(remember, app)
    gc.disable()
    try:
        app.test_client().get(path).close()
        assert [ref() for ref in refs] == [None] * 5
    finally:
        gc.enable()


def test_routing_error_on_its_way_keeps_its_traceback(native: Any) -> None:
    """R28: a routing error that ends the context is left as it is."""
    with pytest.raises(NotFound) as caught, native.app().test_request_context("/nowhere") as ctx:
        raise ctx.request.routing_exception
    assert "match" in [entry.name for entry in caught.traceback]


def test_repr_tells_contexts_apart(native: Any) -> None:
    """R15: in an error, a context is known by its class, its address, its request and its app."""
    app = native.app()
    ctx, app_ctx = app.test_request_context("/a", method="POST"), app.app_context()
    assert repr(ctx) == f"<RequestContext {id(ctx):#x} POST '/a' of 'shop'>"
    assert repr(app_ctx) == f"<AppContext {id(app_ctx):#x} of 'shop'>"
    assert repr(app) == "<App 'shop'>"


def test_environ_takes_positional_arguments(web: Any) -> None:
    """R16: what follows the scheme goes to Werkzeug's builder, whose next argument is the query."""
    request = web.app().test_request_context("/", None, None, None, {"a": "b"}).request
    assert request.query_string == b"a=b"
