"""The way of a request through an app (R34 to R36): functions around it, errors, the lock of the setup."""

from __future__ import annotations

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.exceptions import HTTPException, NotFound, abort

from ctxjobs.errors import ConfigError, ContextError, SetupError, TeardownError

SETUP_METHODS = """
    route get post put patch delete add_url_rule before_request after_request teardown_request
    teardown_appcontext errorhandler url_value_preprocessor url_defaults
"""


class BoomError(Exception):
    """What the tests raise."""


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


def test_helper_outside_names_cause_and_fix(native: Any) -> None:
    """R2: a helper that needs a request says the same as the proxy."""
    with pytest.raises(ContextError, match=r"(?s)^Working outside of request context.*worker"):
        native.helpers.after_this_request(print)


def test_request_finished_has_the_response(web: Any) -> None:
    """R34: request_finished is sent with the response that is sent."""
    app, seen = web.app(), []

    def receiver(sender: Any, response: Any) -> None:
        seen.append((sender is app, response.get_data()))

    web.signals.request_finished.connect(receiver, app)
    returning(app, "x")
    assert seen == [(True, b"x")]


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


def test_handler_of_the_status_wins_over_a_nearer_class(web: Any) -> None:
    """R35: a handler of the status goes before one of a class that is nearer to the error."""

    class MixinError(Exception):
        pass

    class MissingError(MixinError, NotFound):
        pass

    def view() -> None:
        raise MissingError

    app = web.app()
    app.errorhandler(MixinError)(lambda error: "class")
    app.errorhandler(404)(lambda error: "status")
    app.add_url_rule("/a", "a", view)
    assert app.test_client().get("/a").text == "status"


def test_no_handler_is_asked_for_a_redirect(web: Any) -> None:
    """R35: a redirect of the URL map, and an exception that holds a response, are answers and no errors."""
    app = web.app()
    app.errorhandler(HTTPException)(lambda error: "handled")
    app.add_url_rule("/folder/", "folder", fail)
    app.add_url_rule("/a", "a", lambda: abort(web.Response("held", 202)))
    client = app.test_client()
    assert client.get("/folder").status_code == 308
    assert client.get("/a").text == "held"


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
    assert "Exception on /a [GET]" in caplog.messages
    assert "raise BoomError" in caplog.text


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
    with pytest.raises(
        TeardownError, match=r"while <RequestContext .*was pushed after it and is still active"
    ):
        app.test_client().get("/a")
    assert (native.active(), torn_down) == ((None, None), [None])


@pytest.mark.parametrize("method", SETUP_METHODS.split())
def test_setup_is_locked_by_the_first_request(web: Any, method: str) -> None:
    """R36: pushing contexts locks nothing; the first dispatched request does."""
    app = web.app()
    with app.test_request_context():
        app.add_url_rule("/b", "b", fail)
    returning(app, "x")
    with pytest.raises(AssertionError, match=rf"(?s)The setup method '{method}' can no longer be called"):
        getattr(app, method)("/c")


def test_endpoint_of_two_views(web: Any) -> None:
    """An endpoint keeps its first view: a second one is an AssertionError; the same one again is not."""
    app = web.app()
    app.add_url_rule("/a", "a", fail)
    app.add_url_rule("/b", "a", fail)
    with pytest.raises(AssertionError):
        app.add_url_rule("/c", "a", print)


@pytest.mark.parametrize("view", [None, partial(fail)])
def test_rule_without_an_endpoint(native: Any, view: Any) -> None:
    """A rule with neither an endpoint nor a view that has a name is refused."""
    with pytest.raises(SetupError, match="'/a' has no endpoint"):
        native.app().add_url_rule("/a", view_func=view)


def test_methods_as_one_string(native: Any) -> None:
    """methods="POST" is refused with the list to write instead."""
    with pytest.raises(SetupError, match=r"Give a list: methods=\['POST'\]"):
        native.app().route("/a", methods="POST")(fail)


def test_handler_of_an_unknown_status(native: Any) -> None:
    """errorhandler() of a status without an exception class is a ConfigError."""
    with pytest.raises(ConfigError, match="299"):
        native.app().errorhandler(299)


def test_failing_after_request_in_a_500(web: Any, caplog: Any) -> None:
    """R35: if an after_request function fails too, the 500 is sent and the failure logged."""
    app = web.app(PROPAGATE_EXCEPTIONS=False)
    app.after_request(lambda response: fail())
    app.add_url_rule("/a", "a", fail)
    assert app.test_client().get("/a").status_code == 500
    assert (caplog.messages[0], len(caplog.messages)) == ("Exception on /a [GET]", 2)


def test_failing_after_request(web: Any) -> None:
    """R35: an after_request function that fails makes an unhandled error of a good response."""
    app = web.app()
    app.after_request(lambda response: fail())
    with pytest.raises(BoomError):
        returning(app, "x")
