"""``Override`` and the system context: what is said wins over what is there; on both hosts."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import click
import pytest
from support.both_hosts import Web

from ctxjobs import Capture, CtxJobs, Override, Snapshot, capture, register_propagator, run_in_context
from ctxjobs.errors import ConfigError, SnapshotTooLargeError, UnencodableValueError
from ctxjobs.propagators import ContextVarPropagator, base
from ctxjobs.registry import registry
from ctxjobs.triggers import triggered_by

tenant: ContextVar[Any] = ContextVar("tenant")


@pytest.fixture(autouse=True)
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test, and one propagator that takes an override."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setattr(base, "_propagators", {})
    register_propagator(ContextVarPropagator("tenant", tenant))


def take(web: Web, context: Override | None, policy: Capture | None = None, **on_g: Any) -> Snapshot:
    """What is captured in a request."""
    with web.app().test_request_context("/"):
        web.module.session["cart"] = [1]
        for name, value in on_g.items():
            setattr(web.g, name, value)
        return capture(policy, context=context)


# --- Override -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["g", "session"])
def test_a_hidden_value_that_does_not_encode_stays_hidden(web: Web, kind: Any) -> None:
    """The error names the name, and no key of the value."""
    said = Override(**{kind: {"token": {"SECRET": object()}}})
    with pytest.raises(UnencodableValueError, match="token") as caught:
        take(web, said, Capture(hidden=(f"{kind}.token",)))
    assert "SECRET" not in str(caught.value)


def test_a_value_that_was_said_wins(web: Web) -> None:
    """On g, in the session and in a context variable; all else is as captured."""
    said = Override(g={"plan": "free"}, session={"step": 2}, tenant="acme")
    snapshot = take(web, said, Capture(session=("cart",)), plan="paid", page=3)

    def look() -> Any:
        return web.g.plan, web.g.page, dict(web.module.session), tenant.get()

    assert run_in_context(snapshot, look) == ("free", 3, {"cart": [1], "step": 2}, "acme")


def test_what_was_said_is_recorded(web: Web) -> None:
    """By its paths, which the envelope signs; never by its values."""
    said = Override(g={"plan": "free"}, session={"step": 2}, tenant="acme")
    assert take(web, said).overrides == ("tenant", "g.plan", "session.step")
    assert repr(said) == "Override(tenant, g.plan, session.step)"


def test_what_was_said_is_there_where_the_policy_lists_nothing(web: Web) -> None:
    """And it is no longer among what was left out or skipped."""
    snapshot = take(
        web,
        Override(g={"_secret": 1, "db": 2}, session={"cart": [2]}),
        Capture(propagators="none"),
        _secret=7,
        _other=8,
        db=object(),
    )
    assert (snapshot.g, snapshot.session) == ({"_secret": 1, "db": 2}, {"cart": [2]})
    assert (snapshot.left_out.get("g"), "session" in snapshot.left_out) == (("_other",), False)
    assert dict(snapshot.skipped) == {}


def test_a_context_variable_can_be_none(web: Web) -> None:
    """None is a value like any other."""
    assert run_in_context(take(web, Override(tenant=None)), tenant.get) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"g": {"csrf_token": "x"}}, "'csrf_token' never travels"),
        ({"session": {"_csrf_token": "x"}}, "'_csrf_token' never travels"),
        ({"g": "tenant"}, "expected a dict with names as keys, got str"),
        ({"g": {1: 2}}, "expected a dict with names as keys"),
        ({"request": 1}, "expected a path"),
    ],
)
def test_an_override_of_the_wrong_shape_is_refused(given: dict[str, Any], expected: str) -> None:
    """At its construction, with the argument."""
    with pytest.raises(ConfigError, match=expected) as caught:
        Override(**given)
    assert caught.value.key == f"Override({next(iter(given))}=...)"


def test_an_override_cannot_be_changed_from_outside() -> None:
    """It keeps no mapping of the caller's."""
    on_g = {"plan": "free"}
    said = Override(g=on_g)
    on_g["plan"] = "paid"
    assert said.g == {"plan": "free"}


def test_a_name_that_nobody_takes_fails_the_enqueue(web: Web) -> None:
    """The error names it, and what is available."""
    with pytest.raises(ConfigError, match=r"^Override\(user, colour\): .*'shop'.* it takes: tenant\."):
        take(web, Override(user=7, colour="red", tenant="acme"))


def test_a_value_that_does_not_encode_fails_the_enqueue(web: Web) -> None:
    """What was said is not skipped."""
    with pytest.raises(UnencodableValueError, match=r"^g\.db"):
        take(web, Override(g={"db": object()}))


def test_a_value_that_is_too_large_fails_the_enqueue(web: Web) -> None:
    """It is not left out, as what a rule took would be."""
    with pytest.raises(SnapshotTooLargeError):
        take(web, Override(g={"text": "x" * 40_000}))


def test_a_session_needs_a_request(web: Web) -> None:
    """The error says what to do."""
    with web.app().app_context(), pytest.raises(ConfigError, match="will have no session"):
        capture(context=Override(session={"cart": [1]}))


def test_only_an_override_is_one(web: Web) -> None:
    """A dict in its place is told at once."""
    with pytest.raises(ConfigError, match=r"expected a ctxjobs.Override, got dict"):
        take(web, {"g": {}})  # type: ignore[arg-type]  # what the test gives


def test_a_request_that_was_said_matches_its_route(web: Web) -> None:
    """No route was captured, so none is compared; the job has the one that the URL matches."""
    with web.app().app_context():
        snapshot = capture(context=Override(request="/?a=1"))

    def look() -> Any:
        return web.module.request.endpoint, web.module.request.args["a"], web.module.url_for("index")

    assert run_in_context(snapshot, look) == ("index", "1", "/")


def test_a_request_that_is_there_stays(web: Web) -> None:
    """``request=`` is for jobs that would have none."""
    snapshot = take(web, Override(request="/other", g={"a": 1}))
    assert (snapshot.overrides, snapshot.request and snapshot.request.endpoint) == (("g.a",), "index")


def test_outside_of_any_context_a_bound_job_takes_what_was_said(web: Web) -> None:
    """A script enqueues for a tenant."""
    app = web.app()
    jobs: CtxJobs = app.extensions["ctxjobs"]
    bound = jobs.job(_job_function).options(context=Override(g={"plan": "free"}, tenant="acme"))
    snapshot = bound.prepare().snapshot
    assert run_in_context(snapshot, lambda: (web.g.plan, tenant.get())) == ("free", "acme")


def _job_function() -> None: ...


# --- The system context ---------------------------------------------------------------------

SYSTEM = Override(g={"plan": "system", "page": 1}, tenant="everybody")


def take_in_command(app: Any, context: Override | None = None) -> Snapshot:
    """What a click command captures."""
    with click.Context(click.Command("send")), app.app_context():
        app.extensions["on_g"]()
        return capture(context=context)


def system_app(web: Web, on_g: Any = int, **config: Any) -> Any:
    app = web.app(**{"CTXJOBS_SYSTEM_CONTEXT": SYSTEM, **config})
    app.extensions["on_g"] = on_g
    return app


def test_the_system_context_fills_what_a_command_has_not(web: Web) -> None:
    """What is captured wins over it, and it is recorded as what it is."""
    snapshot = take_in_command(system_app(web, on_g=lambda: setattr(web.g, "plan", "paid")))
    assert run_in_context(snapshot, lambda: (web.g.plan, web.g.page, tenant.get())) == (
        "paid",
        1,
        "everybody",
    )
    assert (snapshot.system, snapshot.overrides) == (("tenant", "g.page"), ())


def test_what_is_captured_by_a_propagator_wins_over_the_system_context(web: Web) -> None:
    """As on g."""
    token = tenant.set("acme")
    try:
        snapshot = take_in_command(system_app(web))
    finally:
        tenant.reset(token)
    assert run_in_context(snapshot, tenant.get) == "acme"


def test_what_is_said_at_the_call_wins_over_both(web: Web) -> None:
    """And is recorded as said, not as the system's."""
    on_g = {"on_g": lambda: setattr(web.g, "plan", "paid")}
    snapshot = take_in_command(system_app(web, **on_g), Override(g={"plan": "free", "page": 2}))
    assert run_in_context(snapshot, lambda: (web.g.plan, web.g.page, tenant.get())) == (
        "free",
        2,
        "everybody",
    )
    assert (snapshot.system, snapshot.overrides) == (("tenant",), ("g.plan", "g.page"))


def test_cron_has_the_system_context(web: Web) -> None:
    """Whoever enqueues on a schedule says so with ``triggered_by``."""
    with system_app(web).app_context(), triggered_by("cron"):
        snapshot = capture()
    assert (snapshot.trigger, snapshot.system) == ("cron", ("tenant", "g.plan", "g.page"))


def test_a_request_has_no_system_context(web: Web) -> None:
    """Nor have a script, and a job that a job enqueues."""
    app = system_app(web)
    with app.test_request_context("/"):
        assert capture().system == ()
    with app.app_context():
        assert capture().system == ()


def test_a_system_context_is_an_override(web: Web) -> None:
    """The mistake is told when the app is bound."""
    with pytest.raises(ConfigError, match=r"CTXJOBS_SYSTEM_CONTEXT: expected a ctxjobs.Override, got dict"):
        system_app(web, CTXJOBS_SYSTEM_CONTEXT={"g": {}})


def test_a_name_in_the_system_context_that_nobody_takes_fails_the_enqueue(web: Web) -> None:
    """It is not passed over."""
    with pytest.raises(ConfigError, match=r"^Override\(user\)"):
        take_in_command(system_app(web, CTXJOBS_SYSTEM_CONTEXT=Override(user=1)))


def test_a_request_of_the_system_context(web: Web) -> None:
    """With it, jobs of commands have one: url_for and the request work in them."""
    snapshot = take_in_command(system_app(web, CTXJOBS_SYSTEM_CONTEXT=Override(request="/")))
    assert run_in_context(snapshot, lambda: web.module.request.endpoint) == "index"
    assert snapshot.system == ("request",)
