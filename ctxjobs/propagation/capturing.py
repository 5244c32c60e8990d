"""Capture: from the active contexts to a snapshot.

Asks the policy what may be taken, the host for the contexts' values, and the propagators for what others
keep. May import all of these; knows no RQ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import (
    HopLimitError,
    SnapshotTooLargeError,
    UnboundJobError,
    UnencodableValueError,
    ValueLimitError,
)
from ctxjobs.hosts import Active
from ctxjobs.hosts.environ import (
    content_type,
    drop_unsafe,
    left_out_headers,
    left_out_parts,
    read_environ,
    request_id,
)
from ctxjobs.hosts.misses import bounded, header_path
from ctxjobs.override import Override
from ctxjobs.policy import Capture
from ctxjobs.propagation.overriding import overridden
from ctxjobs.propagators import checked, take_propagated
from ctxjobs.registry import BoundApp, RegisteredFunction, choose_app, registry
from ctxjobs.running import cv_job
from ctxjobs.snapshot import Lineage, RequestData, Snapshot
from ctxjobs.triggers import Trigger, declared_trigger


@dataclass(frozen=True, slots=True)
class Prepared:
    """A snapshot that is ready to be sealed into envelopes.

    Attributes:
        app: The app whose key signs.
        snapshot: What was captured.
        encoded: The same, as bytes.
        max_age_s: Seconds after which a job that is due is too old; None means never.
    """

    app: BoundApp
    snapshot: Snapshot
    encoded: bytes = field(repr=False)
    max_age_s: float | None


cv_prepared: ContextVar[Prepared | None] = ContextVar("ctxjobs.prepared")


@contextmanager
def prepared_with(prepared: Prepared) -> Iterator[None]:
    """Jobs that are made inside this block get *prepared*, instead of a snapshot of their own."""
    token = cv_prepared.set(prepared)
    try:
        yield
    finally:
        cv_prepared.reset(token)


def prepare_for(function: RegisteredFunction) -> Prepared:
    """What a job of *function* gets that is made here: that of :func:`prepared_with`, else its own."""
    prepared: Prepared | None = cv_prepared.get(None)
    return function.prepare() if prepared is None else prepared


def capture(policy: Capture | None = None, *, context: Override | None = None) -> Snapshot:
    """Take a snapshot of the active contexts.

    Args:
        policy: What to take; None means the app's own policy.
        context: What to put in place of what is there; None means nothing.

    Returns:
        The snapshot; it shares nothing with the contexts.

    Raises:
        UnboundJobError: No context of an app with ctxjobs is active.
        UnencodableValueError: A value that the policy names does not encode; has its path.
        ValueLimitError: It is nested too deeply.
        SnapshotTooLargeError: The snapshot takes more than the app's limit.
        HopLimitError: Jobs enqueue jobs, too many deep.
        ConfigError: The policy names a propagator that the app does not use; or *context* cannot be used.
    """
    return prepare(None, policy, "ctxjobs.capture()", context).snapshot


def prepare(
    apps: Mapping[str, BoundApp] | None,
    policy: Capture | None,
    function: str,
    context: Override | None = None,
) -> Prepared:
    """Capture for a job of *function*, in the app of *apps* that is active.

    Args:
        apps: The apps that the job is bound to; None for an unbound job, which takes any active app.
        policy: What to take; None means the app's own policy.
        function: Dotted name of the job's function, for messages.
        context: What to put in place of what is there; None means nothing.

    Raises:
        UnboundJobError: Nothing says which app it is for. The other errors as for :func:`capture`.
    """
    candidates = registry.apps if apps is None else apps
    if not candidates:
        raise UnboundJobError(function, "no app is bound in this process")
    app, active = choose_app(candidates.values(), function)
    if active is None and apps is None:
        raise UnboundJobError(function, "no application context of an app with ctxjobs is active")
    policy = policy or app.capture
    snapshot = overridden(_take(app, active, policy), app, policy, context)
    max_age_s = policy.max_age_s if policy.max_age_s is not None else app.settings.max_age_s
    return Prepared(app, *_encode(snapshot, policy, app.settings.snapshot_limit_bytes), max_age_s)


def _take(app: BoundApp, active: Active | None, policy: Capture) -> Snapshot:
    lineage, trigger = _lineage(app, active), _trigger(active)
    taken = take_propagated(app.host, active, policy, trigger, _given(app))
    if active is None:
        return Snapshot(app.id, trigger=trigger, lineage=lineage, cleared=tuple(taken.cleared))
    skipped: dict[str, str] = {}
    names: dict[str, list[str]] = {}  # of what the policy does not list
    if (misses := app.host.read_misses(active)) is not None:
        misses.hand_on(names, skipped)
    return Snapshot(
        app.id,
        trigger=trigger,
        lineage=lineage,
        request=_take_request(app, active, policy, skipped, names) if policy.request else None,
        session=_take_session(app, active, policy, names) if policy.request else None,
        g=_take_g(app, active, policy, skipped, names),
        propagators=checked(taken.values, skipped),
        cleared=tuple(taken.cleared),
        skipped=skipped,
        left_out=bounded(names),  # which the lines above have filled
    )


def _take_request(
    app: BoundApp, active: Active, policy: Capture, skipped: dict[str, str], names: dict[str, list[str]]
) -> RequestData | None:
    environ = app.host.read_environ(active)
    if environ is None:
        return None
    taken = read_environ(environ, policy.headers)
    skipped.update((header_path(name), reason) for name, reason in drop_unsafe(taken).items())
    body = app.host.read_body(active, policy.body_bytes) if policy.body_bytes else None
    if body is not None:
        taken.update(content_type(environ))
    elif policy.body_bytes:
        skipped["request.body"] = (
            f"it takes more than {policy.body_bytes} bytes, has no length, or was read as a form before"
        )
    names.setdefault("headers", []).extend(left_out_headers(environ, taken))
    names.setdefault("request", []).extend(left_out_parts(environ, body))
    endpoint, rule = app.host.read_route(active)
    return RequestData(taken, endpoint, rule, body)


def _take_session(
    app: BoundApp, active: Active, policy: Capture, names: dict[str, list[str]]
) -> dict[str, Primitive] | None:
    values = app.host.read_session(active, None)
    if values is None:
        return None
    names.setdefault("session", []).extend(name for name in values if name not in policy.session)
    listed = (name for name in policy.session if name in values)
    return {name: codec.encode(values[name], f"session[{name!r}]") for name in listed}


def _take_g(
    app: BoundApp, active: Active, policy: Capture, skipped: dict[str, str], names: dict[str, list[str]]
) -> dict[str, Primitive]:
    taken: dict[str, Primitive] = {}
    for name, value in app.host.read_g(active).items():
        if not policy.takes_g(name, value):
            names.setdefault("g", []).append(name)
            continue
        try:
            taken[name] = codec.encode(value, f"g.{name}", references=True)
        except (UnencodableValueError, ValueLimitError) as exc:
            if policy.g_is_named:
                raise
            skipped[f"g.{name}"] = str(exc)
    return taken


def _encode(snapshot: Snapshot, policy: Capture, limit_bytes: int) -> tuple[Snapshot, bytes]:
    """Encode *snapshot*; what a rule took, and is too large by itself, is left out with the reason."""
    try:
        return snapshot, snapshot.to_bytes(limit_bytes)
    except SnapshotTooLargeError:
        large = {
            name: size
            for name, value in snapshot.g.items()
            if (size := len(codec.dumps(value))) > limit_bytes and f"g.{name}" not in snapshot.overrides
        }
        if policy.g_is_named or not large:
            if not snapshot.left_out:
                raise
            return _encode(replace(snapshot, left_out={}), policy, limit_bytes)  # advice costs no job
    reasons = {
        f"g.{name}": f"it takes {size} bytes, the limit is {limit_bytes}" for name, size in large.items()
    }
    rest = {name: value for name, value in snapshot.g.items() if name not in large}
    snapshot = replace(snapshot, g=rest, skipped={**snapshot.skipped, **reasons})
    return _encode(snapshot, policy, limit_bytes)


def _lineage(app: BoundApp, active: Active | None) -> Lineage:
    job = cv_job.get(None)
    if job is None or job.snapshot is None:
        environ = None if active is None else app.host.read_environ(active)
        return Lineage(request=None if environ is None else request_id(environ))
    lineage = job.snapshot.lineage.child_of(job.id)
    if lineage.hop > app.settings.max_hops:
        raise HopLimitError(job.id, lineage.hop, app.settings.max_hops)
    return lineage


def _given(app: BoundApp) -> Snapshot | None:
    """What the job that runs now was given, if it is one of *app*: another app's users are others."""
    job = cv_job.get(None)
    given = None if job is None else job.snapshot
    return given if given is not None and given.app_id == app.id else None


def _trigger(active: Active | None) -> Trigger:
    if cv_job.get(None) is not None:
        return "job"
    if (declared := declared_trigger()) is not None:
        return declared
    if active is not None and active.request_context is not None:
        return "request"
    click = sys.modules.get("click")
    return "cli" if click is not None and click.get_current_context(silent=True) else "code"
