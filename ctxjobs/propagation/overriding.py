"""Overriding: what the caller, or the app's system context, says of a snapshot in place of what was captured.

Works on the captured snapshot, whatever took it. May import propagators, the registry and the floors of
values; knows no RQ.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Host
from ctxjobs.override import Override
from ctxjobs.policy import Capture
from ctxjobs.propagators.base import Draft, SupportsOverride, registered_propagators
from ctxjobs.registry import BoundApp
from ctxjobs.snapshot import Snapshot

#: Triggers of jobs that nobody's request has started.
_SYSTEM_TRIGGERS = ("cli", "cron")


def overridden(snapshot: Snapshot, app: BoundApp, policy: Capture, override: Override | None) -> Snapshot:
    """*snapshot*, filled from the system context where that applies, and changed by *override*.

    Args:
        snapshot: What was captured.
        app: Its app.
        policy: What it was captured by.
        override: What the caller says; None for nothing.

    Raises:
        ConfigError: *override* says something that no propagator of the app takes, or that cannot be used, or
            it has values for a session that the job will not have.
        UnencodableValueError, ValueLimitError: A value does not encode.
    """
    if override is not None and not isinstance(override, Override):
        raise ConfigError(
            "options(context=...)", f"expected a ctxjobs.Override, got {type(override).__name__}."
        )
    if snapshot.trigger in _SYSTEM_TRIGGERS:
        snapshot = filled(snapshot, app, policy)
    return snapshot if override is None else _changed(snapshot, app.host, policy, override)


def filled(snapshot: Snapshot, app: BoundApp, policy: Capture) -> Snapshot:
    """What the system context has and *snapshot* has not; what was cleared stays cleared."""
    system = app.settings.system_context
    if system is None:
        return snapshot
    there = {*snapshot.propagators, *snapshot.cleared}
    settled = {name for one in _overridable(app.host) if one.name in there for name in one.override_names}
    missing = Override(
        request=system.request,
        g=_missing(system.g, snapshot.g),
        session=_missing(system.session, snapshot.session or {}),
        **_missing(system.values, settled),
    )
    changed = _changed(snapshot, app.host, policy, missing)
    return replace(changed, system=changed.overrides, overrides=())


def _missing(said: Mapping[str, Any], there: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in said.items() if name not in there}


def _changed(snapshot: Snapshot, host: Host, policy: Capture, override: Override) -> Snapshot:
    paths = []
    if override.request is not None and snapshot.request is None:
        snapshot = replace(snapshot, request=host.make_request(override.request), session={})
        paths.append("request")
    draft = Draft(host, policy, snapshot.request is not None)
    states, used = _states(_overridable(host), override.values, snapshot, draft)
    if unknown := [name for name in override.values if name not in used]:
        raise _unknown(unknown, host)
    if override.session and snapshot.session is None:
        raise ConfigError(
            "Override(session=...)",
            "the job will have no session: it carries no request, or one without a session. Use g, or give "
            "it a request: Override(request='/', session=...).",
        )
    _check_local(override, policy)
    changed = _with(
        snapshot, states, override.encoded_g(snapshot.hidden), override.encoded_session(snapshot.hidden)
    )
    paths += [*used, *(f"g.{name}" for name in override.g), *(f"session.{name}" for name in override.session)]
    return replace(
        changed, overrides=tuple(paths), system=tuple(path for path in snapshot.system if path not in paths)
    )


def _check_local(override: Override, policy: Capture) -> None:
    """Refuse to send what the policy keeps in the process."""
    said = [*(f"g.{name}" for name in override.g), *(f"session.{name}" for name in override.session)]
    if local := ", ".join(path for path in said if path in policy.local):
        raise ConfigError(
            "Override(...)",
            f"the capture policy says that {local} is local, and never sent; take it out of one of them.",
        )


def _overridable(host: Host) -> Iterator[Any]:
    """Propagators that are both :class:`Propagator` and :class:`SupportsOverride`."""
    for propagator in registered_propagators().values():
        if isinstance(propagator, SupportsOverride) and propagator.wanted(host):
            yield propagator


def _states(
    propagators: Iterable[Any], said: Mapping[str, Any], snapshot: Snapshot, draft: Draft
) -> tuple[dict[str, Primitive], list[str]]:
    """The new states, encoded, by the name of the propagator, and the names in *said* that made them."""
    states: dict[str, Primitive] = {}
    used: list[str] = []
    for propagator in propagators:
        values = {name: said[name] for name in propagator.override_names if name in said}
        if not values:
            continue
        path = f"propagators.{propagator.name}"
        captured = snapshot.propagators.get(propagator.name)
        value = propagator.override(values, codec.decode(captured, path), draft)
        states[propagator.name] = codec.encode(value, path, references=True)
        used += [name for name in values if name not in used]
    return states, used


def _with(
    snapshot: Snapshot,
    states: Mapping[str, Primitive],
    g: Mapping[str, Primitive],
    session: Mapping[str, Primitive],
) -> Snapshot:
    """*snapshot* with these values, which are then neither left out nor skipped nor cleared."""
    said = {"g": g.keys(), "session": session.keys()}
    paths = {f"{kind}.{name}" for kind, names in said.items() for name in names}
    return replace(
        snapshot,
        g={**snapshot.g, **g},
        session=None if snapshot.session is None else {**snapshot.session, **session},
        propagators=_merged(snapshot.propagators, states),
        cleared=tuple(name for name in snapshot.cleared if name not in states),
        skipped={path: reason for path, reason in snapshot.skipped.items() if path not in paths},
        left_out=_without(snapshot.left_out, said),
    )


def _merged(before: Mapping[str, Primitive], states: Mapping[str, Primitive]) -> dict[str, Primitive]:
    """In the order of registration, in which they are restored; None for nothing is left out."""
    both = {**before, **states}
    order = {name: position for position, name in enumerate(registered_propagators())}
    names = sorted(both, key=lambda name: order.get(name, len(order)))
    return {name: both[name] for name in names if both[name] is not None}


def _without(
    left_out: Mapping[str, tuple[str, ...]], said: Mapping[str, Collection[str]]
) -> dict[str, tuple[str, ...]]:
    kept = {
        kind: [name for name in names if name not in said.get(kind, ())] for kind, names in left_out.items()
    }
    return {kind: tuple(names) for kind, names in kept.items() if names}


def _unknown(names: list[str], host: Host) -> ConfigError:
    taken = sorted({name for one in _overridable(host) for name in one.override_names})
    known = ", ".join(taken) or "nothing besides g and session"
    return ConfigError(
        f"Override({', '.join(names)})",
        f"no propagator that app {host.import_name!r} uses takes this; it takes: {known}. Set up the "
        "library, or put the value into g.",
    )
