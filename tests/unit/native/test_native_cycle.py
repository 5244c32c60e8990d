"""The way of a request through an app (R34 to R36, R38): functions, errors, results of views, URLs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.routing import BuildError
from werkzeug.wrappers import Response as WerkzeugResponse

from ctxjobs.errors import ConfigError, ContextError, SetupError, TeardownError, ViewResultError


class BoomError(Exception):
    """What the tests raise."""


@dataclass
class Point:
    """A value that JSON lacks."""

    x: int


class Html:
    """Another one."""

    def __html__(self) -> str:
        return "<b>"


def fail() -> None:
    """A view that raises."""
    raise BoomError


def returning(app: Any, result: Any) -> Any:
    """The response of *app* to a view that returns *result*."""
    app.add_url_rule("/a", "a", lambda: result)
    return app.test_client().get("/a")


def test_order_of_functions(web: Any) -> None:
    """R34: preprocessors, before_request, view, after_this_request, after_request in reverse, session."""
    app, log = web.app(), []
    app.url_value_preprocessor(lambda endpoint, args: log.append((endpoint, args)))
    app.before_request(lambda: log.append("before 1"))
    app.before_request(lambda: log.append("before 2"))
    app.after_request(lambda response: log.append("after 1") or response)
    app.after_request(lambda response: log.append("after 2") or response)

    class Interface(web.sessions.SecureCookieSessionInterface):
        def save_session(self, *args: Any) -> None:
            log.append("save")

    app.session_interface = Interface()

    @app.route("/<x>")
    def view(x: str) -> str:
        web.helpers.after_this_request(lambda response: log.append("this") or response)
        log.append("view")
        return x

    assert app.test_client().get("/a").text == "a"
    assert log == [
        ("view", {"x": "a"}),
        "before 1",
        "before 2",
        "view",
        "this",
        "after 2",
        "after 1",
        "save",
    ]


def test_before_request_may_answer(web: Any) -> None:
    """R34: the first before_request function that returns something answers; the rest is skipped."""
    app, log = web.app(), []
    app.before_request(lambda: "answer")
    app.before_request(lambda: log.append("second"))
    assert (returning(app, "view").text, log) == ("answer", [])


def test_after_this_request_outside(web: Any) -> None:
    """R34: after_this_request outside of a request is a RuntimeError."""
    with pytest.raises(RuntimeError):
        web.helpers.after_this_request(print)


@pytest.mark.parametrize("key", [BoomError, Exception])
def test_handled_error(web: Any, key: Any) -> None:
    """R35: an error with a handler is answered by it, and teardown gets None."""
    app, torn_down = web.app(), []
    app.teardown_request(torn_down.append)
    app.errorhandler(key)(lambda error: (type(error).__name__, 418))
    app.add_url_rule("/a", "a", fail)
    response = app.test_client().get("/a")
    assert (response.text, response.status_code, torn_down) == ("BoomError", 418, [None])


def test_handler_of_the_status_wins(web: Any) -> None:
    """R35: a handler of an HTTP status goes before one of the class, and 405 takes its own class's."""
    app = web.app()
    app.errorhandler(404)(lambda error: "404")
    app.errorhandler(HTTPException)(lambda error: "any")
    app.post("/a")(fail)
    assert app.test_client().get("/x").text == "404"
    assert app.test_client().get("/a").text == "any"


def test_unhandled_error(web: Any, caplog: Any) -> None:
    """R35: an unhandled error is signalled, logged, becomes a 500, and reaches teardown."""
    app, seen = web.app(), []
    app.testing = False
    app.teardown_request(seen.append)

    def receiver(sender: Any, exception: Any) -> None:
        seen.append(exception)

    web.signals.got_request_exception.connect(receiver, app)
    app.add_url_rule("/a", "a", fail)
    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/a")
    assert response.status_code == 500
    assert [type(error) for error in seen] == [BoomError, BoomError]
    assert "Exception on /a [GET]" in caplog.text


def test_handler_for_500(web: Any) -> None:
    """R35: a handler for 500 makes the page of an unhandled error, and after_request sees it."""
    app = web.app(PROPAGATE_EXCEPTIONS=False)
    app.errorhandler(500)(lambda error: repr(error.original_exception))
    app.after_request(lambda response: web.Response(f"{response.get_data(as_text=True)}!"))
    app.add_url_rule("/a", "a", fail)
    assert app.test_client().get("/a").text == "BoomError()!"


@pytest.mark.parametrize("key", ["TESTING", "DEBUG", "PROPAGATE_EXCEPTIONS"])
def test_propagates(web: Any, key: str) -> None:
    """R35: TESTING, DEBUG and PROPAGATE_EXCEPTIONS let an unhandled error through."""
    app = web.app()
    app.config.update({"TESTING": False, key: True})
    app.add_url_rule("/a", "a", fail)
    with pytest.raises(BoomError):
        app.test_client().get("/a")


def test_exit_reaches_teardown(web: Any) -> None:
    """R35: a BaseException reaches teardown and goes on."""
    app, torn_down = web.app(), []

    @app.route("/a")
    def view() -> None:
        raise KeyboardInterrupt

    app.teardown_request(torn_down.append)
    with pytest.raises(KeyboardInterrupt):
        app.test_client().get("/a")
    assert [type(error) for error in torn_down] == [KeyboardInterrupt]
    assert web.active() == (None, None)


def test_failing_session_is_a_500(native: Any) -> None:
    """R27: if the session cannot be opened, the app's own 500 page answers and nothing stays active."""
    app, torn_down = native.app(PROPAGATE_EXCEPTIONS=False), []
    app.session_interface = SimpleNamespace(open_session=lambda app, request: fail())
    app.errorhandler(500)(lambda error: f"sorry for {native.globals.request.path}")
    app.teardown_request(torn_down.append)
    assert app.test_client().get("/a").text == "sorry for /a"
    assert [type(error) for error in torn_down] == [BoomError]


def test_what_a_view_leaves_pushed_is_removed(native: Any) -> None:
    """R15: a context that a view left pushed is an error, and does not reach the thread's next request."""
    app, torn_down = native.app(), []
    other = native.App("other")
    app.teardown_request(torn_down.append)
    app.add_url_rule("/a", "a", lambda: other.test_request_context().push() or "a")
    with pytest.raises(TeardownError, match="was pushed after it and is still active"):
        app.test_client().get("/a")
    assert (native.active(), torn_down) == ((None, None), [None])


def test_setup_is_locked_by_the_first_request(web: Any) -> None:
    """R36: pushing contexts locks nothing; the first dispatched request does."""
    app = web.app()
    with app.test_request_context():
        app.add_url_rule("/b", "b", fail)
    returning(app, "x")
    for method in ("route", "get", "post", "put", "patch", "delete", "errorhandler", "before_request"):
        with pytest.raises(AssertionError, match=rf"(?s)The setup method '{method}' can no longer be called"):
            getattr(app, method)("/c")


def test_endpoint_of_two_views(web: Any) -> None:
    """An endpoint keeps its first view: a second one is an AssertionError; the same one again is not."""
    app = web.app()
    app.add_url_rule("/a", "a", fail)
    app.add_url_rule("/b", "a", fail)
    with pytest.raises(AssertionError):
        app.add_url_rule("/c", "a", print)


def test_methods_as_one_string(native: Any) -> None:
    """methods="POST" is refused with the list to write instead."""
    with pytest.raises(SetupError, match=r"Give a list: methods=\['POST'\]"):
        native.app().route("/a", methods="POST")(fail)


def test_handler_of_an_unknown_status(native: Any) -> None:
    """errorhandler() of a status without an exception class is a ConfigError."""
    with pytest.raises(ConfigError, match="299"):
        native.app().errorhandler(299)


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete"])
def test_shortcuts_for_methods(web: Any, method: str) -> None:
    """Each shortcut registers its method, and OPTIONS is answered with it."""
    app = web.app()
    getattr(app, method)("/a")(lambda: "ok")
    client = app.test_client()
    assert getattr(client, method)("/a").text == "ok"
    assert method.upper() in client.options("/a").allow


@pytest.mark.parametrize(
    "make",
    [
        lambda: "text",
        lambda: b"bytes",
        lambda: {"b": 1, "a": [UUID(int=1), Decimal("1.5"), datetime(2025, 1, 2, tzinfo=timezone.utc)]},
        lambda: ["a"],
        lambda: iter(["a", "b"]),
        lambda: ("text", 201),
        lambda: ("text", "201 MADE"),
        lambda: ("text", {"X-A": "b"}),
        lambda: ("text", [("X-A", "b")]),
        lambda: ({"a": 1}, 201, {"X-A": "b"}),
        lambda: ("text", 201, [("X-A", "b")]),
        lambda: (WerkzeugResponse("plain"), "299 ODD"),
        lambda: {"data": Point(1), "html": Html()},
        lambda: NotFound("gone"),
        lambda: NotFound(response=WerkzeugResponse("in it", 410)),
        lambda: WerkzeugResponse("plain", 202, {"X-A": "b"}),
        lambda: (WerkzeugResponse("plain"), 203),
    ],
)
def test_results_of_views(webs: Any, make: Any) -> None:
    """A view's result makes the same status, headers and body as in Flask."""
    responses = [returning(web.app(), make()) for web in webs]
    first, second = ((r.status, sorted(r.headers), r.headers["Content-Type"], r.data) for r in responses)
    assert first == second


@pytest.mark.parametrize("result", [None, ("a", 1, {}, 2), 3, {"x": object()}])
def test_wrong_result(web: Any, result: Any) -> None:
    """A result that is no response is a TypeError."""
    with pytest.raises(TypeError):
        returning(web.app(), result)


def test_wrong_result_names_the_endpoint(native: Any) -> None:
    """The error for a wrong result names the endpoint and what may be returned."""
    with pytest.raises(ViewResultError, match=r"endpoint 'a' returned None, or nothing\. Return str"):
        returning(native.app(), None)


def test_limits_come_from_the_configuration(web: Any) -> None:
    """The request's limits are the app's until they are set on the request; outside, Werkzeug's."""
    app = web.app(MAX_CONTENT_LENGTH=3, MAX_FORM_PARTS=4, MAX_FORM_MEMORY_SIZE=5)
    names = ("max_content_length", "max_form_parts", "max_form_memory_size")
    with app.test_request_context() as ctx:
        assert [getattr(ctx.request, name) for name in names] == [3, 4, 5]
        ctx.request.max_content_length = 7
        assert ctx.request.max_content_length == 7
    assert [getattr(app.test_request_context().request, name) for name in names] == [None, 1000, 500_000]


def test_json_request(web: Any) -> None:
    """A request's JSON is read; wrong JSON is a 400."""
    app = web.app()
    app.post("/a")(lambda: {"got": web.globals.request.json})
    client = app.test_client()
    assert client.post("/a", json={"x": 1}).json == {"got": {"x": 1}}
    assert client.post("/a", data="{", content_type="application/json").status_code == 400


def test_debug_says_what_was_wrong(web: Any) -> None:
    """In debug mode a 400 names the missing form key, and what is wrong with the JSON."""
    app = web.app(DEBUG=True)
    app.post("/key", endpoint="key")(lambda: web.globals.request.form["missing"])
    app.post("/json", endpoint="json")(lambda: web.globals.request.json)
    app.testing = False
    client = app.test_client()
    if web.name == "native":  # Flask raises it in debug mode instead
        assert "missing" in client.post("/key").text
    assert "Failed to decode JSON" in client.post("/json", data="{", content_type="application/json").text


def test_failing_after_request_in_a_500(web: Any, caplog: Any) -> None:
    """R35: if an after_request function fails too, the 500 is sent and the failure logged."""
    app = web.app(PROPAGATE_EXCEPTIONS=False)
    app.after_request(lambda response: fail())
    app.add_url_rule("/a", "a", fail)
    assert app.test_client().get("/a").status_code == 500
    assert len(caplog.records) == 2


def test_failing_after_request(web: Any) -> None:
    """R35: an after_request function that fails makes an unhandled error of a good response."""
    app = web.app()
    app.after_request(lambda response: fail())
    with pytest.raises(BoomError):
        returning(app, "x")


# --- URLs -------------------------------------------------------------------------------------------


def make_app(web: Any, **config: Any) -> Any:
    app = web.app(**config)
    app.add_url_rule("/item/<int:number>", "item", lambda number: "")
    return app


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "/root/item/1"),
        ({"q": "a b"}, "/root/item/1?q=a+b"),
        ({"_anchor": "x y"}, "/root/item/1#x%20y"),
        ({"_external": True}, "http://shop.test/root/item/1"),
        ({"_scheme": "https"}, "https://shop.test/root/item/1"),
        ({"_scheme": "https", "_external": True}, "https://shop.test/root/item/1"),
    ],
)
def test_url_for_in_a_request(web: Any, values: Any, url: str) -> None:
    """R38: in a request, url_for is relative unless asked, with host and root of the environ."""
    with make_app(web).test_request_context(base_url="http://shop.test/root"):
        assert web.helpers.url_for("item", number=1, **values) == url


def test_url_for_prefers_server_name(web: Any) -> None:
    """R38: in a request, the host of SERVER_NAME replaces the request's."""
    with make_app(web, SERVER_NAME="shop.test").test_request_context(base_url="http://other.test"):
        assert web.helpers.url_for("item", number=1, _external=True) == "http://shop.test/item/1"


def test_url_for_in_an_app_context(web: Any) -> None:
    """R38: in an app context, url_for is external, by the configuration alone; so is app.url_for outside."""
    app = make_app(web, SERVER_NAME="shop.test", APPLICATION_ROOT="/root", PREFERRED_URL_SCHEME="https")
    with app.app_context():
        urls = web.helpers.url_for("item", number=1), web.helpers.url_for("item", number=1, _external=False)
    assert urls == ("https://shop.test/root/item/1", "/root/item/1")
    assert app.url_for("item", number=1) == urls[0]


def test_url_for_without_server_name(web: Any) -> None:
    """R38: in an app context without SERVER_NAME, url_for is a RuntimeError that names it."""
    with make_app(web).app_context(), pytest.raises(RuntimeError, match="SERVER_NAME"):
        web.helpers.url_for("item", number=1)


def test_url_for_outside(native: Any) -> None:
    """R2: url_for outside of any context is the error of the app context."""
    with pytest.raises(ContextError, match=r"^Working outside of application context"):
        native.helpers.url_for("item")


def test_scheme_of_a_relative_url(web: Any) -> None:
    """R38: a scheme for a URL that is not external is a ValueError."""
    with make_app(web).test_request_context(), pytest.raises(ValueError, match="_scheme"):
        web.helpers.url_for("item", number=1, _scheme="https", _external=False)


def test_url_defaults(web: Any) -> None:
    """R38: url_defaults functions fill in values."""
    app = make_app(web)
    app.url_defaults(lambda endpoint, values: values.setdefault("number", 9))
    with app.test_request_context():
        assert web.helpers.url_for("item") == "/item/9"


def test_build_error(web: Any) -> None:
    """R38: handlers are asked in turn, one that raises BuildError is skipped; without a URL it is raised."""
    app, asked = make_app(web), []

    def first(error: Any, endpoint: str, values: Any) -> None:
        asked.append((endpoint, sorted(values)))
        raise error

    app.url_build_error_handlers.extend([first, lambda error, endpoint, values: None])
    with app.test_request_context():
        with pytest.raises(BuildError):
            web.helpers.url_for("nothing")
        app.url_build_error_handlers.append(lambda error, endpoint, values: "/fallback")
        assert web.helpers.url_for("nothing", x=1) == "/fallback"
    assert asked[0] == ("nothing", ["_anchor", "_external", "_method", "_scheme"])


@pytest.mark.parametrize(
    ("matching", "rule", "base_url", "args"),
    [
        ({"subdomain_matching": True}, {"subdomain": "<lang>"}, "http://de.shop.test", {"lang": "de"}),
        ({"host_matching": True}, {"host": "<name>.test"}, "http://a.test", {"name": "a"}),
        ({}, {"subdomain": "www"}, "http://www.shop.test", None),
    ],
    ids=["subdomain", "host", "off"],
)
def test_subdomain_and_host_matching(web: Any, matching: Any, rule: Any, base_url: str, args: Any) -> None:
    """R16: subdomain and host are matched where the app was made for it, and only there."""
    app = web.App("shop", **matching, **({"static_folder": None} if web.name == "flask" else {}))
    app.config["SERVER_NAME"] = "shop.test"
    app.add_url_rule("/a", "a", fail, **rule)
    with app.test_request_context("/a", base_url=base_url) as ctx:
        assert ctx.request.view_args == args


def test_configuration_has_flasks_defaults(native: Any) -> None:
    """Every configuration key has the default that it has in Flask."""
    ours, theirs = native.App("a").config, Flask("a").config
    assert ours == {key: theirs[key] for key in ours}


def test_name_of_a_script(native: Any) -> None:
    """An app of __main__ is named after the script."""
    assert native.App("__main__").name == Flask("__main__").name
    assert native.App("shop.web").name == "shop.web"


def test_logger(web: Any) -> None:
    """The logger has the app's name, and passes debug lines in debug mode."""
    app = web.App("shop.of.a.name.of.its.own." + web.name)
    app.debug = True
    assert (app.logger.name, app.logger.level) == (app.name, logging.DEBUG)


def test_base_url_excludes_its_parts(native: Any) -> None:
    """R16: a base URL together with a subdomain is a ConfigError."""
    with pytest.raises(ConfigError, match="leave out subdomain"):
        native.app().test_request_context(base_url="http://a.test", subdomain="b")
