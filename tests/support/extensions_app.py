"""A Flask app with real extensions, for tests in process and for a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import Any

import flask
import flask_babel
import flask_login
import structlog

from ctxjobs import CtxJobs, job, register_propagator
from ctxjobs.propagators import ContextVarPropagator

SECRET_PASSWORD_HASH = "SECRET-hash"
USERS: Mapping[str, Iterable[str]] = {"7": (), "8": ()}

tenant: ContextVar[Any] = ContextVar("tests.tenant")
register_propagator(ContextVarPropagator("tests.tenant", tenant))


class User(flask_login.UserMixin):
    """A user with what must not travel."""

    def __init__(self, user_id: str, roles: Iterable[str] = ()) -> None:
        self.id = user_id
        self.roles = set(roles)
        self.password_hash = SECRET_PASSWORD_HASH


def look() -> dict[str, Any]:
    """What the extensions say here."""
    user = flask_login.current_user
    return {
        "user": user.get_id() if user else None,
        "locale": str(flask_babel.get_locale()),
        "zone": str(flask_babel.get_timezone()),
        "bound": structlog.contextvars.get_contextvars(),
        "tenant": tenant.get("not set"),
    }


@job
def look_in_job() -> dict[str, Any]:
    return look()


def create_app(
    roles: Mapping[str, Iterable[str]] = USERS, *, stamped: bool = False, **config: Any
) -> flask.Flask:
    """An app whose users log in by session or by token, with a locale by header.

    Args:
        roles: For each user the roles.
        stamped: Make the stamp of a user of the roles.
        config: More of the app's configuration.
    """
    app = flask.Flask("extensions")
    app.config.update(
        {"SECRET_KEY": "k" * 32, "SESSION_PROTECTION": "strong", "PROPAGATE_EXCEPTIONS": True, **config}
    )
    if stamped:
        app.config["CTXJOBS_USER_STAMP"] = lambda user: user.roles
    users = {user_id: User(user_id, theirs) for user_id, theirs in roles.items()}
    app.extensions["tests.users"] = users  # the database of this app
    manager = flask_login.LoginManager(app)
    manager.user_loader(users.get)

    @manager.request_loader
    def load_by_token(request: flask.Request) -> User | None:
        token = request.headers.get("Authorization", "")
        return users.get(token.removeprefix("Bearer SECRET-"))

    flask_babel.Babel(
        app,
        locale_selector=lambda: flask.request.args.get("lang", "en"),
        timezone_selector=lambda: flask.request.args.get("zone", "UTC"),
    )
    app.add_url_rule("/in/<user_id>", "in", lambda user_id: str(flask_login.login_user(users[user_id])))
    app.add_url_rule("/", "home", lambda: app.extensions["tests.view"]())  # each test sets it
    CtxJobs(app)
    return app
