"""The Flask host: the only file that knows Flask.

Imported only once the user's app has imported Flask. Detects what Flask can do, never its version, and
touches none of its deprecated names. Up to 3.1 Flask has two contexts, from 3.2 on it has one for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar, Token
from typing import Any, ClassVar, Final

import flask
import flask.globals
from flask.sessions import SecureCookieSession

from ctxjobs.hosts.base import Active, Layer
from ctxjobs.hosts.werkzeug import WerkzeugHost
from ctxjobs.snapshot import Snapshot


class FlaskHost(WerkzeugHost):
    """A Flask app, where Flask has an application context and a request context.

    Args:
        app: The app.
    """

    kind: ClassVar[str] = "flask"
    app_var: ClassVar[ContextVar[Any]] = flask.globals._cv_app  # noqa: SLF001 - the context variables are the host's interface to Flask
    request_var: ClassVar[ContextVar[Any]] = getattr(flask.globals, "_cv_request", flask.globals._cv_app)  # noqa: SLF001 - as above

    @classmethod
    def accepts(cls, app: Any) -> bool:
        """Whether *app* is a Flask app."""
        return isinstance(app, flask.Flask)

    def session_of(self, context: Any) -> Any:
        """The session; ``_session`` since Flask 3.1.3, where the property marks it as accessed."""
        attributes = vars(context)
        return attributes["_session"] if "_session" in attributes else attributes.get("session")

    def response_functions_of(self, context: Any) -> Sequence[Any]:
        """The functions for the response."""
        functions: Sequence[Any] = context._after_request_functions  # noqa: SLF001 - Flask has no other way in
        return functions

    def response_signals(self) -> tuple[Any, Any]:
        """Flask's."""
        return flask.request_finished, flask.got_request_exception

    def preset_session(self, context: Any, session: Any) -> None:
        """Set the attribute that the push looks at."""
        setattr(context, "_session" if "_session" in vars(context) else "session", session)

    def session_class(self) -> type[Any]:
        """The session class of the app's session interface; Flask's own where it names none."""
        cls: type[Any] = getattr(self.app.session_interface, "session_class", SecureCookieSession)
        return cls

    def request_pushes_of(self, context: Any) -> Sequence[tuple[Token[Any], Any]]:
        """The tokens, next to which Flask keeps what each push brought."""
        pushes: Sequence[tuple[Token[Any], Any]] = context._cv_tokens  # noqa: SLF001 - Flask has no other way in
        return pushes


class MergedFlaskHost(FlaskHost):
    """A Flask app, where Flask has one context, with or without a request.

    Pushing two of them would give the job two ``g`` and run its teardown functions twice.

    Args:
        app: The app.
    """

    @classmethod
    def context_vars(cls) -> tuple[ContextVar[Any], ...]:
        """The variable that holds the context."""
        return (cls.app_var,)

    def active(self) -> Active | None:
        """This app's context, if it is the innermost one."""
        context = self.app_var.get(None)
        if context is None or context.app is not self.app:
            return None
        return Active(context, context if context.has_request else None)

    def layers(self, snapshot: Snapshot) -> Sequence[Layer]:
        """One context with its ``g`` and, for a request, its session."""
        if snapshot.request is None:
            context = self.app.app_context()
        else:
            context = self.make_request_context(snapshot.request, snapshot)
        self.preset_g(context, snapshot)
        return [context]

    def left_behind(self, own: Sequence[Layer]) -> Layer | None:
        """The innermost context, unless it is one of *own*."""
        context: Layer | None = self.app_var.get(None)
        return None if any(layer is context for layer in own) else context

    def request_context_of(self, layers: Sequence[Layer]) -> Any | None:
        """The one layer, if it has a request."""
        context: Any = layers[0]
        return context if context.has_request else None


#: What fits the Flask that is installed.
ADAPTER: Final[type[FlaskHost]] = FlaskHost if hasattr(flask.globals, "_cv_request") else MergedFlaskHost
