"""What a view gets and returns, and the app's configuration: the same as in Flask."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from werkzeug.exceptions import BadRequest, NotFound
from werkzeug.wrappers import Response as WerkzeugResponse

from ctxjobs.errors import ViewResultError


@dataclass
class Point:
    """A value that JSON lacks."""

    x: int


class Html:
    """Another one."""

    def __html__(self) -> str:
        return "<b>"


def returning(app: Any, result: Any) -> Any:
    """The response of *app* to a view that returns *result*."""
    app.add_url_rule("/a", "a", lambda: result)
    return app.test_client().get("/a")


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


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (("a", 1, {}, 2), "a tuple of 4 items"),
        (3, "a int"),
        ({"x": object()}, "a object, which JSON does not have"),
    ],
)
def test_wrong_result_says_what_it_is(native: Any, result: Any, text: str) -> None:
    """The error for a wrong result says what was returned."""
    with pytest.raises(ViewResultError, match=rf"returned {text}\. Return"):
        returning(native.app(), result)


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
    wrong = client.post("/a", data="{", content_type="application/json")
    assert (wrong.status_code, "Failed to decode" in wrong.text) == (400, False)
    assert client.post("/a", data="{", content_type="text/plain").status_code == 415


def test_wrong_json_outside_of_an_app(native: Any) -> None:
    """A request that is read outside of its context refuses wrong JSON as well."""
    ctx = native.app().test_request_context(data="{", content_type="application/json")
    with pytest.raises(BadRequest):
        _ = ctx.request.json


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


def test_configuration_has_flasks_defaults(webs: Any) -> None:
    """Every configuration key has the default that it has in Flask."""
    ours, theirs = (web.App("a").config for web in webs)
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
