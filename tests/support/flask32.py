"""The shape of Flask 3.2, which has one context for both, on top of the Flask that is installed.

As much of it as a host can tell: one variable; ``request``, ``session`` and ``g`` on one context; a push
that counts; a pop that refuses the wrong one before it does anything, runs every teardown function and
raises what they raised as a group. It has its own proxies, as Flask 3.2 has.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token
from typing import Any

import flask
import flask.globals
from flask.signals import appcontext_popped, appcontext_pushed, appcontext_tearing_down, request_tearing_down
from werkzeug.exceptions import HTTPException
from werkzeug.local import LocalProxy

from ctxjobs.hosts.flask import MergedFlaskHost

_cv_app: ContextVar[Any] = flask.globals._cv_app
#: Where the installed Flask's own code looks for the request; not part of the shape.
_mirror: ContextVar[Any] = flask.globals._cv_request

current_app: Any = LocalProxy(_cv_app, "app")
g: Any = LocalProxy(_cv_app, "g")
request: Any = LocalProxy(_cv_app, "request")
session: Any = LocalProxy(_cv_app, "session")
url_for = flask.url_for


def after_this_request(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    _cv_app.get()._after_request_functions.append(function)
    return function


class AppContext:
    """An app, its ``g``, and a request or none."""

    def __init__(self, app: Any, *, request: Any = None, session: Any = None) -> None:
        self.app = app
        self.g = app.app_ctx_globals_class()
        self.url_adapter = None
        self.flashes = None
        self._request = request
        self._session = session
        self._after_request_functions: list[Any] = []
        self._count = 0
        self._tokens: tuple[Token[Any], Token[Any]] | None = None
        try:
            self.url_adapter = app.create_url_adapter(request)
        except HTTPException as error:
            request.routing_exception = error

    @property
    def has_request(self) -> bool:
        return self._request is not None

    @property
    def request(self) -> Any:
        if self._request is None:
            raise RuntimeError("There is no request in this context.")
        return self._request

    @property
    def session(self) -> Any:
        session = self._open_session()
        session.accessed = True
        return session

    def _open_session(self) -> Any:
        interface = self.app.session_interface
        if self._session is None:
            self._session = interface.open_session(self.app, self.request)
        if self._session is None:
            self._session = interface.make_null_session(self.app)
        return self._session

    def push(self) -> None:
        self._count += 1
        if self._tokens is not None:
            return
        self._tokens = _cv_app.set(self), _mirror.set(self if self.has_request else None)
        appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)
        if self._request is not None:
            self._open_session()
            self._match()

    def _match(self) -> None:
        if self.url_adapter is None:
            return
        try:
            found = self.url_adapter.match(return_rule=True)
        except HTTPException as error:
            self._request.routing_exception = error
        else:
            self._request.url_rule, self._request.view_args = found

    def pop(self, exc: BaseException | None = None) -> None:
        if self._tokens is None or _cv_app.get(None) is not self:
            raise RuntimeError(f"Cannot pop {self!r}: it is not the active context.")
        self._count -= 1
        if self._count:
            return
        of_request = self._request_teardown(exc) if self.has_request else []
        of_app = self._app_teardown(exc)
        popped, mirrored = self._tokens
        self._tokens = None
        _cv_app.reset(popped)
        _mirror.reset(mirrored)
        appcontext_popped.send(self.app, _async_wrapper=self.app.ensure_sync)
        parts = _group("request", of_request), _group("app", of_app)
        together = _group("context", [part for part in parts if part is not None])
        if together is not None:
            raise together

    def _request_teardown(self, exc: BaseException | None) -> list[BaseException]:
        names = [*self._request.blueprints, None]
        functions = [f for name in names for f in reversed(self.app.teardown_request_funcs.get(name, []))]
        send = request_tearing_down.send
        calls = [
            *(lambda f=f: f(exc) for f in functions),
            lambda: send(self.app, exc=exc),
            self._request.close,
        ]
        return _run_all(calls)

    def _app_teardown(self, exc: BaseException | None) -> list[BaseException]:
        functions = reversed(self.app.teardown_appcontext_funcs)
        send = appcontext_tearing_down.send
        return _run_all([*(lambda f=f: f(exc) for f in functions), lambda: send(self.app, exc=exc)])

    def __enter__(self) -> AppContext:
        self.push()
        return self

    def __exit__(self, kind: Any, exc: BaseException | None, tb: Any) -> None:
        self.pop(exc)


class Flask(flask.Flask):
    """An app with merged contexts."""

    def app_context(self) -> Any:
        return AppContext(self)

    def request_context(self, environ: Any) -> Any:
        request = self.request_class(environ)
        request.json_module = self.json
        return AppContext(self, request=request)


class Flask32Host(MergedFlaskHost):
    """Ours, for that app."""

    @classmethod
    def accepts(cls, app: Any) -> bool:
        return isinstance(app, Flask)


def _run_all(calls: Sequence[Callable[[], Any]]) -> list[BaseException]:
    errors: list[BaseException] = []
    for call in calls:
        try:
            call()
        except BaseException as error:  # noqa: BLE001, PERF203 - collected, as Flask 3.2 does
            errors.append(error)
    return errors


def _group(kind: str, errors: list[BaseException]) -> BaseException | None:
    """One error for several: a group, or the first one before Python 3.11."""
    if not errors:
        return None
    if sys.version_info < (3, 11):
        return errors[0]
    return BaseExceptionGroup(f"Errors during {kind} teardown", errors)  # noqa: F821 - since Python 3.11
