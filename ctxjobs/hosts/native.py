"""The native host: the only file of the job side that knows the native context system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ctxjobs.hosts.werkzeug import WerkzeugHost
from ctxjobs.native import globals as native_globals
from ctxjobs.native.app import App
from ctxjobs.native.sessions import NullSession, SecureCookieSession


class NativeHost(WerkzeugHost):
    """A :class:`ctxjobs.App`.

    Args:
        app: The app.
    """

    kind: ClassVar[str] = "native"
    app_var = native_globals._cv_app  # noqa: SLF001 - the context variables are the host's interface
    request_var = native_globals._cv_request  # noqa: SLF001

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

    def preset_session(self, context: Any, session: Any) -> None:
        """Set what the push would otherwise open."""
        context._session = session  # noqa: SLF001

    def is_null_session(self, session: Any) -> bool:
        """Whether the app has no secret key."""
        return isinstance(session, NullSession)

    def session_class(self) -> type[Any]:
        """The session class of the app's session interface."""
        cls: type[Any] = getattr(self.app.session_interface, "session_class", SecureCookieSession)
        return cls

    def implicit_app_context(self, request_context: Any) -> Any:
        """The application context that the newest push brought."""
        brought = request_context._app_contexts  # noqa: SLF001
        return brought[-1] if brought else None
