"""Sessions of Flask apps in jobs: the signed cookie, Flask-Session, and interfaces of one's own."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import flask
import pytest
from cachelib import FileSystemCache
from flask.sessions import NullSession, SecureCookieSession, SessionInterface
from flask_session import Session
from support.capturing import Recorder, bind
from werkzeug.test import Client

from ctxjobs import run_in_context


def sign_in() -> str:
    flask.session.update(user=42, cart=["tea"])
    return "signed in"


def shop(view: Recorder, **config: Any) -> flask.Flask:
    app: flask.Flask = bind(flask.Flask("shop"), **config)
    app.add_url_rule("/in", view_func=sign_in)
    app.add_url_rule("/out", "out", lambda: flask.session.clear() or "out")
    app.add_url_rule("/", "home", view)
    return app


def signed_in(app: flask.Flask) -> Client:
    client = Client(app)
    assert client.get("/in").status_code == 200
    return client


def test_signed_cookie(view: Recorder) -> None:
    """The job sees the keys of the session that the policy names."""
    signed_in(shop(view)).get("/")
    assert view.seen["session"] == {"user": 42, "cart": ["tea"]}
    assert view.job() == view.seen


def test_capture_does_not_touch_the_response(view: Recorder) -> None:
    """A view that captures and does not use the session sets no cookie and no Vary header (R24)."""
    view.look = lambda: None
    response = signed_in(shop(view)).get("/")
    assert view.snapshot.session == {"user": 42, "cart": ["tea"]}
    assert "Vary" not in response.headers
    assert "Set-Cookie" not in response.headers


def test_the_cookie_stays_behind(view: Recorder) -> None:
    """The cookie is in no snapshot, and the job's request has none."""
    client = signed_in(shop(view))
    view.look = lambda: dict(flask.request.cookies)
    client.get("/")
    assert list(view.seen) == ["session"]
    assert view.job() == {}


def test_a_write_is_lost_and_said(view: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """What a job writes to the session is saved nowhere, and the log says so."""
    client = signed_in(shop(view))
    client.get("/")
    with caplog.at_level(logging.WARNING, logger="ctxjobs"):
        run_in_context(view.snapshot, lambda: flask.session.update(user=7))
    assert "it changed the session" in caplog.text
    client.get("/")
    assert view.seen["session"]["user"] == 42


def test_flask_session(view: Recorder, tmp_path: Path) -> None:
    """With Flask-Session the job sees the session as it was captured, of Flask-Session's own class."""
    app = shop(view, SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path)))
    Session(app)
    client = signed_in(app)
    client.get("/")
    assert view.seen["session"] == {"user": 42, "cart": ["tea"]}
    client.get("/out")
    assert view.job() == view.seen
    made_in_job = run_in_context(view.snapshot, lambda: type(flask.session._get_current_object()))
    assert issubclass(made_in_job, app.session_interface.session_class)


def test_flask_session_is_not_read_by_the_job(view: Recorder, tmp_path: Path) -> None:
    """With Flask-Session a job works without the store, and leaves it as it is."""
    app = shop(view, SESSION_TYPE="cachelib", SESSION_CACHELIB=FileSystemCache(str(tmp_path)))
    Session(app)
    signed_in(app).get("/")
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    app.session_interface.client = app.session_interface.cache = None
    run_in_context(view.snapshot, lambda: flask.session.update(user=7))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_an_interface_without_a_session_class(view: Recorder) -> None:
    """An interface that names no session class gets Flask's own, with the captured keys."""

    class Interface(SessionInterface):
        def open_session(self, app: Any, request: Any) -> Any:
            return SecureCookieSession({"user": 42})

        def save_session(self, app: Any, session: Any, response: Any) -> None:
            raise AssertionError("only a response saves a session")

    app = shop(view)
    app.session_interface = Interface()
    with app.test_request_context("/"):
        view()
    assert view.job() == view.seen


def test_an_interface_with_a_null_session_of_its_own(view: Recorder) -> None:
    """The interface says what a null session is; it is not captured."""

    class Nothing(SecureCookieSession):
        pass

    class Interface(SessionInterface):
        null_session_class = Nothing  # type: ignore[assignment]  # any class will do

        def open_session(self, app: Any, request: Any) -> None:
            return None

    app = shop(view)
    app.session_interface = Interface()
    with app.test_request_context("/"):
        view()
    assert view.snapshot.session is None
    assert run_in_context(view.snapshot, lambda: type(flask.session._get_current_object())) is Nothing


def test_no_key_no_session(view: Recorder) -> None:
    """An app without a key for sessions enqueues; a job that writes to its session fails (R23)."""
    app = shop(view, SECRET_KEY=None, CTXJOBS_SECRET_KEY="k" * 32)
    Client(app).get("/")
    assert view.snapshot.session is None
    assert run_in_context(view.snapshot, lambda: isinstance(flask.session._get_current_object(), NullSession))
    with pytest.raises(RuntimeError, match="no secret key"):
        run_in_context(view.snapshot, lambda: flask.session.update(user=7))
