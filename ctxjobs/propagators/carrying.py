"""What is done with propagators: take their state at enqueue, put it back around a job.

May import :mod:`ctxjobs.propagators.base`, hosts and the floors of values; knows no extension.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import ConfigError, PropagatorMissingError
from ctxjobs.hosts import Active, Host
from ctxjobs.policy import Capture
from ctxjobs.propagators.base import Propagator, registered_propagators
from ctxjobs.snapshot import Snapshot

_log = logging.getLogger("ctxjobs")


def take_propagated(host: Host, active: Active, policy: Capture) -> dict[str, Primitive]:
    """The state that *policy* lets travel, encoded, by the name of its propagator.

    Raises:
        ConfigError: The policy names a propagator that is not registered, or that the app does not use.
        UnencodableValueError, ValueLimitError: A propagator's value does not encode.
    """
    if not policy.request:
        active = Active(active.app_context, None)
    taken = {}
    with host.session_unmarked(active):
        for propagator in _chosen(host, policy):
            value = propagator.capture(active)
            if value is not None:
                taken[propagator.name] = codec.encode(value, f"propagators.{propagator.name}")
    return taken


def propagated_scopes(host: Host, snapshot: Snapshot) -> Iterator[AbstractContextManager[Any]]:
    """Put back the state that *snapshot* carries, one propagator after the other; the scopes to enter.

    Lazy: a propagator restores when the scopes before its own are entered.

    Raises:
        PropagatorMissingError: This process cannot put back what the job must not run without.
    """
    for name, value in snapshot.propagators.items():
        propagator = _present(host, name, snapshot.app_id)
        active = host.active()
        if propagator is None or active is None:
            continue
        scope = propagator.restore(codec.decode(value, f"propagators.{name}"), active)
        if scope is not None:
            yield scope


def _chosen(host: Host, policy: Capture) -> Iterable[Propagator]:
    registered = registered_propagators()
    if isinstance(policy.propagators, tuple):
        return [_named(host, registered, name) for name in policy.propagators]
    if policy.propagators == "none":
        return ()
    return [propagator for propagator in registered.values() if propagator.wanted(host)]


def _named(host: Host, registered: dict[str, Propagator], name: str) -> Propagator:
    propagator = registered.get(name)
    if propagator is None or not propagator.wanted(host):
        reason = "is not registered" if propagator is None else f"is not used by app {host.import_name!r}"
        known = ", ".join(repr(one) for one in registered)
        raise ConfigError(
            "Capture(propagators=...)", f"{name!r} {reason}; take it out, or set it up. Registered: {known}."
        )
    return propagator


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
