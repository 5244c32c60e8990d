"""What is done with propagators: take their state at enqueue, put it back around a job.

May import :mod:`ctxjobs.propagators.base`, ``rules`` and ``context_var``, hosts and the floors of values;
knows no extension.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from itertools import chain
from typing import Any

import msgspec

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import PropagatorMissingError
from ctxjobs.hosts import Active, Host
from ctxjobs.policy import Capture
from ctxjobs.propagators.base import Propagator, SupportsClear, registered_propagators
from ctxjobs.propagators.context_var import ContextVarPropagator
from ctxjobs.propagators.rules import chosen
from ctxjobs.references import load
from ctxjobs.snapshot import Snapshot
from ctxjobs.triggers import Trigger, TriggerRule

_log = logging.getLogger("ctxjobs")


class Propagated(msgspec.Struct, frozen=True):
    """What propagators took.

    Attributes:
        values: Their state, encoded, by name.
        cleared: Names of those of which the job runs without state.
    """

    values: dict[str, Primitive] = msgspec.field(default_factory=dict)
    cleared: list[str] = msgspec.field(default_factory=list)

    def __repr__(self) -> str:
        return f"Propagated({', '.join(self.values)}; cleared={self.cleared})"

    def hand_on(self, name: str, given: Snapshot) -> None:
        """Take what a job was *given* itself, byte for byte."""
        if name in given.propagators:
            self.values[name] = given.propagators[name]
        elif name in given.cleared:
            self.cleared.append(name)


def take_propagated(
    host: Host, active: Active | None, policy: Capture, trigger: Trigger, given: Snapshot | None
) -> Propagated:
    """The state that *policy* lets travel.

    Args:
        host: The app.
        active: Its contexts; None if none are active, so that there is nothing to take.
        policy: What travels.
        trigger: What enqueues the job.
        given: What the job of the same app that enqueues was given itself; None if there is none.

    Raises:
        ConfigError: The policy names a propagator that is not registered, that the app does not use, or that
            cannot do what the policy says.
        UnencodableValueError, ValueLimitError: A propagator's value does not encode.
    """
    taking_part = list(chosen(host, policy, trigger))
    if active is None or not taking_part:
        return _take(taking_part, None, policy, given)
    if not policy.request:
        active = Active(active.app_context, None)
    with host.session_unmarked(active):
        return _take(taking_part, active, policy, given)


def _take(
    taking_part: Iterable[tuple[Propagator, TriggerRule]],
    active: Active | None,
    policy: Capture,
    given: Snapshot | None,
) -> Propagated:
    taken = Propagated()
    for propagator, rule in taking_part:
        name = propagator.name
        if rule == "clear":
            taken.cleared.append(name)
        elif rule == "inherit":
            if given is not None:
                taken.hand_on(name, given)
        elif active is not None and (value := _captured(propagator, policy, active)) is not None:
            taken.values[name] = codec.encode(value, f"propagators.{name}", references=True)
    return taken


def _captured(propagator: Propagator, policy: Capture, active: Active) -> Any:
    # Not isinstance(): see rules.py.
    capture_under: Callable[[Capture, Active], Any] | None = getattr(propagator, "capture_under", None)
    return propagator.capture(active) if capture_under is None else capture_under(policy, active)


def propagated_scopes(host: Host, snapshot: Snapshot) -> Iterator[AbstractContextManager[Any]]:
    """Put back the state that *snapshot* carries, one propagator after the other; the scopes to enter.

    Lazy: a propagator clears or restores when the scopes before its own are entered.

    Raises:
        PropagatorMissingError: This process cannot put back what the job must not run without, or cannot take
            away what it must not run with.
    """
    if not snapshot.propagators and not snapshot.cleared:
        return
    for scope in chain(_clearing(host, snapshot), _restoring(host, snapshot)):
        if scope is not None:
            yield scope


def cleared_variables(snapshot: Snapshot) -> Iterator[ContextVar[Any]]:
    """The context variables that a job of *snapshot* must not see set; they cannot be unset later."""
    registered = registered_propagators()
    for name in snapshot.cleared:
        propagator = registered.get(name)
        if isinstance(propagator, ContextVarPropagator):
            yield propagator.variable


def _clearing(host: Host, snapshot: Snapshot) -> Iterator[AbstractContextManager[Any] | None]:
    for name in snapshot.cleared:
        propagator = registered_propagators().get(name)
        if propagator is None or not isinstance(propagator, SupportsClear):
            reason = "none of that name is registered that can be cleared"
            raise PropagatorMissingError(name, snapshot.app_id, reason)
        active = host.active()
        if active is not None and propagator.wanted(host):
            yield propagator.clear(active)


def _restoring(host: Host, snapshot: Snapshot) -> Iterator[AbstractContextManager[Any] | None]:
    for name, value in snapshot.propagators.items():
        propagator = _present(host, name, snapshot.app_id)
        active = host.active()
        if propagator is not None and active is not None:
            yield propagator.restore(load(value, f"propagators.{name}", host.app), active)


def _present(host: Host, name: str, app_id: str) -> Propagator | None:
    """The propagator, if it is wanted; None if it is not, and the job can do without it."""
    propagator = registered_propagators().get(name)
    if propagator is None:
        raise PropagatorMissingError(name, app_id, "none of that name is registered")
    if propagator.wanted(host):
        return propagator
    if propagator.essential:
        raise PropagatorMissingError(name, app_id, "the library that it belongs to is not set up")
    _log.debug("propagator %s is not wanted here; what the job carries for it is left out", name)
    return None
