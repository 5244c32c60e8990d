"""The user of Flask-Login: travels as the user's id, and is loaded afresh in the worker.

May import :mod:`ctxjobs.propagators.base`, ``identity``, hosts and below; never Flask-Login, which is
loaded wherever an app has a ``login_manager``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host
from ctxjobs.policy import Capture
from ctxjobs.propagators.base import Draft
from ctxjobs.propagators.identity import Identity


class LoginPropagator:
    """``current_user`` of Flask-Login, an anonymous one, too.

    The user is set in the job's contexts as Flask-Login itself would, so neither the session, nor its
    protection, nor the request loader has a say in the job: they had it when the user was captured.
    """

    name = "login"
    essential = True
    override_names = ("user",)

    def wanted(self, host: Host) -> bool:
        """Whether the app has a login manager."""
        return getattr(host.app, "login_manager", None) is not None and "flask_login" in sys.modules

    def capture(self, active: Active) -> Any:
        """As :meth:`capture_under` the default policy."""
        return self.capture_under(Capture(), active)

    def capture_under(self, policy: Capture, active: Active) -> Any:
        """The identity of the user, as Flask-Login finds it for this request.

        Raises:
            ConfigError: There is no user loader, so no worker could load the user.
        """
        if active.request_context is None:
            return None  # Flask-Login knows no user outside of a request
        app = active.app_context.app
        return _identity(sys.modules["flask_login"].current_user, app, policy).value()

    def override(self, values: Mapping[str, Any], captured: Any, draft: Draft) -> Any:
        """The identity of the user that was said.

        Raises:
            ConfigError: It is neither an id nor a user; or the job will have no request, or no user loader.
        """
        if not draft.has_request:
            raise ConfigError(
                "Override(user=...)",
                "Flask-Login has a current_user only inside of a request, and this job will have none. Give "
                "it one: Override(user=..., request='/'); or pass the id as an argument.",
            )
        return _identity(values["user"], draft.host.app, draft.policy).value()

    def restore(self, value: Any, active: Active) -> None:
        """Load the user, inside the job's contexts; it goes with them.

        Raises:
            UserGoneError, UserStaleError, JobDroppedError: See :meth:`Identity.load`.
        """
        app = active.app_context.app
        user = Identity.read(value).load(_manager(app)._user_callback, app.config)  # noqa: SLF001 - see _set
        _set(app, user)

    def clear(self, active: Active) -> None:
        """Set the anonymous user."""
        _set(active.app_context.app, None)


def _identity(user: Any, app: Any, policy: Capture) -> Identity:
    """The identity of *user*: an object of the app's user class, a proxy for one, an id, or None."""
    if hasattr(user, "_get_current_object"):
        user = user._get_current_object()  # noqa: SLF001 - the public method of a LocalProxy
    if user is None or not getattr(user, "is_authenticated", True):
        return Identity()
    if _manager(app)._user_callback is None:  # noqa: SLF001 - see _set
        raise ConfigError(
            "LoginManager.user_loader",
            "there is none, and a worker loads users by their id; a request_loader is not enough. Set a "
            "user_loader, or leave 'login' out of Capture(propagators=...).",
        )
    if isinstance(user, str | int | UUID):
        return Identity.of(str(user), None, app.config, policy)
    user_id = user.get_id() if hasattr(user, "get_id") else None
    if user_id is None:
        got = f"{type(user).__name__} has none"
        raise ConfigError("current_user", f"a user travels by the id that get_id() returns; {got}.")
    return Identity.of(user_id, user, app.config, policy)


def _manager(app: Any) -> Any:
    return app.login_manager


def _set(app: Any, user: Any | None) -> None:
    _manager(app)._update_request_context_with_user(user)  # noqa: SLF001 - Flask-Login has no other way in
