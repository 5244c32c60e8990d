"""The propagators that ctxjobs brings, with the real libraries, from a view to a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import flask
import flask_babel
import flask_login
import pytest
import structlog
from support.extensions_app import look, tenant
from support.site import TOKEN, Site, of_user

from ctxjobs import Capture, capture, run_in_context
from ctxjobs.errors import ConfigError, PropagatorMissingError, UserGoneError
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No app of another test is bound, and nothing of these tests stays bound."""
    monkeypatch.setattr(registry, "apps", {})
    token = tenant.set("acme")
    yield
    tenant.reset(token)
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def site() -> Site:
    return Site()


# --- Together -------------------------------------------------------------------------------


def test_a_job_sees_what_the_view_saw(site: Site) -> None:
    """User, locale, time zone, bound log values and context variable, all at once."""
    site.client.get("/in/7")
    snapshot = site.take(
        "/?lang=de&zone=Europe/Vienna", first=lambda: structlog.contextvars.bind_contextvars(order=42)
    )
    structlog.contextvars.clear_contextvars()
    assert run_in_context(snapshot, look) == site.seen
    assert site.seen == {
        "user": "7",
        "locale": "de",
        "zone": "Europe/Vienna",
        "bound": {"order": 42},
        "tenant": "acme",
    }


def test_nothing_is_visible_in_the_next_job(site: Site) -> None:
    """A job of an anonymous request, after one with everything, in the same process."""
    anonymous = site.take(policy=Capture(propagators="none"))
    site.client.get("/in/7")
    full = site.take("/?lang=de", first=lambda: structlog.contextvars.bind_contextvars(order=42))
    structlog.contextvars.clear_contextvars()
    before = run_in_context(anonymous, look)
    run_in_context(full, look)
    assert run_in_context(anonymous, look) == before
    assert (before["user"], before["bound"]) == (None, {})


def test_only_names_and_ids_travel(site: Site) -> None:
    """The bytes that go to Redis hold no token, no cookie and no attribute of the user."""
    snapshot = site.take(headers=TOKEN)
    assert site.seen["user"] == "8"
    assert b"SECRET" not in snapshot.to_bytes(100_000)
    assert snapshot.propagators["login"] == {"id": "8"}


def test_an_app_without_the_extensions_carries_nothing() -> None:
    """Loaded libraries are not enough: an app that has not set them up has no user and no locale."""
    app = flask.Flask("plain")
    app.config["SECRET_KEY"] = "k"
    registry.bind(app)
    with app.test_request_context("/"):
        assert not {"login", "babel"} & set(capture().propagators)


def test_teardown_runs_once_and_still_sees_user_and_locale(site: Site) -> None:
    """What lives on g goes with g, after the teardown functions."""
    seen: list[Any] = []
    site.app.teardown_request(lambda exc: seen.append((look()["user"], look()["locale"])))
    site.client.get("/in/7")
    snapshot = site.take("/?lang=de")
    seen.clear()
    run_in_context(snapshot, int)
    assert seen == [("7", "de")]


# --- Flask-Login ----------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [("Host", "User-Agent"), ()], ids=["carried", "dropped"])
@pytest.mark.parametrize("protection", ["strong", "basic", None])
def test_the_user_travels_under_every_protection(protection: Any, headers: tuple[str, ...]) -> None:
    """Also where the job's request has another browser than the one that logged in."""
    site = Site(SESSION_PROTECTION=protection)
    site.client.get("/in/7")
    assert of_user(site.take(policy=Capture(headers=headers))) == "7"


def test_a_session_that_its_protection_rejects_is_anonymous_in_the_job(site: Site) -> None:
    """A stolen cookie gets no user into the worker that it would not get in the view."""
    site.client.get("/in/7")
    snapshot = site.take(headers={"User-Agent": "thief"})
    assert (site.seen["user"], snapshot.propagators["login"], of_user(snapshot)) == (None, {}, None)


def test_the_user_of_a_token_travels(site: Site) -> None:
    """By id; the token stays behind, and the request loader is not asked in the job."""
    assert of_user(site.take(headers=TOKEN)) == "8"


def test_the_user_is_loaded_afresh(site: Site) -> None:
    """The job sees the user as the database has it then."""
    site.client.get("/in/7")
    snapshot = site.take()
    newer = type(site.app.extensions["tests.users"]["7"])("7")
    site.app.extensions["tests.users"]["7"] = newer
    assert run_in_context(snapshot, lambda: flask_login.current_user._get_current_object()) is newer


def test_a_user_who_is_gone_fails_the_job(site: Site) -> None:
    """Fail closed: never as an anonymous user, nor as the one of before."""
    site.client.get("/in/7")
    snapshot = site.take()
    del site.app.extensions["tests.users"]["7"]
    with pytest.raises(UserGoneError, match="'7'"):
        run_in_context(snapshot, lambda: pytest.fail("the job ran"))


def test_a_worker_without_a_login_manager_refuses(site: Site) -> None:
    """The job does not run without its user."""
    site.client.get("/in/7")
    snapshot = site.take()
    del site.app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    with pytest.raises(PropagatorMissingError, match="'login'"):
        run_in_context(snapshot, lambda: pytest.fail("the job ran"))


def test_a_user_whom_no_worker_could_load_fails_the_enqueue(site: Site) -> None:
    """Without a user loader there is no way from the id to the user."""
    site.app.login_manager._user_callback = None  # type: ignore[attr-defined]  # as above
    with pytest.raises(ConfigError, match="user_loader"):
        site.take(headers=TOKEN)


def test_an_app_context_alone_has_no_user(site: Site) -> None:
    """Flask-Login knows none there; capture does not stumble over it."""
    with site.app.app_context():
        assert "login" not in capture().propagators


# --- Flask-Babel ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "locale", "zone"),
    [
        ("lang=zh_Hant_TW&zone=America/Sao_Paulo", "zh_Hant_TW", "America/Sao_Paulo"),
        ("", "en", "UTC"),
    ],
)
@pytest.mark.parametrize("request_too", [True, False])
def test_locale_and_time_zone_travel(
    site: Site, query: str, locale: str, zone: str, request_too: bool
) -> None:
    """Their selectors are not asked again, so they need no request in the job."""
    snapshot = site.take(f"/?{query}", policy=Capture(request=request_too))
    site.app.extensions["babel"].locale_selector = pytest.fail
    site.app.extensions["babel"].timezone_selector = pytest.fail

    def names() -> tuple[str, str]:
        return str(flask_babel.get_locale()), str(flask_babel.get_timezone())

    assert run_in_context(snapshot, names) == (locale, zone)


def test_a_forced_locale_travels_without_a_request(site: Site) -> None:
    """A command that forces a locale gets jobs in that locale, though the selector needs a request."""
    with site.app.app_context(), flask_babel.force_locale("fr"):
        snapshot = capture()
    assert run_in_context(snapshot, lambda: str(flask_babel.get_locale())) == "fr"


def test_a_selector_that_needs_a_request_is_not_asked_without_one(site: Site) -> None:
    """A job can be enqueued from a command."""
    with site.app.app_context():
        assert "babel" not in capture().propagators


@pytest.mark.parametrize("lang", ["de", "en"])
def test_dates_are_formatted_as_in_the_view(site: Site, lang: str) -> None:
    """What the locale is for."""
    formatted: list[str] = []

    def text() -> str:
        return flask_babel.format_date(date(2024, 3, 1), "MMMM")

    snapshot = site.take(f"/?lang={lang}", first=lambda: formatted.append(text()))
    assert [run_in_context(snapshot, text)] == formatted


# --- structlog ------------------------------------------------------------------------------


def test_bound_values_that_do_not_encode_stay_behind(site: Site) -> None:
    """A log value never keeps a job from being enqueued."""

    def bind() -> None:
        structlog.contextvars.bind_contextvars(order=42, connection=object())

    assert site.take(first=bind).propagators["structlog"] == {"order": 42}


def test_the_worker_keeps_what_it_has_bound_itself(site: Site) -> None:
    """The job's values come on top, and go with the job."""
    snapshot = site.take(first=lambda: structlog.contextvars.bind_contextvars(order=42))
    structlog.contextvars.clear_contextvars()
    bound: Callable[[], Any] = structlog.contextvars.get_contextvars
    with structlog.contextvars.bound_contextvars(child=3):
        assert run_in_context(snapshot, bound) == {"order": 42, "child": 3}
        assert bound() == {"child": 3}
