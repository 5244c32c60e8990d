"""A job function under a stock ``rq worker``: contexts and teardown around it, no more.

RQ has decoded the job and imported its function before anything here runs, so verification comes
after that; callbacks run without contexts. May import the floor of RQ's jobs; knows no worker of ours.
"""

from __future__ import annotations

import functools
import os
from typing import Any, Final, cast

from rq.defaults import DEFAULT_RESULT_TTL
from rq.job import Job, Retry

from ctxjobs import codec, rqcompat
from ctxjobs.errors import ConfigError
from ctxjobs.indexing import MARGIN_S
from ctxjobs.propagators import after_fork
from ctxjobs.registry import load_apps, registry
from ctxjobs.rqjob import ContextJob

#: The process that imported this, and perhaps an app; RQ's worker forks one for each job.
_PARENT_PID: Final = os.getpid()


def stored_job(path: str) -> Job | None:
    """The job that a stock RQ worker runs, if it is one of the function *path*."""
    stored = rqcompat.running_job()
    if stored is None or isinstance(stored, ContextJob) or stored.func_name != path:
        return None
    return stored


def run_stored(stored: Job) -> Any:
    """Run *stored* in its contexts, from what Redis holds and not from what RQ decoded."""
    _be_forked(os.getpid())
    if specs := os.environ.get("CTXJOBS_APP"):
        _load_once(specs)
    elif not registry.apps:
        raise ConfigError(
            "CTXJOBS_APP",
            f"is not set, so job {stored.id} cannot be given its contexts. Set it to the app "
            "(module:attribute or module:factory()) for this 'rq worker', or run 'ctxjobs worker --app'.",
        )
    own = cast("ContextJob", ContextJob.fetch(stored.id, connection=stored.connection))
    try:
        result = own.run()
    finally:
        stored.get_meta()  # RQ writes the meta of its own Job at a retry: with what the function has saved
    if isinstance(result, Retry):
        return result
    if not own.repeats_left and own.result_ttl != -1:  # RQ's own Job knows no index
        own.keep((own.result_ttl or DEFAULT_RESULT_TTL) + MARGIN_S)
    return codec.encode(result, "result")


@functools.cache
def _be_forked(pid: int) -> None:
    if pid != _PARENT_PID:
        after_fork(app.host for app in registry.apps.values())


@functools.cache
def _load_once(specs: str) -> None:
    load_apps(specs.split())
