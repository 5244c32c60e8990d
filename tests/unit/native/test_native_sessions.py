"""The signed cookie, flashes (R39) and the test client (R37)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.json.tag import TaggedJSONSerializer

from ctxjobs.errors import ContextError
from ctxjobs.native.app import App
from ctxjobs.native.sessions import TaggedJSON

VALUES = {
    "tuple": (1, (2, b"x")),
    "uuid": UUID(int=5),
    "time": datetime(2025, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
    "looks like a tag": {" t": [1]},
    "looks like an escaped tag": {" di": {" t__": 1}},
    "plain": [None, True, 1.5, "ü", {"a": {"b": []}}],
}


def make_app(web: Any, **config: Any) -> Any:
    """An app whose views set and get session["x"]."""
    app = web.app(**config)
    session = web.globals.session
    app.add_url_rule("/set/<x>", "set", lambda x: session.update(x=x) or "")
    app.add_url_rule("/get", "get", lambda: session.get("x", "nothing"))
    app.add_url_rule("/clear", "clear", lambda: session.clear() or "")
    app.add_url_rule("/no", "no", lambda: "")
    app.add_url_rule("/permanent", "permanent", lambda: setattr(session, "permanent", True) or "")
    return app


@pytest.mark.parametrize("name", VALUES)
def test_tagged_json(name: str) -> None:
    """Every kind of value that the cookie holds comes back as it was."""
    assert TaggedJSON.loads(TaggedJSON.dumps(VALUES[name])) == VALUES[name]


def test_tagged_json_is_flasks() -> None:
    """The text in the cookie is the one that Flask writes, without spaces."""
    assert TaggedJSON.dumps(VALUES) == TaggedJSONSerializer().dumps(VALUES)


@pytest.mark.parametrize(("writer", "reader"), [(App, Flask), (Flask, App)], ids=["to Flask", "from Flask"])
def test_cookie_is_flasks(writer: Any, reader: Any) -> None:
    """An app of each kind under one key reads the other's cookie."""
    apps = [make("shop") for make in (writer, reader)]
    serializers = []
    for app in apps:
        app.secret_key = "k"
        serializers.append(app.session_interface.get_signing_serializer(app))
    assert serializers[1].loads(serializers[0].dumps(VALUES)) == VALUES


def test_session_lives_in_the_cookie(web: Any) -> None:
    """What one request writes, the next one reads."""
    client = make_app(web).test_client()
    client.get("/set/1")
    assert client.get("/get").text == "1"


@pytest.mark.parametrize(("path", "varies"), [("/no", False), ("/get", True), ("/set/1", True)])
def test_vary(web: Any, path: str, varies: bool) -> None:
    """R24: the response varies by cookie once the session was looked at."""
    response = make_app(web).test_client().get(path)
    assert ("Cookie" in response.vary) is varies


@pytest.mark.parametrize("path", ["/set/1", "/permanent"])
def test_cookie_options(web: Any, path: str) -> None:
    """The cookie is written with the SESSION_COOKIE_* options, and a lifetime only if permanent."""
    app = make_app(
        web,
        SESSION_COOKIE_NAME="s",
        SESSION_COOKIE_DOMAIN="localhost.test",
        SESSION_COOKIE_PATH="/p",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )
    header = app.test_client().get(path).headers["Set-Cookie"]
    parts = {part.split("=")[0] for part in header.split("; ")}
    options = {"s", "Domain", "Path", "Secure", "HttpOnly", "SameSite"}
    assert parts == options | ({"Expires"} if path == "/permanent" else set())


@pytest.mark.skipif(version("werkzeug").startswith("3.0."), reason="Werkzeug knows it from 3.1 on")
def test_partitioned_cookie(web: Any) -> None:
    """SESSION_COOKIE_PARTITIONED makes a partitioned cookie."""
    app = make_app(web, SESSION_COOKIE_PARTITIONED=True, SESSION_COOKIE_SECURE=True)
    assert "Partitioned" in app.test_client().get("/set/1").headers["Set-Cookie"].split("; ")


def test_cookie_expires_with_the_session(web: Any) -> None:
    """The cookie of a permanent session expires when its lifetime is over."""
    app = make_app(web)
    app.permanent_session_lifetime = timedelta(hours=5)
    client = app.test_client()
    client.get("/permanent")
    cookie = client.get_cookie("session")
    left = cookie.expires - datetime.now(timezone.utc)
    assert timedelta(hours=4, minutes=59) < left <= timedelta(hours=5)


@pytest.mark.parametrize("emptied", [True, False])
def test_vary_by_what_is_written(web: Any, emptied: bool) -> None:
    """R24: a cookie that is written or deleted makes the response vary, if nobody looked at it too."""
    app, response = make_app(web), web.Response()
    session = app.session_interface.session_class({"x": 1})
    if emptied:
        session.clear()
    session.modified, session.accessed = True, False
    with app.test_request_context():
        app.session_interface.save_session(app, session, response)
    assert ("Set-Cookie" in response.headers, response.headers["Vary"]) == (True, "Cookie")


def test_emptied_session_deletes_the_cookie(web: Any) -> None:
    """An emptied session deletes the cookie."""
    client = make_app(web).test_client()
    client.get("/set/1")
    client.get("/clear")
    assert client.get_cookie("session") is None


@pytest.mark.parametrize(("refresh", "writes"), [(True, True), (False, False)])
def test_refresh(web: Any, refresh: bool, writes: bool) -> None:
    """A permanent session is written at every request, if SESSION_REFRESH_EACH_REQUEST says so."""
    client = make_app(web, SESSION_REFRESH_EACH_REQUEST=refresh).test_client()
    client.get("/permanent")
    assert ("Set-Cookie" in client.get("/no").headers) is writes


def test_key_rotation(web: Any) -> None:
    """A cookie signed with a fallback key is read; with an unknown key it is an empty session."""
    app = make_app(web)
    client = app.test_client()
    client.get("/set/1")
    app.config.update(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["k"])
    assert client.get("/get").text == "1"
    app.config["SECRET_KEY_FALLBACKS"] = None
    assert client.get("/get").text == "nothing"


def test_lifetime(web: Any) -> None:
    """The lifetime may be a number of seconds; an older cookie is an empty session."""
    app = make_app(web)
    client = app.test_client()
    client.get("/set/1")
    app.permanent_session_lifetime = -1
    assert app.permanent_session_lifetime == timedelta(seconds=-1)
    assert client.get("/get").text == "nothing"


def test_flashes(web: Any) -> None:
    """R39: flashed messages are in the session, are taken out once, and kept for the request."""
    app, seen = web.app(), []
    flash, get = web.helpers.flash, web.helpers.get_flashed_messages

    def receiver(sender: Any, message: str, category: str) -> None:
        seen.append((sender is app, message, category))

    web.signals.message_flashed.connect(receiver, app)
    app.add_url_rule("/flash", "flash", lambda: flash("a") or flash("b", "error") or "")
    app.add_url_rule("/get", "get", lambda: [get(), get(True), get(category_filter=["error"])])
    client = app.test_client()
    client.get("/flash")
    assert client.get("/get").json == [["a", "b"], [["message", "a"], ["error", "b"]], ["b"]]
    assert client.get("/get").json == [[], [], []]
    assert seen == [(True, "a", "message"), (True, "b", "error")]


def test_client_has_address_and_agent(web: Any) -> None:
    """R16: the test client sends an address and a User-Agent, which a request may override."""
    app = web.app()
    request = web.globals.request
    app.add_url_rule("/", "a", lambda: [request.remote_addr, request.user_agent.string])
    client = app.test_client()
    assert client.get("/").json[0] == "127.0.0.1"
    assert client.get("/").json[1].startswith("Werkzeug/3.")
    assert client.get("/", headers={"User-Agent": "x"}).json[1] == "x"


def test_with_client_preserves(web: Any) -> None:
    """R37: inside of the block the request is active after it; teardown runs then and when it is dropped."""
    app = make_app(web)
    torn_down: list[Any] = []
    app.teardown_request(torn_down.append)
    app.teardown_appcontext(torn_down.append)
    app.before_request(lambda: setattr(web.globals.g, "x", 1))
    with app.test_client() as client:
        client.get("/set/1")
        assert web.globals.g.x == 1
        assert (web.globals.request.path, web.globals.session["x"], len(torn_down)) == ("/set/1", "1", 2)
        client.get("/get")
        assert (web.globals.request.path, len(torn_down)) == ("/get", 6)
    assert (web.active(), len(torn_down)) == ((None, None), 8)


def test_without_with_nothing_is_preserved(web: Any) -> None:
    """R37: without the block nothing is active after a request."""
    make_app(web).test_client().get("/no")
    assert web.active() == (None, None)


def test_nothing_is_preserved_after_the_block(web: Any) -> None:
    """R37: after its block a client is one without a block again."""
    client = make_app(web).test_client()
    with client:
        pass
    client.get("/no")
    assert web.active() == (None, None)


@pytest.mark.parametrize("buffered", [True, False])
def test_client_buffers_if_asked(web: Any, buffered: bool) -> None:
    """R37: a client reads a stream before it returns if it is asked to, else as it is read."""
    app, log = web.app(), []

    def generate() -> Any:
        yield "a"
        log.append("read")

    app.add_url_rule("/a", "a", generate)
    response = app.test_client().get("/a", buffered=buffered)
    read_before = len(log)
    assert (read_before, response.text, len(log)) == (int(buffered), "a", 1)


def test_client_arguments(web: Any) -> None:
    """R37: a client has the app's kind of responses, and takes what Werkzeug's client takes."""
    app = make_app(web)
    app.response_class = type("Mine", (web.Response,), {})
    client = app.test_client(allow_subdomain_redirects=True)
    assert client.allow_subdomain_redirects is True
    assert isinstance(client.get("/no"), app.response_class)


def test_clients_do_not_nest(web: Any) -> None:
    """R37: a client's block inside of its block is a RuntimeError."""
    client = web.app().test_client()
    with client, pytest.raises(RuntimeError, match="Cannot nest client invocations"):
        client.__enter__()


def test_client_follows_redirects(web: Any) -> None:
    """R37: a redirect is followed, and the last request's contexts are the ones that are active."""
    app = web.app()
    app.add_url_rule("/folder/", "folder", lambda: web.globals.request.remote_addr)
    with app.test_client() as client:
        assert client.get("/folder", follow_redirects=True).text == "127.0.0.1"
        assert web.globals.request.path == "/folder/"
    assert web.active() == (None, None)


def test_session_transaction(web: Any) -> None:
    """A transaction opens the client's session and stores what was changed."""
    client = make_app(web).test_client()
    with client.session_transaction() as session:
        session["x"] = "2"
    assert client.get("/get").text == "2"
    client.get("/set/3")
    with client.session_transaction() as session:
        assert session["x"] == "3"


def test_session_transaction_without_a_key(web: Any) -> None:
    """A transaction of an app without a secret key is a RuntimeError."""
    client = web.App("shop").test_client()
    with pytest.raises(RuntimeError), client.session_transaction():
        pass


def test_session_transaction_without_cookies(native: Any) -> None:
    """A transaction of a client without cookies says how to have them."""
    client = native.app().test_client(use_cookies=False)
    with pytest.raises(ContextError, match="use_cookies=True"), client.session_transaction():
        pass


def test_custom_interface_may_open_nothing(native: Any) -> None:
    """R23: an interface that opens nothing makes a null session, which is not saved."""

    asked = []

    class Interface(native.sessions.SessionInterface):
        def open_session(self, app: Any, request: Any) -> None:
            return None

        def make_null_session(self, app: Any) -> Any:
            asked.append(app)
            return super().make_null_session(app)

    app = make_app(native)
    app.session_interface = Interface()
    assert (app.test_client().get("/get").text, asked) == ("nothing", [app])


def test_interface_has_to_be_complete(web: Any) -> None:
    """R23: an interface must say how to open and how to save."""
    interface = web.sessions.SessionInterface()
    with pytest.raises(NotImplementedError):
        interface.open_session(None, None)
    with pytest.raises(NotImplementedError):
        interface.save_session(None, None, None)
