"""Propagators: which ones capture, how their scopes stand in the stack, what fails closed; on both hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.both_hosts import Web

from ctxjobs import Capture, Snapshot, capture, register_propagator, restore, run_in_context
from ctxjobs.errors import (
    ConfigError,
    PropagatorMissingError,
    SnapshotTooLargeError,
    TeardownError,
    UnencodableValueError,
)
from ctxjobs.hosts import Active, context_vars
from ctxjobs.propagators import ContextVarPropagator, base

tenant: ContextVar[Any] = ContextVar("tenant")


pytestmark = pytest.mark.usefixtures("own_registries")


class BoomError(Exception):
    """What the tests raise."""


@dataclass
class Journal:
    """A propagator that notes what is done with it."""

    name: str
    events: list[Any]
    value: Any = 1
    used: bool = True
    essential: bool = True
    enter: Callable[[], Any] = lambda: None
    leave: Callable[[], Any] = lambda: None
    seen: list[Active] = field(default_factory=list)

    def wanted(self, host: Any) -> bool:
        return self.used

    def capture(self, active: Active) -> Any:
        self.seen.append(active)
        return self.value

    def restore(self, value: Any, active: Active) -> Any:
        return self.scope(value)

    @contextmanager
    def scope(self, value: Any) -> Iterator[None]:
        self.enter()
        self.events.append((self.name, value))
        try:
            yield
        except BoomError as exc:
            self.events.append((self.name, str(exc)))
            raise
        finally:
            self.events.append((self.name, "left"))
            self.leave()


def take(app: Any, **options: Any) -> Snapshot:
    with app.test_request_context("/"):
        return capture(Capture(**options))


def raise_boom(text: str = "boom") -> Any:
    raise BoomError(text)


# --- Which ones -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"), [("auto", ["a", "b"]), ("none", []), (("b",), ["b"]), (("b", "a"), ["b", "a"])]
)
def test_the_policy_chooses(web: Web, rule: Any, expected: list[str]) -> None:
    """By default, everyone whose library the app uses, in the order of registration; else the named ones."""
    for one in (Journal("a", []), Journal("unused", [], used=False), Journal("b", [])):
        register_propagator(one)
    assert list(take(web.app(), propagators=rule).propagators) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("nobody", "'nobody' is not registered"), ("idle", "is not used by app 'shop'")]
)
def test_a_name_that_cannot_capture_fails_the_enqueue(web: Web, name: str, expected: str) -> None:
    """What was asked for by name is an error where it is not there."""
    register_propagator(Journal("idle", [], used=False))
    with pytest.raises(ConfigError, match=expected):
        take(web.app(), propagators=(name,))


def test_the_rule_is_a_tuple_of_names_or_a_word() -> None:
    """One name in place of a tuple is told at once."""
    with pytest.raises(ConfigError, match="propagators"):
        Capture(propagators="login")


def test_nothing_is_nothing(web: Web) -> None:
    """A propagator that returns None leaves no trace in the bytes."""
    register_propagator(Journal("a", [], value=None))
    snapshot = take(web.app())
    assert b"propagators" not in snapshot.to_bytes(100_000)


def test_without_its_request_a_job_gets_none_from_a_propagator(web: Web) -> None:
    """Where the policy takes no request, propagators see none either."""
    journal = Journal("a", [])
    register_propagator(journal)
    take(web.app(), request=False)
    take(web.app())
    assert [active.request_context is None for active in journal.seen] == [True, False]


def test_reading_the_session_does_not_mark_it(web: Web) -> None:
    """R24: a propagator that reads the session adds no "Vary: Cookie" to the response."""
    register_propagator(Journal("a", []))
    journal = Journal("b", [])
    journal.capture = lambda active: web.module.session.get("user")
    register_propagator(journal)
    app = web.app()
    app.add_url_rule("/take", "take", lambda: str(capture()))
    assert "Vary" not in app.test_client().get("/take").headers


def test_a_value_that_does_not_encode_fails_with_its_path(web: Web) -> None:
    """The error names the propagator."""
    register_propagator(Journal("a", [], value={"user": object()}))
    with pytest.raises(UnencodableValueError, match=r"^propagators\.a\.user: "):
        take(web.app())


def test_the_largest_value_is_named(web: Web) -> None:
    """A snapshot that is too large because of a propagator says so."""
    register_propagator(Journal("a", [], value="x" * 3_000))
    with pytest.raises(SnapshotTooLargeError) as caught:
        take(web.app(CTXJOBS_SNAPSHOT_LIMIT_BYTES=2_000))
    assert caught.value.largest == "propagators.a"


# --- Registration ---------------------------------------------------------------------------


def test_two_propagators_need_two_names() -> None:
    """The second one of a name is refused, and the message says what has the name."""
    register_propagator(ContextVarPropagator("tenant", tenant))
    with pytest.raises(ConfigError, match=r"'tenant' is taken by ContextVarPropagator"):
        register_propagator(ContextVarPropagator("tenant", ContextVar("other")))


def test_the_same_propagator_may_be_registered_again() -> None:
    """An app factory that registers it may be called twice."""
    register_propagator(ContextVarPropagator("tenant", tenant))
    register_propagator(ContextVarPropagator("tenant", tenant))


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "a\n"])
def test_a_name_is_a_word(name: str) -> None:
    """Names stand in policies, snapshots and messages."""
    with pytest.raises(ConfigError, match="is no name"):
        register_propagator(ContextVarPropagator(name, tenant))


# --- In the stack ---------------------------------------------------------------------------


def test_scopes_are_entered_in_order_and_left_in_reverse_inside_the_contexts(web: Web) -> None:
    """Teardown functions run once, after the last scope was left."""
    events: list[Any] = []
    for name in ("a", "b"):
        register_propagator(Journal(name, events))
    app = web.app()
    app.teardown_appcontext(lambda exc: events.append("teardown"))
    snapshot = take(app)
    events.clear()
    run_in_context(snapshot, lambda: events.append("job"))
    assert events == [("a", 1), ("b", 1), "job", ("b", "left"), ("a", "left"), "teardown"]


def test_what_the_job_left_pushed_goes_first(web: Web) -> None:
    """A context that the job pushed inside of the scopes is popped before they are left."""
    events: list[Any] = []
    register_propagator(Journal("a", events, leave=lambda: events.append(web.module.g.get("mine", "own g"))))
    app = web.app()

    def leaking() -> None:
        app.app_context().push()
        web.g.mine = "the leaked g"

    run_in_context(take(app), leaking)
    assert events[-1] == "own g"


def test_scopes_get_the_exception_of_the_job(web: Web) -> None:
    """As teardown functions do; all of them are left."""
    events: list[Any] = []
    for name in ("a", "b"):
        register_propagator(Journal(name, events))
    with pytest.raises(BoomError):
        run_in_context(take(web.app()), raise_boom)
    assert events[2:] == [("b", "boom"), ("b", "left"), ("a", "boom"), ("a", "left")]


def test_a_scope_cannot_suppress_the_exception_of_the_job(web: Web) -> None:
    """A failed job stays failed."""

    class Swallow:
        def __enter__(self) -> None: ...

        def __exit__(self, *exc: Any) -> bool:
            return True

    journal = Journal("a", [])
    journal.restore = lambda value, active: Swallow()
    register_propagator(journal)
    with pytest.raises(BoomError):
        run_in_context(take(web.app()), raise_boom)


def test_a_restore_that_fails_fails_the_job_and_unwinds_everything(web: Web) -> None:
    """Fail closed: the function does not run, the scopes before are left, teardown runs with the error."""
    events: list[Any] = []
    register_propagator(Journal("a", events))
    register_propagator(Journal("b", events, enter=raise_boom))
    app = web.app()
    snapshot = take(app)
    app.teardown_appcontext(lambda exc: events.append(repr(exc)))
    with pytest.raises(BoomError), restore(snapshot):
        pytest.fail("the block ran")
    assert events == [("a", 1), ("a", "boom"), ("a", "left"), "BoomError('boom')"]
    assert [one for one in context_vars() if one.get(None) is not None] == []


def test_an_exit_that_fails_is_a_teardown_error(web: Web) -> None:
    """The other scopes are left, the contexts torn down, and the success does not pass silently."""
    events: list[Any] = []
    register_propagator(Journal("a", events))
    register_propagator(Journal("b", events, leave=raise_boom))
    app = web.app()
    app.teardown_appcontext(lambda exc: events.append("teardown"))
    snapshot = take(app)
    events.clear()
    with pytest.raises(TeardownError, match="BoomError: boom"):
        run_in_context(snapshot, int)
    assert events[-2:] == [("a", "left"), "teardown"]


def test_an_exit_that_fails_does_not_replace_the_exception_of_the_job(web: Web) -> None:
    """It is told next to it."""
    register_propagator(Journal("a", [], leave=lambda: raise_boom("at the exit")))
    with pytest.raises(ZeroDivisionError):
        run_in_context(take(web.app()), lambda: 1 // 0)


# --- Missing in the worker ------------------------------------------------------------------


def forget(app: Any, **used: bool) -> Snapshot:
    """A snapshot with a propagator that this process then knows differently, or not at all."""
    essential = used.pop("essential", True)
    register_propagator(Journal("a", [], essential=essential))
    snapshot = take(app)
    base._propagators.clear()
    if used:
        register_propagator(Journal("a", [], essential=essential, **used))
    return snapshot


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        ({}, "none of that name is registered"),
        ({"essential": False}, "none of that name is registered"),
        ({"used": False}, "the library that it belongs to is not set up"),
    ],
)
def test_a_job_does_not_run_without_what_it_carries(web: Web, used: Any, expected: str) -> None:
    """Fail closed, with the name of the propagator."""
    snapshot = forget(web.app(), **used)
    with pytest.raises(PropagatorMissingError, match=f"propagator 'a'.* {expected}"):
        run_in_context(snapshot, lambda: pytest.fail("the job ran"))


def test_a_job_runs_without_its_log_context(web: Web) -> None:
    """What is not essential is left out where its library is not loaded."""
    snapshot = forget(web.app(), essential=False, used=False)
    assert run_in_context(snapshot, lambda: "ran") == "ran"


# --- Context variables ----------------------------------------------------------------------


@pytest.mark.parametrize("value", ["acme", None, {"id": 7, "tags": ("a",)}])
def test_a_context_variable_travels(web: Web, value: Any) -> None:
    """Its value comes back, None included, as a copy; and after the job it is what it was."""
    register_propagator(ContextVarPropagator("tenant", tenant))
    app = web.app()
    token = tenant.set(value)
    snapshot = take(app)
    tenant.set("of the worker")
    try:
        with restore(snapshot):
            assert tenant.get() == value
        assert tenant.get() == "of the worker"
    finally:
        tenant.reset(token)


def test_a_context_variable_that_is_not_set_does_not_travel(web: Web) -> None:
    """A default is not a value."""
    register_propagator(ContextVarPropagator("theme", ContextVar("theme", default="dark")))
    assert dict(take(web.app()).propagators) == {}
