"""The native host: the only file of the job side that knows the native context system."""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import Token
from typing import Any, ClassVar

from ctxjobs.hosts.werkzeug import WerkzeugHost
from ctxjobs.native import globals as native_globals
from ctxjobs.native import signals
from ctxjobs.native.app import App
from ctxjobs.native.sessions import SecureCookieSession


class NativeHost(WerkzeugHost):
    """A :class:`ctxjobs.App`.

    Args:
        app: The app.
    """

    kind: ClassVar[str] = "native"
    app_var = native_globals._cv_app  # noqa: SLF001 - the context variables are the host's interface
    request_var = native_globals._cv_request  # noqa: SLF001 - as above

    @classmethod
    def accepts(cls, app: Any) -> bool:
        """Whether *app* is a native app."""
        return isinstance(app, App)

    def session_of(self, context: Any) -> Any:
        """The session, without marking it as accessed."""
        return context._session  # noqa: SLF001 - the documented seam for hosts

    def response_functions_of(self, context: Any) -> Sequence[Any]:
        """The functions for the response."""
        functions: Sequence[Any] = context.after_functions
        return functions

    def response_signals(self) -> tuple[Any, Any]:
        """The native ones."""
        return signals.request_finished, signals.got_request_exception

    def preset_session(self, context: Any, session: Any) -> None:
        """Set what the push would otherwise open."""
        context._session = session  # noqa: SLF001 - as above

    def session_class(self) -> type[Any]:
        """The session class of the app's session interface."""
        cls: type[Any] = getattr(self.app.session_interface, "session_class", SecureCookieSession)
        return cls

    def request_pushes_of(self, context: Any) -> Sequence[tuple[Token[Any], Any]]:
        """The tokens, with the application context that each push brought."""
        return list(zip(context._tokens, context._app_contexts, strict=True))  # noqa: SLF001 - as above
