"""The native system and Flask under one name, so that one test shows that they behave alike.

The contract is Flask 3.1's behaviour: beside an older Flask only the native system is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import flask
import flask.ctx
import flask.globals
import pytest

from ctxjobs.native import globals as native_globals
from ctxjobs.native import helpers, sessions, signals, wrappers
from ctxjobs.native.app import App


@dataclass(frozen=True)
class Web:
    """One of the two: its app class, and where its proxies, helpers and signals are."""

    name: str
    App: Any
    globals: Any
    helpers: Any
    signals: Any
    sessions: Any
    Response: Any

    def app(self, **config: Any) -> Any:
        app = self.App("shop")
        app.config.update(SECRET_KEY="k", TESTING=True, **config)
        return app

    def active(self) -> tuple[Any, Any]:
        """The innermost contexts, or None."""
        return self.globals._cv_app.get(None), self.globals._cv_request.get(None)


NATIVE = Web("native", App, native_globals, helpers, signals, sessions, wrappers.Response)
FLASK = Web("flask", flask.Flask, flask.globals, flask, flask.signals, flask.sessions, flask.Response)


#: Native behaves as Flask does from 3.1.3 on, where ``session`` is a property of the request context.
IS_MODEL = hasattr(flask.ctx.RequestContext, "session")
model_only = pytest.mark.skipif(not IS_MODEL, reason="this Flask is older than the one that native is like")


@pytest.fixture(params=[NATIVE, pytest.param(FLASK, marks=model_only)], ids=lambda web: web.name)
def web(request: pytest.FixtureRequest) -> Web:
    return request.param


@pytest.fixture
def webs() -> list[Web]:
    """Both, for a test that compares them."""
    if not IS_MODEL:
        pytest.skip("this Flask is older than the one that native is like")
    return [NATIVE, FLASK]


@pytest.fixture
def native() -> Web:
    return NATIVE


@pytest.fixture(autouse=True)
def nothing_left_active() -> Iterator[None]:
    """No test of this folder leaves a native context behind."""
    yield
    left = [v.name for v in copy_context() if v.name.startswith("ctxjobs.")]
    active = NATIVE.active()
    for var, ctx in zip((native_globals._cv_app, native_globals._cv_request), active, strict=True):
        if ctx is not None:
            var.set(None)  # for the tests that follow; this one has failed
    assert active == (None, None), left
