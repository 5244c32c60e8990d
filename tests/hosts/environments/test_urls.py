"""URLs of Flask apps in jobs: behind proxies and dispatchers, by host and subdomain, without a request."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from support.capturing import Recorder, ask, bind
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, BuildError

from ctxjobs import Capture, Snapshot, run_in_context
from ctxjobs.errors import ContextMismatchError


def shop(view: Recorder, rule: str = "/<int:number>", **config: Any) -> flask.Flask:
    app: flask.Flask = bind(flask.Flask("shop"), **config)
    app.add_url_rule(rule, "page", view)
    return app


def test_behind_a_proxy(view: Recorder) -> None:
    """A job sees scheme, host, prefix and address as the app does behind ProxyFix."""
    app = shop(view)
    wsgi = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
    forwarded = {"For": "203.0.113.9", "Proto": "https", "Host": "shop.example", "Prefix": "/eu"}
    ask(wsgi, "/7", headers={f"X-Forwarded-{name}": value for name, value in forwarded.items()})
    assert view.seen["external"] == "https://shop.example/eu/7"
    assert view.seen["request"][-1] == "203.0.113.9"
    assert view.job() == view.seen


def test_proxy_headers_are_not_applied_twice(view: Recorder) -> None:
    """An app that wraps itself in ProxyFix is the same for its jobs, which do not go through it again."""
    app = shop(view)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_prefix=1)  # type: ignore[method-assign]  # as its documentation says
    ask(app, "/7", headers={"X-Forwarded-Prefix": "/eu"})
    assert view.seen["urls"] == ("/eu/7",)
    assert view.job() == view.seen


def test_behind_a_dispatcher(view: Recorder) -> None:
    """A job sees the script root of an app that DispatcherMiddleware has mounted."""
    wsgi = DispatcherMiddleware(flask.Flask("root"), {"/shops/one": shop(view)})
    ask(wsgi, "/shops/one/7", base_url="https://example.org")
    assert view.seen["external"] == "https://example.org/shops/one/7"
    assert view.job() == view.seen


def test_subdomains(view: Recorder) -> None:
    """A rule with a subdomain matches in the job, with the same arguments."""
    app = bind(flask.Flask("shop", subdomain_matching=True), SERVER_NAME="shop.example")
    app.add_url_rule("/<int:number>", "page", view, subdomain="<tenant>")
    ask(app, "/7", base_url="http://acme.shop.example")
    assert view.seen["route"][2] == {"tenant": "acme", "number": 7}
    assert view.seen["external"] == "http://acme.shop.example/7"
    assert view.job() == view.seen


def test_hosts(view: Recorder) -> None:
    """A rule with a host matches in the job, with the same arguments."""
    app = bind(flask.Flask("shop", host_matching=True, static_host="static.example"))
    app.add_url_rule("/<int:number>", "page", view, host="<tenant>.example:8080")
    ask(app, "/7", base_url="http://acme.example:8080")
    assert view.seen["route"][2] == {"tenant": "acme", "number": 7}
    assert view.job() == view.seen


def test_another_server_name_in_the_worker(view: Recorder) -> None:
    """A worker whose SERVER_NAME is another one does not run jobs of a subdomain as if it were none."""

    def create_app(server_name: str) -> Any:
        app = bind(flask.Flask("shop", subdomain_matching=True), SERVER_NAME=server_name)
        app.add_url_rule("/<int:number>", "page", view, subdomain="acme")
        return app

    ask(create_app("shop.example"), "/7", base_url="http://acme.shop.example")
    create_app("worker.internal")
    with pytest.warns(UserWarning, match="doesn't match"), pytest.raises(ContextMismatchError):
        view.job()


@pytest.mark.skipif("TRUSTED_HOSTS" not in flask.Flask.default_config, reason="since Flask 3.1")
def test_other_trusted_hosts_in_the_worker(view: Recorder) -> None:
    """A worker that does not trust the request's host says which setting differs (R19)."""
    ask(shop(view), "/7", base_url="http://shop.example")
    shop(view, TRUSTED_HOSTS=["worker.internal"])
    with pytest.raises(ContextMismatchError, match="TRUSTED_HOSTS"):
        view.job()


def test_url_for_in_a_system_context() -> None:
    """Without a request, SERVER_NAME, APPLICATION_ROOT and PREFERRED_URL_SCHEME make the URL (R38)."""
    shop(Recorder(), SERVER_NAME="shop.example:8443", APPLICATION_ROOT="/eu", PREFERRED_URL_SCHEME="https")
    url = run_in_context(Snapshot("shop"), flask.url_for, "page", number=7, _external=True)
    assert url == "https://shop.example:8443/eu/7"
    assert run_in_context(Snapshot("shop"), flask.url_for, "page", number=7) == url


def test_url_for_in_a_system_context_needs_a_server_name() -> None:
    """Without a request and SERVER_NAME Flask's own error says so, whatever is outside (R26, R38)."""
    app = shop(Recorder())
    with app.test_request_context("/7"), pytest.raises(RuntimeError, match="SERVER_NAME"):
        run_in_context(Snapshot("shop"), flask.url_for, "page", number=7)


class TagConverter(BaseConverter):
    """Its values are objects that no JSON has."""

    def to_python(self, value: str) -> frozenset[str]:
        return frozenset(value.split("+"))

    def to_url(self, value: Any) -> str:
        return "+".join(sorted(value))


def test_converters(view: Recorder) -> None:
    """Arguments of a converter are made anew from the URL; they need not encode."""
    app = bind(flask.Flask("shop"))
    app.url_map.converters["tags"] = TagConverter
    app.add_url_rule("/<tags:tags>", "page", view)
    ask(app, "/tea+green")
    assert view.seen["route"][2] == {"tags": frozenset({"tea", "green"})}
    assert view.job() == view.seen


def with_languages(view: Recorder) -> flask.Flask:
    """The pattern of Flask's documentation: the language is in the URL, and goes to ``g``."""
    app = shop(view, "/<lang>/<int:number>")
    app.url_value_preprocessor(lambda endpoint, values: setattr(flask.g, "lang", values.pop("lang")))
    app.url_defaults(lambda endpoint, values: values.setdefault("lang", flask.g.lang))
    return app


def test_a_language_in_the_url(view: Recorder) -> None:
    """URLs are built with the language on ``g``, which travels, where url_value_preprocessor put it."""
    with_languages(view)
    view.look = lambda: (flask.g.lang, flask.url_for("page", number=8), flask.request.url)
    ask(with_languages(view), "/de/7")
    assert view.seen == ("de", "/de/8", "http://localhost/de/7")
    assert view.job() == view.seen


def test_url_value_preprocessors_do_not_run_in_jobs(view: Recorder) -> None:
    """A push runs no url_value_preprocessor: without ``g`` there is no language (R20)."""
    view.policy, view.look = Capture(g="none"), lambda: "lang" in flask.g
    ask(with_languages(view), "/de/7")
    assert (view.seen, view.job()) == (True, False)
    view_args = run_in_context(view.snapshot, lambda: flask.request.view_args)
    assert view_args == {"lang": "de", "number": 7}
    with pytest.raises((AttributeError, BuildError)):
        run_in_context(view.snapshot, flask.url_for, "page", number=8)


def test_a_request_that_matches_nothing(view: Recorder) -> None:
    """A job that an error handler enqueues for a 404 has that request, without a route (R19)."""
    app = bind(flask.Flask("shop"))
    view.look = lambda: (flask.request.url, flask.request.endpoint, flask.request.routing_exception is None)
    app.register_error_handler(404, lambda error: view() or "")
    ask(app, "/nowhere?q=1")
    assert view.seen == ("http://localhost/nowhere?q=1", None, False)
    assert view.job() == view.seen
