"""Restore: from a snapshot to contexts, and a call inside them.

May import hosts, propagators and the registry; knows no RQ: a job is anything with an id and a snapshot.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from inspect import iscoroutine
from typing import Any, Literal

from ctxjobs.coroutines import run_coroutine
from ctxjobs.errors import ContextError
from ctxjobs.hosts import ContextStack, Host, context_vars, pop_others, run_clean
from ctxjobs.hosts.misses import Misses
from ctxjobs.leaks import leaked
from ctxjobs.propagation.capturing import cv_prepared
from ctxjobs.propagation.overriding import filled
from ctxjobs.propagators import cleared_variables, propagated_scopes, scopes_around
from ctxjobs.references import Unloaded
from ctxjobs.registry import BoundApp, registry
from ctxjobs.running import RunningJob, cv_job
from ctxjobs.snapshot import Snapshot

_log = logging.getLogger("ctxjobs")

#: What a job does after its contexts were restored; each part may have a time limit of its own.
Phase = Literal["call", "teardown"]


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
    return _stack(snapshot, Misses(snapshot))


def system_snapshot(app_id: str) -> Snapshot:
    """What a job of the app runs in that was enqueued in no context at all: its system context.

    Raises:
        ContextError: The app is not bound in this process.
    """
    app = _bound(app_id)
    return filled(Snapshot(app_id), app, app.capture)


def _bound(app_id: str) -> BoundApp:
    app = registry.apps.get(app_id)
    if app is None:
        raise ContextError(f"App {app_id!r} is not bound in this process. Import it, and call CtxJobs(app).")
    return app


def _stack(snapshot: Snapshot, misses: Misses) -> ContextStack:
    app = _bound(snapshot.app_id)
    scopes = partial(_scopes, app.host, snapshot)
    around = partial(scopes_around, app.host)
    return ContextStack(app.host, snapshot, scopes=scopes, misses=misses, around=around)


def _scopes(host: Host, snapshot: Snapshot) -> Iterator[AbstractContextManager[Any]]:
    """Put back what propagators carry; then load what ``g`` refers to, as the user, for the tenant."""
    active = host.active()
    yield from propagated_scopes(host, snapshot)
    if active is None:
        return
    for name, value in host.read_g(active).items():
        if type(value) is Unloaded:
            hidden = f"g.{name}" in snapshot.hidden
            host.write_g(active, name, value.load(host.app, hidden))


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
    return _run(snapshot, None, lambda: func(*args, **kwargs), Misses(snapshot))


def run_job(
    job: RunningJob,
    snapshot: Snapshot,
    call: Callable[[], Any],
    misses: Misses | None = None,
    begin: Callable[[Phase], None] = lambda phase: None,
) -> Any:
    """Make *call* for *job* inside the contexts of *snapshot*, with :data:`current_job` set.

    Args:
        job: The job.
        snapshot: What to restore.
        call: What to run; a coroutine that it returns is run inside the contexts, too.
        misses: What the job is told of, and notes; None means no more than what was left out.
        begin: Told when the contexts are there and the call begins, and when teardown begins.

    Raises:
        TeardownError: It returned, and teardown functions raised.
    """
    return _run(snapshot, job, call, misses or Misses(snapshot, job.id), begin)


def _run(
    snapshot: Snapshot,
    job: RunningJob | None,
    call: Callable[[], Any],
    misses: Misses,
    begin: Callable[[Phase], None] = lambda phase: None,
) -> Any:
    stack = _stack(snapshot, misses)

    def inside() -> Any:
        if job is not None:
            cv_job.set(job)
        try:
            with stack:
                try:
                    begin("call")
                    result = call()
                    return run_coroutine(result, leaks) if iscoroutine(result) else result
                finally:
                    begin("teardown")
        finally:
            leaks.extend([*stack.leaks, *pop_others(variables)])

    leaks: list[str] = []
    variables = context_vars()
    try:
        return run_clean((*variables, *cleared_variables(snapshot), cv_job, cv_prepared), inside)
    finally:
        job_id = "-" if job is None else job.id
        if job is not None and leaks:
            job.leaks = [*job.leaks, *leaks]
        if leaks:
            leaked.send(job_id, left=leaks)
        for text in (*leaks, *stack.in_vain):
            _log.warning("job %s: %s", job_id, text)
