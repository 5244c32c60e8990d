"""The app ``family``: jobs that enqueue jobs, with a tenant and a user of Flask-Login; for a worker, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flask
import flask_login

from ctxjobs import CtxJobs

jobs = CtxJobs()


@jobs.job
def leaf(name: str = "") -> str:
    return name


@jobs.job
def branch(*widths: int) -> list[str]:
    """Enqueue as many jobs as the first number says; each has the rest of the numbers."""
    children = [branch.enqueue(*widths[1:]) for _ in range(widths[0])] if widths else []
    return [child.id for child in children]


@jobs.job
def fail() -> None:
    raise ValueError("the job failed")


def plain() -> None: ...


class User(flask_login.UserMixin):
    def __init__(self, user_id: str) -> None:
        self.id = user_id


def load_user(user_id: str) -> User:
    return User(user_id)


def create_app(**config: Any) -> flask.Flask:
    app = flask.Flask("family")
    app.config.update({"SECRET_KEY": "k" * 32, "PROPAGATE_EXCEPTIONS": True, **config})
    flask_login.LoginManager(app).user_loader(load_user)
    jobs.init_app(app)
    return app


def in_request(
    app: flask.Flask,
    call: Callable[[], Any],
    *,
    request: str | None = None,
    tenant: Any = None,
    user: str | None = None,
) -> Any:
    """Make *call* in a request.

    Args:
        app: The app.
        call: What to do there.
        request: Its header ``X-Request-ID``; None for none.
        tenant: What is on ``g``; None for nothing.
        user: Who is logged in; None for nobody.
    """
    with app.test_request_context(headers={} if request is None else {"X-Request-ID": request}):
        if tenant is not None:
            flask.g.tenant = tenant
        if user is not None:
            flask_login.login_user(User(user))
        return call()
