"""Capture: from the active contexts to a snapshot.

Asks the policy what may be taken, the host for the contexts' values, and the propagators for what others
keep. May import all of these; knows no RQ.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token

import msgspec

from ctxjobs.errors import HopLimitError, UnboundJobError
from ctxjobs.hosts import Active
from ctxjobs.hosts.environ import content_type, left_out_parts, request_id
from ctxjobs.hosts.misses import BODY_PARTS, bounded
from ctxjobs.indexkeys import index_keys
from ctxjobs.override import Override
from ctxjobs.policy import LOCAL, Capture, CaptureChoice, derived
from ctxjobs.propagation.fitting import encode_fitting
from ctxjobs.propagation.overriding import overridden
from ctxjobs.propagation.taking import Leaving, take_environ, take_values
from ctxjobs.propagators import checked, take_propagated
from ctxjobs.registry import BoundApp, RegisteredFunction, choose_app, registry
from ctxjobs.running import RunningJob, cv_job
from ctxjobs.snapshot import Lineage, RequestData, Snapshot
from ctxjobs.triggers import Trigger, declared_trigger


class Prepared(msgspec.Struct, frozen=True):
    """A snapshot that is ready to be sealed into envelopes.

    Attributes:
        app: The app whose key signs.
        snapshot: What was captured.
        encoded: The same, as bytes.
        max_age_s: Seconds after which a job that is due is too old; None means never.
        index_keys: The keys of the index that its jobs have an entry in.
    """

    app: BoundApp
    snapshot: Snapshot
    encoded: bytes
    max_age_s: float | None
    index_keys: Sequence[str] = ()

    def __repr__(self) -> str:
        return f"Prepared({self.snapshot!r}, {len(self.encoded)} bytes, max_age_s={self.max_age_s})"


cv_prepared: ContextVar[Prepared | None] = ContextVar("ctxjobs.prepared")


class prepared_with:  # noqa: N801 - a context manager, as those of contextlib; a generator takes five times as long
    """Jobs that are made inside this block get *prepared*, instead of a snapshot of their own."""

    __slots__ = ("_prepared", "_token")
    _token: Token[Prepared | None]

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared

    def __enter__(self) -> None:
        self._token = cv_prepared.set(self._prepared)

    def __exit__(self, *_: object) -> None:
        cv_prepared.reset(self._token)


def prepare_for(function: RegisteredFunction) -> Prepared:
    """What a job of *function* gets that is made here: that of :func:`prepared_with`, else its own."""
    prepared: Prepared | None = cv_prepared.get(None)
    return function.prepare() if prepared is None else prepared


def capture(policy: CaptureChoice | None = None, *, context: Override | None = None) -> Snapshot:
    """Take a snapshot of the active contexts.

    Args:
        policy: What to take, or a function that makes it of the app's own policy; None means that one.
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
    policy: CaptureChoice | None,
    function: str,
    context: Override | None = None,
) -> Prepared:
    """Capture for a job of *function*, in the app of *apps* that is active.

    Args:
        apps: The apps that the job is bound to; None for an unbound job, which takes any active app.
        policy: As for :func:`capture`.
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
    chosen = derived(policy, app.capture)
    snapshot = overridden(_take(app, active, chosen), app, chosen, context)
    max_age_s = chosen.max_age_s if chosen.max_age_s is not None else app.settings.max_age_s
    snapshot, encoded = encode_fitting(snapshot, chosen, app.settings.snapshot_limit_bytes)
    return Prepared(app, snapshot, encoded, max_age_s, index_keys(app.id, app.settings.index, snapshot))


def _take(app: BoundApp, active: Active | None, policy: Capture) -> Snapshot:
    job = cv_job.get(None)
    given = None if job is None else job.snapshot
    lineage, trigger = _lineage(app, active, policy, job), "job" if job is not None else _trigger(active)
    # Another app's users are others.
    own = given if given is not None and given.app_id == app.id else None
    taken = take_propagated(app.host, active, policy, trigger, own)
    # What is not to be shown: by the policy, or because it is hidden in the job that enqueues this one.
    hidden = policy.hidden if given is None else tuple(dict.fromkeys((*policy.hidden, *given.hidden)))
    if active is None:
        return Snapshot(app.id, trigger=trigger, lineage=lineage, cleared=tuple(taken.cleared), hidden=hidden)
    leaving = Leaving()
    misses = app.host.read_misses(active)
    if misses is not None:
        misses.hand_on(leaving.names, leaving.reasons)
    request = _take_request(app, active, policy, leaving) if policy.request else None
    session = app.host.read_session(active, None) if policy.request else None
    snapshot = Snapshot(
        app.id,
        trigger=trigger,
        lineage=lineage,
        request=request,
        session=None
        if session is None
        else session and take_values(session, policy.plans.session, leaving, "session[{!r}]"),
        g=take_values(app.host.read_g(active), policy.plans.g, leaving, "g.{}"),
        propagators=checked(taken.values, leaving.reasons),
        cleared=tuple(taken.cleared),
        skipped=leaving.reasons,
        left_out=bounded(leaving.names),  # which the lines above have filled
        hidden=hidden,
    )
    if misses is not None:
        misses.note_taken(snapshot)
    return snapshot


def _take_request(app: BoundApp, active: Active, policy: Capture, leaving: Leaving) -> RequestData | None:
    environ = app.host.read_environ(active)
    if environ is None:
        return None
    taken = take_environ(environ, policy.plans.environ, leaving)
    body = _take_body(app, active, policy, leaving)
    if body is not None and "CONTENT_TYPE" not in policy.plans.environ.headers.local:
        taken.update(content_type(environ))
        leaving.take_back("headers", "CONTENT_TYPE")
    if parts := left_out_parts(environ, body):
        leaving.names.setdefault("request", []).extend(parts)
        if policy.plans.body_is_local and not BODY_PARTS.isdisjoint(parts):
            leaving.reasons["body"] = LOCAL
    endpoint, rule = app.host.read_route(active)
    return RequestData(taken, endpoint, rule, body)


def _take_body(app: BoundApp, active: Active, policy: Capture, leaving: Leaving) -> bytes | None:
    if policy.plans.body_is_local or not policy.body_bytes:
        return None
    body = app.host.read_body(active, policy.body_bytes)
    if body is None:
        leaving.reasons["body"] = (
            f"it takes more than {policy.body_bytes} bytes, has no length, or was read as a form before"
        )
    return body


def _lineage(app: BoundApp, active: Active | None, policy: Capture, job: RunningJob | None) -> Lineage:
    if job is None or job.snapshot is None:
        environ = None if active is None else app.host.read_environ(active)
        local = policy.plans.environ.headers.local
        return Lineage(request=None if environ is None else request_id(environ, local))
    lineage = job.snapshot.lineage.child_of(job.id)
    if lineage.hop > app.settings.max_hops:
        raise HopLimitError(job.id, lineage.hop, app.settings.max_hops)
    return lineage


def _trigger(active: Active | None) -> Trigger:
    if (declared := declared_trigger()) is not None:
        return declared
    if active is not None and active.request_context is not None:
        return "request"
    click = sys.modules.get("click")
    return "cli" if click is not None and click.get_current_context(silent=True) else "code"
