"""Apps: how they are named, bound and loaded."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask
import pytest

from ctxjobs import App, CtxJobs
from ctxjobs.errors import (
    AppIdError,
    AppLoadError,
    ConfigError,
    NoSecretKeyError,
    UnboundJobError,
    UnsupportedAppError,
)
from ctxjobs.registry import load_app, load_apps, registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test is bound."""
    monkeypatch.setattr(registry, "apps", {})


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Write the module ``shop``."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> None:
        (tmp_path / "shop.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop("shop", None)


def make(import_name: str = "shop", *, cls: Any = App, **config: Any) -> Any:
    app = cls(import_name)
    app.config.update({"SECRET_KEY": "k", **config})
    return app


# --- Binding --------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [App, flask.Flask])
def test_an_app_is_bound_under_its_import_name(cls: Any) -> None:
    """Without CTXJOBS_APP_ID the import name is the id, on either host."""
    app = make(cls=cls)
    jobs = CtxJobs(app)
    assert registry.apps["shop"].host.app is app
    assert app.extensions["ctxjobs"] is jobs


def test_an_app_made_again_replaces_the_first() -> None:
    """A factory that is called twice makes one app twice: the newest counts."""
    jobs, second = CtxJobs(make()), make()
    jobs.init_app(second)
    assert registry.apps["shop"].host.app is second


def test_two_apps_with_one_id_are_refused() -> None:
    """The error names the id and both apps."""
    CtxJobs(make("shop", CTXJOBS_APP_ID="one"))
    with pytest.raises(AppIdError, match="'one' is the id of two apps: shop and admin"):
        CtxJobs(make("admin", CTXJOBS_APP_ID="one"))


def test_main_is_no_id() -> None:
    """``__main__`` names another app in the worker than in the web process."""
    with pytest.raises(AppIdError, match=r"'__main__' names whatever script runs\. Set CTXJOBS_APP_ID"):
        CtxJobs(make("__main__"))


def test_a_script_that_sets_an_id_is_bound() -> None:
    """An app in ``__main__`` works once it is named."""
    CtxJobs(make("__main__", CTXJOBS_APP_ID="shop"))
    assert list(registry.apps) == ["shop"]


@pytest.mark.parametrize("app_id", ["a b", "a:b", "é", "x" * 101, "a/b"])
def test_a_malformed_id_is_refused(app_id: str) -> None:
    """An id stands in the plain text of envelopes."""
    with pytest.raises(AppIdError, match="use at most 100 letters"):
        CtxJobs(make(CTXJOBS_APP_ID=app_id))


@pytest.mark.parametrize("key", [None, "", b""])
def test_no_secret_key_is_refused(key: Any) -> None:
    """There is no unsigned mode."""
    with pytest.raises(NoSecretKeyError, match="app 'shop' has none, and every job is signed with it"):
        CtxJobs(make(SECRET_KEY=key))


def test_ctxjobs_may_have_a_key_of_its_own() -> None:
    """CTXJOBS_SECRET_KEY signs jobs in an app whose sessions need no key."""
    CtxJobs(make(SECRET_KEY=None, CTXJOBS_SECRET_KEY="k"))
    assert list(registry.apps) == ["shop"]


@pytest.mark.parametrize("keys", ["old", b"old"])
def test_fallback_keys_are_a_list(keys: Any) -> None:
    """One str would be taken for its letters, each of them a key that anybody can guess."""
    with pytest.raises(ConfigError, match="SECRET_KEY_FALLBACKS"):
        CtxJobs(make(SECRET_KEY_FALLBACKS=keys))


def test_a_capture_of_another_type_is_refused() -> None:
    """The policy is a Capture, not a dict."""
    with pytest.raises(ConfigError, match=r"CTXJOBS_CAPTURE: expected a ctxjobs\.Capture, got dict"):
        CtxJobs(make(CTXJOBS_CAPTURE={}))


@pytest.mark.parametrize("app", [object(), "shop", flask.Blueprint("b", "b")])
def test_what_is_no_app_is_refused(app: Any) -> None:
    """The error names the type, and what would be right."""
    with pytest.raises(
        UnsupportedAppError, match=f"{type(app).__qualname__} is not an app that ctxjobs knows"
    ):
        CtxJobs(app)


def test_an_unbound_ctxjobs_has_no_queue() -> None:
    """A queue needs an app."""
    with pytest.raises(UnboundJobError, match=r"queue\(\) cannot be enqueued: no app is bound"):
        CtxJobs().queue()


# --- Loading --------------------------------------------------------------------------------

SHOP = """
from ctxjobs import App, CtxJobs
def create_app(*args, **kwargs):
    app = App("shop")
    app.config.update(SECRET_KEY="k", given=(args, kwargs))
    CtxJobs(app)
    return app
def raises():
    return 1 / 0
class factories:
    create_app = staticmethod(create_app)
unbound = App("unbound")
text = "not an app"
"""


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ("shop:create_app()", ((), {})),
        ("shop:create_app('prod', debug=True, parts=[1, 2])", (("prod",), {"debug": True, "parts": [1, 2]})),
        ("shop:factories.create_app(-1)", ((-1,), {})),
    ],
)
def test_a_factory_is_called_with_literal_arguments(
    module: Callable[[str], None], spec: str, given: Any
) -> None:
    """``module:factory(...)`` takes arguments as they would be written in Python."""
    module(SHOP)
    assert load_app(spec).config["given"] == given


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("shop", "does not read as 'module:attribute'"),
        ("shop:", "does not read as 'module:attribute'"),
        ("shop:create_app(", "does not read as 'module:attribute'"),
        ("shop:create_app(os.environ)", "does not read as 'module:attribute'"),
        ("shop:create_app(**{'a': 1})", "does not read as 'module:attribute'"),
        ("shop:create_app()()", "does not read as 'module:attribute'"),
        ("shop:a + b", "does not read as 'module:attribute'"),
        (":create_app()", "ValueError: Empty module name"),
        ("no_such_shop:app", "ModuleNotFoundError: No module named 'no_such_shop'"),
        ("shop:app", "AttributeError: module 'shop' has no attribute 'app'"),
        ("shop:text()", "TypeError: 'str' object is not callable"),
        ("shop:raises()", "ZeroDivisionError: division by zero"),
        ("shop:unbound", "is not bound: nothing called CtxJobs(app) or init_app(app)"),
        ("shop:text", "is not bound"),
        ("shop:create_app", "is not bound"),
    ],
)
def test_a_spec_that_gives_no_app_says_why(module: Callable[[str], None], spec: str, reason: str) -> None:
    """Whatever is wrong, there is one kind of error, with the spec and the reason."""
    module(SHOP)
    with pytest.raises(AppLoadError) as caught:
        load_apps([spec])
    assert caught.value.spec == spec
    assert reason in caught.value.reason


def test_a_module_that_raises_shows_its_own_traceback(module: Callable[[str], None]) -> None:
    """The reason has the lines of the user's files, and none of ours or of importlib's."""
    module("def broken():\n    return 1 / 0\n\nbroken()\n")
    with pytest.raises(AppLoadError) as caught:
        load_app("shop:app")
    lines = [line for line in caught.value.reason.splitlines() if line.strip().startswith("File ")]
    assert [line.split(", ", 1)[1] for line in lines] == ["line 4, in <module>", "line 2, in broken"]
    assert all("shop.py" in line for line in lines)


def test_a_factory_with_wrong_settings_shows_what_is_wrong(module: Callable[[str], None]) -> None:
    """An error of ours inside of the user's factory is told as such."""
    module("from ctxjobs import App, CtxJobs\ndef create_app():\n    CtxJobs(App('shop'))\n")
    with pytest.raises(AppLoadError, match="SECRET_KEY: app 'shop' has none"):
        load_apps(["shop:create_app()"])


def test_two_specs_of_one_id_are_refused(module: Callable[[str], None]) -> None:
    """The error names both specs."""
    module(SHOP)
    with pytest.raises(AppIdError, match=r"is the id of two apps: shop:create_app\(\) and shop:factories"):
        load_apps(["shop:create_app()", "shop:factories.create_app()"])


def test_apps_are_loaded_in_the_order_given(module: Callable[[str], None]) -> None:
    """The first one is the one whose system context plain jobs get."""
    module(
        "from ctxjobs import App, CtxJobs\n"
        "def make(name):\n"
        "    app = App(name)\n"
        "    app.config.update(SECRET_KEY='k')\n"
        "    CtxJobs(app)\n"
        "    return app\n"
    )
    assert [app.id for app in load_apps(["shop:make('z')", "shop:make('a')"])] == ["z", "a"]
