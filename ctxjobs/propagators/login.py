"""The user of Flask-Login: travels as the user's id, and is loaded afresh in the worker.

May import :mod:`ctxjobs.propagators.base`'s floor and below; never Flask-Login, which is loaded
wherever an app has a ``login_manager``.
"""

from __future__ import annotations

import sys
from typing import Any

from ctxjobs.errors import ConfigError, UserGoneError
from ctxjobs.hosts import Active, Host


class LoginPropagator:
    """``current_user`` of Flask-Login.

    The user is set in the job's contexts as Flask-Login itself would, so neither the session, nor its
    protection, nor the request loader has a say in the job: they had it when the user was captured.
    """

    name = "login"
    essential = True

    def wanted(self, host: Host) -> bool:
        """Whether the app has a login manager."""
        return getattr(host.app, "login_manager", None) is not None and "flask_login" in sys.modules

    def capture(self, active: Active) -> Any:
        """The id of the user, as Flask-Login finds it for this request; None for an anonymous one.

        Raises:
            ConfigError: There is no user loader, so no worker could load the user.
        """
        if active.request_context is None:
            return None  # Flask-Login knows no user outside of a request
        user = sys.modules["flask_login"].current_user
        if not user.is_authenticated:
            return None
        if _loader(active) is None:
            raise ConfigError(
                "LoginManager.user_loader",
                "the user of this request comes from a request_loader, and a worker loads users by their id. "
                "Set a user_loader, or leave 'login' out of Capture(propagators=...).",
            )
        return user.get_id()

    def restore(self, value: Any, active: Active) -> None:
        """Load the user, inside the job's contexts; it goes with them.

        Raises:
            UserGoneError: The user loader returned None.
        """
        user = _loader(active)(value)
        if user is None:
            raise UserGoneError(value)
        _manager(active)._update_request_context_with_user(user)  # noqa: SLF001 - Flask-Login has no other way in


def _manager(active: Active) -> Any:
    return active.app_context.app.login_manager


def _loader(active: Active) -> Any:
    return _manager(active)._user_callback  # noqa: SLF001 - as above
