"""The proxies, inside and outside of contexts (R1 to R7), and g (R29), on the native system and on Flask."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from werkzeug.local import LocalProxy

import ctxjobs
from ctxjobs.native.globals import _cv_app, _cv_request

ROOT = Path(ctxjobs.__file__).parents[1]
APP = "Working outside of application context."
REQUEST = "Working outside of request context."
PROXIES = {
    "current_app": APP,
    "g": APP,
    "app_ctx": APP,
    "request": REQUEST,
    "session": REQUEST,
    "request_ctx": REQUEST,
}


def test_testing_is_not_loaded() -> None:
    """Importing the app loads nothing of ours that is for tests alone."""
    code = "import sys, ctxjobs.native.app; print('ctxjobs.native.testing' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "False"


@pytest.mark.parametrize("name", PROXIES)
def test_is_a_local_proxy(web: Any, name: str) -> None:
    """R1: every public context name is a LocalProxy."""
    assert type(getattr(web.globals, name)) is LocalProxy


def test_variables_have_their_names() -> None:
    """R1: the two ContextVars are named after the package."""
    assert (_cv_app.name, _cv_request.name) == ("ctxjobs.app_ctx", "ctxjobs.request_ctx")


@pytest.mark.parametrize(
    "use",
    [
        lambda proxy: proxy.x,
        lambda proxy: setattr(proxy, "x", 1),
        lambda proxy: delattr(proxy, "x"),
        lambda proxy: "x" in proxy,
        lambda proxy: len(proxy),
        lambda proxy: hasattr(proxy, "x"),
    ],
    ids=["get", "set", "del", "in", "len", "hasattr"],
)
@pytest.mark.parametrize("name", PROXIES)
def test_use_outside_is_a_runtime_error(web: Any, name: str, use: Any) -> None:
    """R2: using a proxy outside raises RuntimeError whose first line names the context."""
    with pytest.raises(RuntimeError) as caught:
        use(getattr(web.globals, name))
    assert str(caught.value).splitlines()[0] == PROXIES[name]


@pytest.mark.parametrize("name", PROXIES)
def test_text_names_cause_and_fix(native: Any, name: str) -> None:
    """R2: the text says that a thread or a worker without its context is the usual cause, and what to do."""
    with pytest.raises(RuntimeError, match=r"(?s)thread.*worker.*copy_current_request_context"):
        _ = getattr(native.globals, name).x


@pytest.mark.parametrize("name", PROXIES)
def test_unbound_proxy_may_be_looked_at(web: Any, name: str) -> None:
    """R3: outside, a proxy is false, equal to nothing, empty, and says that it is unbound."""
    proxy = getattr(web.globals, name)
    assert (bool(proxy), repr(proxy), dir(proxy), proxy == 1) == (False, "<LocalProxy unbound>", [], False)


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("use", [iter, hash])
def test_quirks_of_unbound_proxies(web: Any, name: str, use: Any) -> None:
    """R3: outside, iter() and hash() of a proxy are a TypeError."""
    with pytest.raises(TypeError):
        use(getattr(web.globals, name))


def test_has_context(web: Any) -> None:
    """R4: has_app_context and has_request_context tell outside, app context and request apart."""

    def has() -> tuple[bool, bool]:
        return web.helpers.has_app_context(), web.helpers.has_request_context()

    app = web.app()
    seen = [has()]
    with app.app_context():
        seen.append(has())
    with app.test_request_context():
        seen.append(has())
    assert [*seen, has()] == [(False, False), (True, False), (True, True), (False, False)]


def test_current_app_stands_for_the_app(web: Any) -> None:
    """R5: current_app equals the app and passes isinstance; only its object is the app."""
    app, proxy = web.app(), web.globals.current_app
    with app.app_context():
        assert proxy == app
        assert isinstance(proxy, web.App)
        assert proxy._get_current_object() is app
        assert proxy is not app


def test_no_request_in_an_app_context(web: Any) -> None:
    """R6: in an app context alone, the request is false and using it is the request's RuntimeError."""
    with web.app().app_context():
        assert not web.globals.request
        with pytest.raises(RuntimeError, match=f"^{REQUEST}"):
            _ = web.globals.request.path


def test_proxies_do_not_pickle(web: Any) -> None:
    """R7: a proxy does not pickle."""
    with web.app().test_request_context(), pytest.raises(pickle.PicklingError):
        pickle.dumps(web.globals.request)


def test_copying_a_proxy_copies_what_is_behind_it(web: Any) -> None:
    """R7: copy.copy() of a proxy is a copy of the object, not of the proxy."""
    with web.app().test_request_context("/a"):
        copied = copy.copy(web.globals.request)
    assert copied.path == "/a"


def test_g_is_a_namespace(web: Any) -> None:
    """R29: g has attributes, get, pop, setdefault, in and iter."""
    g = web.globals.g
    with web.app().app_context():
        g.x = 1
        assert (g.get("x"), g.get("y"), g.get("y", 2), g.setdefault("z", 3)) == (1, None, 2, 3)
        assert ("x" in g, "y" in g, list(g)) == (True, False, ["x", "z"])
        assert (g.pop("x"), g.pop("x", 4)) == (1, 4)
        del g.z
        assert list(g) == []


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda g: g.x, AttributeError),
        (lambda g: delattr(g, "x"), AttributeError),
        (lambda g: g.pop("x"), KeyError),
        (lambda g: g["x"], TypeError),
        (lambda g: len(g), TypeError),
    ],
    ids=["get", "del", "pop", "item", "len"],
)
def test_what_g_refuses(web: Any, use: Any, error: Any) -> None:
    """R29: a missing attribute is an AttributeError, pop of it a KeyError; there is no [] and no len."""
    with web.app().app_context(), pytest.raises(error):
        use(web.globals.g)


def test_g_says_whose_it_is(native: Any) -> None:
    """R29: the repr of g names its app, as long as that is known."""
    with native.app().app_context():
        assert repr(native.globals.g) == "<ctxjobs.g of 'shop'>"
        found = native.globals.g._get_current_object()
    assert repr(found).startswith("<ctxjobs.native.ctx.AppContextGlobals object at")


def test_g_may_be_of_any_class(web: Any) -> None:
    """R29: the class of g is the app's choice and needs no method."""

    class Bare:
        pass

    app = web.app()
    app.app_ctx_globals_class = Bare
    with app.app_context():
        web.globals.g.x = 1
        assert web.globals.g.x == 1
