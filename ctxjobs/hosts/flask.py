"""The Flask host: the only file that knows Flask.

Imported only once the user's app has imported Flask. Detects what Flask can do, never its version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import flask
import flask.globals
from flask.sessions import NullSession, SecureCookieSession

from ctxjobs.hosts.werkzeug import WerkzeugHost


class FlaskHost(WerkzeugHost):
    """A Flask app.

    Args:
        app: The app.
    """

    kind: ClassVar[str] = "flask"
    app_var = flask.globals._cv_app  # noqa: SLF001 - the context variables are the host's interface to Flask
    request_var = flask.globals._cv_request  # noqa: SLF001

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

    def preset_session(self, context: Any, session: Any) -> None:
        """Set the attribute that the push looks at."""
        setattr(context, "_session" if "_session" in vars(context) else "session", session)

    def is_null_session(self, session: Any) -> bool:
        """Whether the app has no secret key."""
        return isinstance(session, NullSession)

    def session_class(self) -> type[Any]:
        """The session class of the app's session interface; Flask's own where it names none."""
        cls: type[Any] = getattr(self.app.session_interface, "session_class", SecureCookieSession)
        return cls

    def implicit_app_context(self, request_context: Any) -> Any:
        """The application context in the newest of the request context's tokens."""
        tokens = request_context._cv_tokens  # noqa: SLF001 - Flask 2.2 to 3.1 keep it here
        return tokens[-1][1] if tokens else None
