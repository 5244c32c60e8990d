"""What is done with the state of a propagator, by what enqueues the job: propagate, clear, inherit."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import flask
import flask_babel
import flask_login
import pytest
import structlog
from msgspec.structs import replace
from support.both_hosts import Web
from support.site import Site, of_user

from ctxjobs import Capture, Override, Snapshot, capture, register_propagator, restore, run_in_context
from ctxjobs.errors import ConfigError, ContextError, PropagatorMissingError
from ctxjobs.hosts import context_vars
from ctxjobs.propagation import run_job
from ctxjobs.propagators import ContextVarPropagator, base
from ctxjobs.registry import registry
from ctxjobs.triggers import triggered_by

region: ContextVar[Any] = ContextVar("region")
CLEAR: Any = {"code": "clear"}
INHERIT: Any = {"job": "inherit", "code": "inherit"}


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No app of another test, a propagator of this file's, and a variable that this process has set."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setattr(base, "_propagators", dict(base._propagators))
    register_propagator(ContextVarPropagator("region", region))
    token = region.set("of the worker")
    yield
    region.reset(token)
    structlog.contextvars.clear_contextvars()


@dataclass
class Job:
    """A job that runs, as far as contexts need it."""

    snapshot: Snapshot | None
    id: str = "j1"


def take(app: Any, **triggers: Any) -> Snapshot:
    with app.app_context():
        return capture(Capture(triggers=triggers))


def in_job(snapshot: Snapshot, call: Any) -> Any:
    return run_job(Job(snapshot), snapshot, call)


# --- Clear ----------------------------------------------------------------------------------


def test_a_cleared_context_variable_is_not_set_in_the_job(web: Web) -> None:
    """Though the worker's process has set it; afterwards it has its value there."""
    snapshot = take(web.app(), region=CLEAR)
    assert (snapshot.cleared, "region" in snapshot.propagators) == (("region",), False)
    assert run_in_context(snapshot, lambda: region.get("not set")) == "not set"
    assert region.get() == "of the worker"


def test_a_cleared_context_variable_cannot_be_cleared_in_a_block(web: Web) -> None:
    """Python cannot unset it there; the error says what to use."""
    snapshot = take(web.app(), region=CLEAR)
    with pytest.raises(ContextError, match=r"run_in_context\(\.\.\.\)"), restore(snapshot):
        pytest.fail("the block ran")
    assert [one for one in context_vars() if one.get(None) is not None] == []


def test_cleared_log_values_are_gone_in_the_job_and_back_after_it(site: Site) -> None:
    """What the worker's process has bound does not show in the job's log lines."""
    structlog.contextvars.bind_contextvars(child=3)
    snapshot = take(site.app, structlog=CLEAR)
    with restore(snapshot):
        structlog.contextvars.bind_contextvars(order=42)
        assert structlog.contextvars.get_contextvars() == {"order": 42}
    assert structlog.contextvars.get_contextvars() == {"child": 3}


def test_a_cleared_user_is_the_anonymous_one(site: Site) -> None:
    """Whoever is logged in, and whatever session travels."""
    site.client.get("/in/7")
    policy = Capture(triggers={"login": {"request": "clear"}}, session=("_user_id", "_id"))
    snapshot = site.take(policy=policy)
    assert (site.seen["user"], of_user(snapshot)) == ("7", None)


def test_a_cleared_locale_is_the_default_of_the_app(site: Site) -> None:
    """The selectors are not asked."""
    snapshot = site.take("/?lang=de&zone=Asia/Tokyo", Capture(triggers={"babel": {"request": "clear"}}))

    def names() -> tuple[str, str]:
        return str(flask_babel.get_locale()), str(flask_babel.get_timezone())

    assert run_in_context(snapshot, names) == ("en", "UTC")


def test_only_the_trigger_that_is_named_clears(web: Web) -> None:
    """For all others, it is as if nothing were said."""
    app = web.app()
    with app.app_context(), triggered_by("cli"):
        assert capture(Capture(triggers={"region": {"cron": "clear"}})).propagators["region"]


def test_what_is_cleared_can_still_be_said(site: Site) -> None:
    """An override wins over the rule."""
    policy = Capture(triggers={"login": {"request": "clear"}})
    snapshot = site.take(policy=policy, context=Override(user="8"))
    assert (of_user(snapshot), snapshot.cleared) == ("8", ())


def test_what_is_cleared_is_not_filled_from_the_system_context(web: Web) -> None:
    """The policy said that there shall be none."""
    app = web.app(CTXJOBS_SYSTEM_CONTEXT=Override(region="everywhere"))
    with app.app_context(), triggered_by("cron"):
        snapshot = capture(Capture(triggers={"region": {"cron": "clear"}}))
    assert run_in_context(snapshot, lambda: region.get("not set")) == "not set"


def test_state_is_cleared_that_only_the_worker_has(web: Web) -> None:
    """A library that the enqueuing process has not loaded is cleared in the worker all the same."""
    propagator = Flags(used=False)
    register_propagator(propagator)
    snapshot = take(web.app(), flags=CLEAR)
    propagator.used = True
    run_in_context(snapshot, int)
    assert propagator.events == ["clear"]


def test_a_worker_that_cannot_clear_fails_the_job(web: Web) -> None:
    """Fail closed, with the name of the propagator."""
    snapshot = replace(take(web.app()), cleared=("nobody",))
    with pytest.raises(PropagatorMissingError, match=r"'nobody'.*can be cleared"):
        run_in_context(snapshot, lambda: pytest.fail("the job ran"))


# --- Inherit --------------------------------------------------------------------------------


def test_inherit_hands_on_what_the_job_was_given(web: Web) -> None:
    """Byte for byte, though the job has changed it since; without the rule, the change travels."""
    parent = take(web.app())

    def change_and_capture() -> Any:
        region.set("changed")
        rules = (INHERIT, {})
        return [capture(Capture(triggers={"region": rule})).propagators["region"] for rule in rules]

    assert in_job(parent, change_and_capture) == [parent.propagators["region"], ["changed"]]


def test_inherit_hands_on_that_there_shall_be_none(web: Web) -> None:
    """A job that runs with none hands on that, too."""
    parent = take(web.app(), region=CLEAR)
    child = in_job(parent, lambda: capture(Capture(triggers={"region": INHERIT})))
    assert child.cleared == ("region",)


def test_inherit_takes_none_where_no_job_enqueues(web: Web) -> None:
    """The job sees what its process has."""
    snapshot = take(web.app(), region=INHERIT)
    assert ("region" in snapshot.propagators, snapshot.cleared) == (False, ())
    assert run_in_context(snapshot, region.get) == "of the worker"


def test_inherit_takes_none_from_a_job_of_another_app(web: Web) -> None:
    """User 7 of one app is another person than user 7 of the other."""
    parent, other = take(web.app("shop")), web.app("admin")

    def capture_for_the_other() -> Snapshot:
        with other.app_context():
            return capture(Capture(triggers={"region": INHERIT}))

    assert "region" not in in_job(parent, capture_for_the_other).propagators


def test_inherited_users_keep_their_first_stamp() -> None:
    """A user who changes between the first job and the last one fails the last one, too."""
    site = Site(roles={"7": ["admin"]}, stamped=True)
    site.client.get("/in/7")
    policy = Capture(triggers={"login": {"job": "inherit"}})
    parent = site.take(policy=policy)

    def dismiss_and_capture() -> Snapshot:
        flask_login.current_user.roles.clear()
        return capture(policy)

    child = in_job(parent, dismiss_and_capture)
    assert child.propagators["login"] == parent.propagators["login"]


# --- Rules ----------------------------------------------------------------------------------


@dataclass
class Plain:
    """A propagator that supports nothing optional."""

    name: str = "flags"
    essential: bool = False
    used: bool = True
    events: list[str] = field(default_factory=list)

    def wanted(self, host: Any) -> bool:
        return self.used

    def capture(self, active: Any) -> Any:
        return 1

    def restore(self, value: Any, active: Any) -> None:
        self.events.append("restore")


@dataclass
class Flags(Plain):
    """A propagator with rules of its own."""

    on_trigger: Any = field(default_factory=lambda: {"cron": "clear", "cli": "inherit"})

    def clear(self, active: Any) -> None:
        self.events.append("clear")


@pytest.mark.parametrize(
    ("rules", "expected"), [({}, ("flags",)), ({"cron": "propagate"}, ()), ({"cli": "clear"}, ("flags",))]
)
def test_a_propagator_has_rules_of_its_own(web: Web, rules: Any, expected: tuple[str, ...]) -> None:
    """Those of a policy win, trigger by trigger."""
    register_propagator(Flags())
    with web.app().app_context(), triggered_by("cron"):
        assert capture(Capture(triggers={"flags": rules})).cleared == expected


def test_rules_of_a_propagator_are_checked_when_it_is_registered() -> None:
    """A word that is no rule is told at once."""
    flags = Flags()
    flags.on_trigger = {"cron": "forget"}
    with pytest.raises(ConfigError, match=r"^flags\.on_trigger: 'forget' is unknown; use propagate, clear"):
        register_propagator(flags)


@pytest.mark.parametrize(
    ("triggers", "expected"),
    [
        ({"login": {"boot": "clear"}}, "'boot' is unknown; use request, job, cli, cron, code"),
        ({"login": {"cli": "forget"}}, "'forget' is unknown"),
        ({"login": "clear"}, "expected a mapping such as"),
        ("clear", "expected a dict by names of propagators, got str"),
    ],
)
def test_rules_of_a_policy_are_checked_at_its_construction(triggers: Any, expected: str) -> None:
    """The error says where, and what there is."""
    with pytest.raises(ConfigError, match=expected):
        Capture(triggers=triggers)


def test_a_rule_for_a_propagator_that_is_not_there_fails_the_enqueue(web: Web) -> None:
    """A name with a typing error clears nothing."""
    with pytest.raises(ConfigError, match="'logn' is not registered"):
        take(web.app(), logn=CLEAR)


def test_a_propagator_that_cannot_be_cleared_fails_the_enqueue(web: Web) -> None:
    """Nothing would take away what the worker has."""
    register_propagator(Plain())
    with pytest.raises(ConfigError, match="'flags' has no clear"):
        take(web.app(), flags=CLEAR)


def test_a_declared_trigger_ends_with_its_block(web: Web) -> None:
    """And a job that enqueues is a job, whatever was declared around it."""
    with web.app().app_context():
        with triggered_by("cron"):
            assert capture().trigger == "cron"
            parent = capture()
            assert in_job(parent, lambda: capture().trigger) == "job"
        assert capture().trigger == "code"


def test_a_plain_flask_app_has_no_user_to_clear() -> None:
    """What is cleared and not there is no error."""
    app = flask.Flask("plain")
    app.config["SECRET_KEY"] = "k"
    registry.bind(app)
    assert run_in_context(take(app, login=CLEAR), lambda: "ran") == "ran"
