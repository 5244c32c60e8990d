"""URLs: url_for in a request and outside of one, subdomain and host matching (R16, R38)."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.routing import BuildError

from ctxjobs.errors import ConfigError, ContextError


def make_app(web: Any, **config: Any) -> Any:
    app = web.app(**config)
    app.add_url_rule("/item/<int:number>", "item", lambda number: "")
    return app


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "/base/item/1"),
        ({"q": "a b"}, "/base/item/1?q=a+b"),
        ({"_anchor": "x y"}, "/base/item/1#x%20y"),
        ({"_anchor": "a/b?c=d&e:f"}, "/base/item/1#a/b?c=d&e:f"),
        ({"_external": True}, "http://shop.test/base/item/1"),
        ({"_scheme": "https"}, "https://shop.test/base/item/1"),
        ({"_scheme": "https", "_external": True}, "https://shop.test/base/item/1"),
    ],
)
def test_url_for_in_a_request(web: Any, values: Any, url: str) -> None:
    """R38: in a request, url_for is relative unless asked, with host and root of the environ."""
    with make_app(web).test_request_context(base_url="http://shop.test/base"):
        assert web.helpers.url_for("item", number=1, **values) == url


def test_url_for_of_a_method(web: Any) -> None:
    """R38: of two rules of an endpoint, _method chooses the one that has it."""
    app = web.app()
    app.add_url_rule("/get", "a", methods=["GET"])
    app.add_url_rule("/post", "a", methods=["POST"])
    with app.test_request_context():
        assert [web.helpers.url_for("a", _method=method) for method in ("GET", "POST")] == ["/get", "/post"]


def test_url_for_prefers_server_name(web: Any) -> None:
    """R38: in a request, the host of SERVER_NAME replaces the request's."""
    with make_app(web, SERVER_NAME="shop.test").test_request_context(base_url="http://other.test"):
        assert web.helpers.url_for("item", number=1, _external=True) == "http://shop.test/item/1"


def test_url_for_in_an_app_context(web: Any) -> None:
    """R38: in an app context, url_for is external, by the configuration alone; so is app.url_for outside."""
    app = make_app(web, SERVER_NAME="shop.test", APPLICATION_ROOT="/base", PREFERRED_URL_SCHEME="https")
    with app.app_context():
        urls = web.helpers.url_for("item", number=1), web.helpers.url_for("item", number=1, _external=False)
    assert urls == ("https://shop.test/base/item/1", "/base/item/1")
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
    with make_app(web).test_request_context(), pytest.raises(ValueError, match=r"_scheme"):
        web.helpers.url_for("item", number=1, _scheme="https", _external=False)


def test_url_defaults(web: Any) -> None:
    """R38: url_defaults functions fill in values."""
    app = make_app(web)
    app.url_defaults(lambda endpoint, values: values.setdefault("number", len(endpoint)))
    with app.test_request_context():
        assert web.helpers.url_for("item") == "/item/4"


def test_build_error(web: Any) -> None:
    """R38: handlers are asked in turn, one that raises BuildError is skipped; without a URL it is raised."""
    app, asked = make_app(web), []

    def first(error: Any, endpoint: str, values: Any) -> None:
        asked.append((endpoint, values.copy()))
        raise error

    app.url_build_error_handlers.extend([first, lambda error, endpoint, values: None])
    with app.test_request_context():
        with pytest.raises(BuildError):
            web.helpers.url_for("nothing", _anchor="a", _method="PUT", _scheme="https")
        app.url_build_error_handlers.append(lambda error, endpoint, values: "/fallback")
        assert web.helpers.url_for("nothing", x=1) == "/fallback"
    values = {"_anchor": "a", "_method": "PUT", "_scheme": "https", "_external": True}
    assert asked[0] == ("nothing", values)


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
    app.add_url_rule("/a", "a", print, **rule)
    with app.test_request_context("/a", base_url=base_url) as ctx:
        assert ctx.request.view_args == args


def test_default_subdomain(web: Any) -> None:
    """R16: with subdomain matching off, the map's default subdomain is the one that rules are matched in."""
    app = web.app()
    app.url_map.default_subdomain = "www"
    app.add_url_rule("/a", "a", print, subdomain="www")
    with app.test_request_context("/a") as ctx:
        assert ctx.request.endpoint == "a"


def test_client_is_where_the_app_is(web: Any) -> None:
    """R16: the test client's requests have the same defaults as a test request context."""
    app = web.app(SERVER_NAME="shop.test", PREFERRED_URL_SCHEME="https")
    app.add_url_rule("/a", "a", lambda: web.globals.request.url)
    assert app.test_client().get("/a").text == "https://shop.test/a"


def test_base_url_excludes_its_parts(native: Any) -> None:
    """R16: a base URL together with a subdomain is a ConfigError."""
    with pytest.raises(ConfigError, match="leave out subdomain"):
        native.app().test_request_context(base_url="http://a.test", subdomain="b")
