"""The two hosts under one name, and an executor of one thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import flask
import flask.globals
import pytest

import ctxjobs
from ctxjobs import ContextExecutor


@dataclass(frozen=True)
class Web:
    """One framework: its app class, and the module with its proxies and helpers."""

    App: Any
    names: Any

    def app(self, **config: Any) -> Any:
        app = self.App("shop")
        app.config.update({"SECRET_KEY": "k", "TESTING": True, **config})
        return app

    def app_context(self) -> Any:
        """The active application context itself."""
        return (flask.globals if self.names is flask else ctxjobs).app_ctx._get_current_object()

    def nothing_active(self) -> bool:
        return not (self.names.has_app_context() or self.names.has_request_context())


@pytest.fixture(params=[Web(ctxjobs.App, ctxjobs), Web(flask.Flask, flask)], ids=["native", "flask"])
def web(request: pytest.FixtureRequest) -> Web:
    return request.param


@pytest.fixture
def executor() -> Iterator[ContextExecutor]:
    """One with a single thread, so that a second task always follows in the first one's thread."""
    with ContextExecutor(ThreadPoolExecutor(1)) as executor:
        yield executor


@pytest.fixture(autouse=True)
def no_context_is_left() -> Iterator[None]:
    """No test of this folder leaves a context behind."""
    yield
    assert (ctxjobs.has_app_context(), flask.has_app_context()) == (False, False)
