"""The matrix that users can run, on the hosts and the propagators that ctxjobs brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import flask
import flask_babel
import flask_login
import flask_sqlalchemy
import pytest
import structlog

import ctxjobs
from ctxjobs.hosts import Active, Host
from ctxjobs.propagators import ContextVarPropagator
from ctxjobs.testing import PropagationMatrix

CAMPAIGN: ContextVar[str] = ContextVar("campaign")
ctxjobs.register_propagator(ContextVarPropagator("matrix-campaign", CAMPAIGN))


class Contexts(PropagationMatrix):
    """``g``, the request and the session."""

    web: Any

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        headers = {"X-Request-ID": value, "Accept-Language": "de"}
        with app.test_request_context(f"/{value}?page=2", headers=headers):
            self.web.g.value = value
            self.web.session["user"] = value
            yield

    def see(self) -> Any:
        has_request = self.web.has_request_context()
        request = self.web.request
        return {
            "g": self.web.g.get("value"),
            "session": self.web.session.get("user") if has_request else None,
            "url": request.url if has_request else None,
            "id": request.headers.get("X-Request-ID") if has_request else None,
        }


class TestNativeContexts(Contexts):
    """The native context system."""

    web = ctxjobs

    def make_app(self) -> Any:
        app = ctxjobs.App("matrix")
        app.config.update(SECRET_KEY="k" * 32, CTXJOBS_CAPTURE=ctxjobs.Capture(session=("user",)))
        return app


class TestFlaskContexts(Contexts):
    """Flask."""

    web = flask

    def make_app(self) -> Any:
        app = flask.Flask("matrix")
        app.config.update(SECRET_KEY="k" * 32, CTXJOBS_CAPTURE=ctxjobs.Capture(session=("user",)))
        return app


class TestDatabase(TestFlaskContexts):
    """Flask with a database, so that jobs can wait for a commit; nothing is left on its session."""

    def make_app(self) -> Any:
        app = super().make_app()
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        flask_sqlalchemy.SQLAlchemy(app)
        return app


class TestContextVar(PropagationMatrix):
    """A context variable of the app's own, outside of a request."""

    def make_app(self) -> Any:
        app = ctxjobs.App("matrix")
        app.secret_key = "k" * 32
        return app

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        token = CAMPAIGN.set(value)
        try:
            with app.app_context():
                yield
        finally:
            CAMPAIGN.reset(token)

    def see(self) -> Any:
        return CAMPAIGN.get(None)


class TestStructlog(PropagationMatrix):
    """What structlog has bound."""

    def make_app(self) -> Any:
        app = flask.Flask("matrix")
        app.secret_key = "k" * 32
        return app

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        with app.test_request_context(), structlog.contextvars.bound_contextvars(order=value):
            yield

    def see(self) -> Any:
        return structlog.contextvars.get_contextvars()


class User(flask_login.UserMixin):
    """A user who can be loaded by name."""

    def __init__(self, name: str) -> None:
        self.id = name


class TestLogin(PropagationMatrix):
    """The user of Flask-Login."""

    def make_app(self) -> Any:
        app = flask.Flask("matrix")
        app.secret_key = "k" * 32
        flask_login.LoginManager(app).user_loader(User)
        return app

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        with app.test_request_context():
            flask_login.login_user(User(value))
            yield

    def see(self) -> Any:
        return flask_login.current_user.get_id() if flask.has_request_context() else None


class TestBabel(PropagationMatrix):
    """Locale and time zone of Flask-Babel."""

    values = ("de", "fr")

    def make_app(self) -> Any:
        app = flask.Flask("matrix")
        app.secret_key = "k" * 32
        flask_babel.Babel(app, default_timezone="UTC")
        return app

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        with app.test_request_context(), flask_babel.force_locale(value):
            yield

    def see(self) -> Any:
        return str(flask_babel.get_locale())


SHARED: list[str] = []


class Flawed:
    """A propagator with the flaws that the matrix is to find."""

    name = "matrix-flawed"
    essential = True

    def wanted(self, host: Host) -> bool:
        return "flawed" in host.app.extensions  # type: ignore[attr-defined]  # both kinds of app have them

    def capture(self, active: Active) -> Any:
        return SHARED[-1] if SHARED else None

    def restore(self, value: Any, active: Active) -> None:
        SHARED.append(value)  # and nobody takes it away


class _Flawed(PropagationMatrix):
    """State that stays where a job has put it."""

    def make_app(self) -> Any:
        app = ctxjobs.App("matrix")
        app.secret_key = "k" * 32
        app.extensions["flawed"] = True
        return app

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        SHARED.append(value)
        with app.app_context():
            yield
        SHARED.remove(value)

    def see(self) -> Any:
        return SHARED[-1] if SHARED else None


class _Forgotten(TestContextVar):
    """State that nobody carries."""

    forgotten: ContextVar[str] = ContextVar("forgotten", default="")

    @contextmanager
    def entered(self, app: Any, value: Any) -> Iterator[None]:
        with app.app_context():
            token = self.forgotten.set(value)
            yield
            self.forgotten.reset(token)

    def see(self) -> Any:
        return self.forgotten.get()


@pytest.fixture
def flawed() -> Iterator[PropagationMatrix]:
    ctxjobs.register_propagator(Flawed())
    _Flawed.setup_class()
    yield _Flawed()
    _Flawed.teardown_class()
    SHARED.clear()


def test_the_matrix_finds_what_the_next_job_sees(flawed: Any) -> None:
    """A propagator that leaves its value behind fails the test of the next job."""
    flawed.test_enqueue_carries_the_context()
    with pytest.raises(AssertionError):
        flawed.test_enqueue_leaves_nothing()


def test_the_matrix_finds_what_is_not_carried() -> None:
    """State that no propagator carries fails the test of the context."""
    _Forgotten.setup_class()
    try:
        with pytest.raises(AssertionError):
            _Forgotten().test_enqueue_in_carries_the_context()  # type: ignore[attr-defined]  # made at import
    finally:
        _Forgotten.teardown_class()
