"""Who a job runs as, with the real Flask-Login: users who are gone or have changed, nobody, somebody else."""

from __future__ import annotations

import uuid
from typing import Any

import flask
import flask_login
import pytest
from support.extensions_app import User
from support.site import TOKEN, Site, of_user

from ctxjobs import Capture, Override, Snapshot, capture, run_in_context
from ctxjobs.errors import (
    ConfigError,
    JobDroppedError,
    UnencodableValueError,
    UserGoneError,
    UserStaleError,
)
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test is bound."""
    monkeypatch.setattr(registry, "apps", {})


@pytest.fixture
def site() -> Site:
    """An app that makes a user's stamp of the roles, with a user who is logged in."""
    site = Site(roles={"7": ["admin", "editor"], "8": []}, stamped=True)
    site.client.get("/in/7")
    return site


def fails(snapshot: Snapshot) -> Any:
    return run_in_context(snapshot, lambda: pytest.fail("the job ran"))


# --- Changed --------------------------------------------------------------------------------


def test_a_user_who_has_not_changed_is_the_jobs(site: Site) -> None:
    """A set has no order of its own: the same roles are the same stamp."""
    snapshot = site.take()
    site.users["7"].roles = {"editor", "admin"}
    assert of_user(snapshot) == "7"


def test_a_user_who_has_changed_fails_the_job(site: Site) -> None:
    """Who enqueued it as an administrator does not run it after being dismissed."""
    snapshot = site.take()
    site.users["7"].roles.remove("admin")
    with pytest.raises(UserStaleError, match=r"'7'.* has changed since"):
        fails(snapshot)


def test_the_policy_of_the_call_decides_about_a_changed_user(site: Site) -> None:
    """What the job was enqueued with counts, not what the worker's app would say."""
    snapshots = {
        rule: site.take(policy=Capture(stale_user=rule))  # type: ignore[arg-type]  # each of the words
        for rule in ("run", "anonymous", "drop")
    }
    site.users["7"].roles = {"guest"}
    assert [of_user(snapshots[rule]) for rule in ("run", "anonymous")] == ["7", None]
    with pytest.raises(JobDroppedError, match="user '7' has changed"):
        fails(snapshots["drop"])


def test_the_stamp_of_a_user_of_a_token_is_compared(site: Site) -> None:
    """Users whom a request loader finds have one, too."""
    site.client.delete_cookie("session")
    snapshot = site.take(headers=TOKEN)
    assert of_user(snapshot) == "8"
    site.users["8"].roles = {"admin"}
    with pytest.raises(UserStaleError):
        fails(snapshot)


def test_a_stamp_travels_as_a_digest() -> None:
    """A password hash that is part of it does not lie in Redis."""
    site = Site(CTXJOBS_USER_STAMP=lambda user: user.password_hash)
    site.client.get("/in/7")
    snapshot = site.take()
    assert b"SECRET" not in snapshot.to_bytes(100_000)
    site.users["7"].password_hash = "another"
    with pytest.raises(UserStaleError):
        fails(snapshot)


def test_two_users_with_equal_stamps_have_different_digests(site: Site) -> None:
    """Nobody can see in Redis who has the roles of whom."""
    site.users["8"].roles = set(site.users["7"].roles)
    stamps = []
    for user in site.users.values():
        carried: Any = site.take(context=Override(user=user)).propagators["login"]
        stamps.append(carried["stamp"])
    assert stamps[0] != stamps[1]


def test_a_worker_without_the_stamp_function_fails_the_job(site: Site) -> None:
    """Fail closed: what cannot be compared is not taken for unchanged."""
    snapshot = site.take()
    del site.app.config["CTXJOBS_USER_STAMP"]
    with pytest.raises(ConfigError, match=r"CTXJOBS_USER_STAMP.* is not set in this process"):
        fails(snapshot)


def test_a_job_that_was_enqueued_before_there_were_stamps_runs(site: Site) -> None:
    """There is nothing to compare."""
    compute = site.app.config.pop("CTXJOBS_USER_STAMP")
    snapshot = site.take()
    site.app.config["CTXJOBS_USER_STAMP"] = compute
    assert of_user(snapshot) == "7"


def test_a_stamp_that_does_not_encode_fails_the_enqueue(site: Site) -> None:
    """The error names the setting."""
    site.app.config["CTXJOBS_USER_STAMP"] = lambda user: [user]
    with pytest.raises(UnencodableValueError, match=r"^CTXJOBS_USER_STAMP"):
        site.take()


def test_a_stamp_function_is_a_function() -> None:
    """The mistake is told when the app is bound."""
    with pytest.raises(ConfigError, match=r"CTXJOBS_USER_STAMP.*takes a user"):
        Site(CTXJOBS_USER_STAMP="roles")


def test_a_job_of_a_job_compares_with_the_user_of_its_parent(site: Site) -> None:
    """The parent has loaded the user afresh, so its stamp is the newer one."""
    snapshot = site.take(policy=Capture(stale_user="run"))
    site.users["7"].roles = {"guest"}
    assert of_user(run_in_context(snapshot, capture)) == "7"


# --- Gone -----------------------------------------------------------------------------------


def test_the_policy_of_the_call_decides_about_a_user_who_is_gone(site: Site) -> None:
    """Fail closed, if it says nothing."""
    snapshots = {
        rule: site.take(policy=Capture(gone_user=rule))  # type: ignore[arg-type]  # each of the words
        for rule in ("fail", "anonymous", "drop")
    }
    del site.users["7"]
    assert of_user(snapshots["anonymous"]) is None
    with pytest.raises(JobDroppedError, match="user '7' no longer exists"):
        fails(snapshots["drop"])
    with pytest.raises(UserGoneError):
        fails(snapshots["fail"])


# --- Nobody ---------------------------------------------------------------------------------


class Guest(flask_login.AnonymousUserMixin):
    """The anonymous user of an app."""


def test_nobody_is_nobody_in_the_job(site: Site) -> None:
    """Neither the session nor the request loader is asked; the app's own anonymous user is there."""
    site.client.get("/in/7")
    site.app.login_manager.anonymous_user = Guest  # type: ignore[attr-defined]  # Flask-Login puts it there
    site.app.login_manager.session_protection = None  # type: ignore[attr-defined]  # as above

    def log_out() -> None:
        user_id = flask.session["_user_id"]
        flask_login.logout_user()
        flask.session["_user_id"] = user_id  # a session that Flask-Login would believe

    snapshot = site.take(first=log_out, policy=Capture(session=("_user_id",)))
    site.app.login_manager.request_loader(lambda request: pytest.fail("asked"))  # type: ignore[attr-defined]  # as above
    assert snapshot.session == {"_user_id": "7"}
    assert run_in_context(snapshot, lambda: type(flask_login.current_user._get_current_object())) is Guest


# --- Somebody else --------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["id", "user", "proxy"])
def test_a_job_for_somebody_else(site: Site, by: str) -> None:
    """By id, by user object or by a proxy for one; recorded as an override."""
    user = {
        "id": "8",
        "user": site.users["8"],
        "proxy": flask_login.utils.LocalProxy(lambda: site.users["8"]),
    }
    snapshot = site.take(context=Override(user=user[by]))
    assert (site.seen["user"], of_user(snapshot), snapshot.overrides) == ("7", "8", ("user",))


def test_an_id_of_another_type_becomes_what_loaders_get(site: Site) -> None:
    """Flask-Login hands strings to loaders, so a primary key travels as one."""
    key = uuid.uuid4()
    site.users[str(key)] = User(str(key))
    assert of_user(site.take(context=Override(user=7))) == "7"
    assert of_user(site.take(context=Override(user=key))) == str(key)


def test_a_job_for_nobody(site: Site) -> None:
    """``user=None`` is the anonymous user, whoever is logged in."""
    assert of_user(site.take(context=Override(user=None))) is None


def test_the_policy_need_not_list_login(site: Site) -> None:
    """What was said at the call is carried, whatever is captured."""
    assert of_user(site.take(policy=Capture(propagators="none"), context=Override(user="8"))) == "8"


def test_a_user_object_is_stamped_and_an_id_is_not(site: Site) -> None:
    """Who gives an id means whoever has it then."""
    by_object = site.take(context=Override(user=site.users["8"]))
    by_id = site.take(context=Override(user="8"))
    site.users["8"].roles = {"admin"}
    assert of_user(by_id) == "8"
    with pytest.raises(UserStaleError):
        fails(by_object)


@pytest.mark.parametrize("user", [object(), 1.5, flask_login.UserMixin], ids=["object", "float", "class"])
def test_what_is_no_user_fails_the_enqueue(site: Site, user: Any) -> None:
    """Its text would not be an id of anybody."""
    with pytest.raises((ConfigError, TypeError), match=r"user travels by the id|get_id"):
        site.take(context=Override(user=user))


def test_a_job_for_somebody_else_without_a_request_says_how(site: Site) -> None:
    """Flask-Login would give such a job None, so it is told at the enqueue."""
    with site.app.app_context(), pytest.raises(ConfigError, match="request='/'"):
        capture(context=Override(user="8"))


def test_a_command_gives_its_job_a_request_and_a_user(site: Site) -> None:
    """The request is said, not captured, and recorded as such."""
    with site.app.app_context():
        snapshot = capture(context=Override(user="8", request="/", session={"step": 1}))

    def look() -> Any:
        return flask_login.current_user.get_id(), flask.request.path, dict(flask.session)

    assert run_in_context(snapshot, look) == ("8", "/", {"step": 1})
    assert snapshot.overrides == ("request", "user", "session.step")


def test_locale_and_time_zone_of_somebody_else(site: Site) -> None:
    """Each by itself; what was not said stays as captured."""
    french = site.take("/?lang=de&zone=Europe/Vienna", context=Override(locale="fr"))
    in_tokyo = site.take("/?lang=de&zone=Europe/Vienna", context=Override(timezone="Asia/Tokyo"))
    assert french.propagators["babel"] == ["fr", "Europe/Vienna"]
    assert in_tokyo.propagators["babel"] == ["de", "Asia/Tokyo"]


def test_none_leaves_the_locale_to_the_selector(site: Site) -> None:
    """In the job, where it may ask the user of the job."""
    snapshot = site.take("/?lang=de", context=Override(locale=None, timezone=None))
    assert "babel" not in snapshot.propagators


@pytest.mark.parametrize(
    "said", [{"locale": "xx_YY"}, {"locale": ""}, {"timezone": "Mars/North"}, {"timezone": 5}]
)
def test_a_name_that_babel_does_not_know_fails_the_enqueue(site: Site, said: dict[str, Any]) -> None:
    """The error names the argument; the value may be somebody's data."""
    with pytest.raises(ConfigError, match=rf"^Override\({next(iter(said))}=\.\.\.\): Babel knows none"):
        site.take(context=Override(**said))
