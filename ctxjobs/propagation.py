"""Capture and restore: from the active contexts to a snapshot, and back.

Brings hosts, propagators, policy and registry together. May import all of these; knows no
RQ: a job is anything with an ``id`` and a ``snapshot``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from inspect import iscoroutine
from typing import Any, Final, Protocol, cast

from werkzeug.local import LocalProxy

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.coroutines import run_coroutine
from ctxjobs.errors import (
    ContextError,
    HopLimitError,
    SnapshotTooLargeError,
    UnboundJobError,
    UnencodableValueError,
    ValueLimitError,
)
from ctxjobs.hosts import Active, ContextStack, context_vars, run_clean
from ctxjobs.hosts.environ import content_type, read_environ
from ctxjobs.policy import Capture
from ctxjobs.propagators import propagated_scopes, take_propagated
from ctxjobs.registry import BoundApp, choose_app, registry
from ctxjobs.snapshot import Lineage, RequestData, Snapshot, Trigger

_log = logging.getLogger("ctxjobs")


class RunningJob(Protocol):
    """A job, as far as its contexts need it."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def snapshot(self) -> Snapshot | None:
        """What it was enqueued in; None for a plain RQ job."""
        ...


_cv_job: ContextVar[RunningJob] = ContextVar("ctxjobs.current_job")

#: The job that runs now: RQ's Job object. Unlike RQ's own, it follows asyncio tasks.
current_job: Final = cast(
    "Any",
    LocalProxy(
        _cv_job,
        unbound_message="Working outside of a job.\n\ncurrent_job is only set while a worker runs a job. "
        "Test with 'if current_job:' where the same code also runs in a request.",
    ),
)


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
    encoded: bytes
    max_age_s: float | None


# --- capture -------------------------------------------------------------------------------


def capture(policy: Capture | None = None) -> Snapshot:
    """Take a snapshot of the active contexts.

    Args:
        policy: What to take; None means the app's own policy.

    Returns:
        The snapshot; it shares nothing with the contexts.

    Raises:
        UnboundJobError: No context of an app with ctxjobs is active.
        UnencodableValueError: A value that the policy names does not encode; has its path.
        ValueLimitError: It is nested too deeply.
        SnapshotTooLargeError: The snapshot takes more than the app's limit.
        HopLimitError: Jobs enqueue jobs, too many deep.
        ConfigError: The policy names a propagator that the app does not use.
    """
    return prepare(None, policy, "ctxjobs.capture()").snapshot


def prepare(apps: Mapping[str, BoundApp] | None, policy: Capture | None, function: str) -> Prepared:
    """Capture for a job of *function*, in the app of *apps* that is active.

    Args:
        apps: The apps that the job is bound to; None for an unbound job, which takes any active app.
        policy: What to take; None means the app's own policy.
        function: Dotted name of the job's function, for messages.

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
    snapshot = _take(app, active, policy)
    max_age_s = policy.max_age_s if policy.max_age_s is not None else app.settings.max_age_s
    return Prepared(app, *_encode(snapshot, policy, app.settings.snapshot_limit_bytes), max_age_s)


def _take(app: BoundApp, active: Active | None, policy: Capture) -> Snapshot:
    lineage = _lineage(app.settings.max_hops)
    if active is None:
        return Snapshot(app.id, trigger=_trigger(None), lineage=lineage)
    skipped: dict[str, str] = {}
    return Snapshot(
        app.id,
        trigger=_trigger(active),
        lineage=lineage,
        request=_take_request(app, active, policy, skipped) if policy.request else None,
        session=_take_session(app, active, policy) if policy.request else None,
        g=_take_g(app, active, policy, skipped),
        propagators=take_propagated(app.host, active, policy),
        skipped=skipped,
    )


def _take_request(
    app: BoundApp, active: Active, policy: Capture, skipped: dict[str, str]
) -> RequestData | None:
    environ = app.host.read_environ(active)
    if environ is None:
        return None
    taken = read_environ(environ, policy.headers)
    body = app.host.read_body(active, policy.body_bytes) if policy.body_bytes else None
    if body is not None:
        taken.update(content_type(environ))
    elif policy.body_bytes:
        skipped["request.body"] = (
            f"it takes more than {policy.body_bytes} bytes, has no length, or was read as a form before"
        )
    endpoint, rule = app.host.read_route(active)
    return RequestData(taken, endpoint, rule, body)


def _take_session(app: BoundApp, active: Active, policy: Capture) -> dict[str, Primitive] | None:
    values = app.host.read_session(active, policy.session)
    if values is None:
        return None
    return {name: codec.encode(value, f"session[{name!r}]") for name, value in values.items()}


def _take_g(app: BoundApp, active: Active, policy: Capture, skipped: dict[str, str]) -> dict[str, Primitive]:
    taken: dict[str, Primitive] = {}
    for name, value in app.host.read_g(active).items():
        if not policy.takes_g(name, value):
            continue
        try:
            taken[name] = codec.encode(value, f"g.{name}")
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
            if (size := len(codec.dumps(value))) > limit_bytes
        }
        if policy.g_is_named or not large:
            raise
    reasons = {
        f"g.{name}": f"it takes {size} bytes, the limit is {limit_bytes}" for name, size in large.items()
    }
    rest = {name: value for name, value in snapshot.g.items() if name not in large}
    snapshot = replace(snapshot, g=rest, skipped={**snapshot.skipped, **reasons})
    return snapshot, snapshot.to_bytes(limit_bytes)


def _lineage(max_hops: int) -> Lineage:
    job = _cv_job.get(None)
    if job is None or job.snapshot is None:
        return Lineage()
    lineage = job.snapshot.lineage.child_of(job.id)
    if lineage.hop > max_hops:
        raise HopLimitError(job.id, lineage.hop, max_hops)
    return lineage


def _trigger(active: Active | None) -> Trigger:
    if _cv_job.get(None) is not None:
        return "job"
    if active is not None and active.request_context is not None:
        return "request"
    click = sys.modules.get("click")
    return "cli" if click is not None and click.get_current_context(silent=True) else "code"


# --- restore -------------------------------------------------------------------------------


def restore(snapshot: Snapshot) -> ContextStack:
    """Re-enter the contexts of *snapshot*: ``with restore(snapshot): ...``.

    Args:
        snapshot: What :func:`capture` returned.

    Returns:
        A context manager; its exit runs the teardown functions, with the block's exception.

    Raises:
        ContextError: The snapshot's app is not bound in this process.
        TeardownError: At the block's end: the block succeeded, and teardown functions raised.
    """
    app = registry.apps.get(snapshot.app_id)
    if app is None:
        raise ContextError(
            f"App {snapshot.app_id!r} is not bound in this process. Import it, and call CtxJobs(app)."
        )
    return ContextStack(app.host, snapshot, scopes=partial(propagated_scopes, app.host, snapshot))


def run_in_context(snapshot: Snapshot, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call *func* inside the contexts of *snapshot*, and of nothing else.

    Args:
        snapshot: What :func:`capture` returned.
        func: A function or a coroutine function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Returns:
        What it returns.

    Raises:
        ContextError: The snapshot's app is not bound in this process.
        TeardownError: It returned, and teardown functions raised.
    """
    return _run(snapshot, None, lambda: func(*args, **kwargs))


def run_job(job: RunningJob, snapshot: Snapshot, call: Callable[[], Any]) -> Any:
    """Make *call* for *job* inside the contexts of *snapshot*, with :data:`current_job` set.

    Args:
        job: The job.
        snapshot: What to restore.
        call: What to run; a coroutine that it returns is run inside the contexts, too.

    Raises:
        TeardownError: It returned, and teardown functions raised.
    """
    return _run(snapshot, job, call)


def _run(snapshot: Snapshot, job: RunningJob | None, call: Callable[[], Any]) -> Any:
    stack = restore(snapshot)

    def inside() -> Any:
        if job is not None:
            _cv_job.set(job)
        with stack:
            result = call()
            return run_coroutine(result) if iscoroutine(result) else result

    try:
        return run_clean((*context_vars(), _cv_job), inside)
    finally:
        for leak in stack.leaks:
            _log.warning("job %s: %s", "-" if job is None else job.id, leak)
