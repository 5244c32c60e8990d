"""ctxjobs: background jobs that run in the context that enqueued them.

The names below are the public ones. Those that only tests or a command line need are loaded on
first use, so that a web process that imports ctxjobs pays for nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ctxjobs.audit import Audit, smallest_policy
from ctxjobs.errors import (
    CallerError,
    ContextError,
    ContextPopError,
    CtxJobsError,
    DeploymentError,
    JobRefusedError,
    NotCapturedError,
    StoredDataError,
    TeardownError,
)
from ctxjobs.extension import CtxJobs
from ctxjobs.jobs import JobFunction, job
from ctxjobs.native import signals
from ctxjobs.native.app import App
from ctxjobs.native.globals import app_ctx, current_app, g, request, request_ctx, session
from ctxjobs.native.helpers import (
    after_this_request,
    copy_current_request_context,
    flash,
    get_flashed_messages,
    has_app_context,
    has_request_context,
    stream_with_context,
    url_for,
)
from ctxjobs.native.sessions import SecureCookieSessionInterface, SessionInterface
from ctxjobs.native.wrappers import Request, Response
from ctxjobs.override import Override
from ctxjobs.policy import SAFE_HEADERS, Capture, Default
from ctxjobs.propagation import capture, current_job, restore, run_in_context
from ctxjobs.propagators import register_propagator
from ctxjobs.references import register_model
from ctxjobs.rqjob import ContextJob, Queue
from ctxjobs.snapshot import Snapshot

if TYPE_CHECKING:
    from ctxjobs.executor import ContextExecutor
    from ctxjobs.native.cli import AppGroup, ScriptInfo, with_appcontext
    from ctxjobs.native.testing import AppClient, AppCliRunner, EnvironBuilder

#: Public names that resolve on first use (PEP 562), and where they live.
_LAZY = {
    "AppCliRunner": "ctxjobs.native.testing",
    "AppClient": "ctxjobs.native.testing",
    "AppGroup": "ctxjobs.native.cli",
    "ContextExecutor": "ctxjobs.executor",
    "EnvironBuilder": "ctxjobs.native.testing",
    "ScriptInfo": "ctxjobs.native.cli",
    "with_appcontext": "ctxjobs.native.cli",
}

__all__ = [
    "SAFE_HEADERS",
    "App",
    "AppCliRunner",
    "AppClient",
    "AppGroup",
    "Audit",
    "CallerError",
    "Capture",
    "ContextError",
    "ContextExecutor",
    "ContextJob",
    "ContextPopError",
    "CtxJobs",
    "CtxJobsError",
    "Default",
    "DeploymentError",
    "EnvironBuilder",
    "JobFunction",
    "JobRefusedError",
    "NotCapturedError",
    "Override",
    "Queue",
    "Request",
    "Response",
    "ScriptInfo",
    "SecureCookieSessionInterface",
    "SessionInterface",
    "Snapshot",
    "StoredDataError",
    "TeardownError",
    "after_this_request",
    "app_ctx",
    "capture",
    "copy_current_request_context",
    "current_app",
    "current_job",
    "flash",
    "g",
    "get_flashed_messages",
    "has_app_context",
    "has_request_context",
    "job",
    "register_model",
    "register_propagator",
    "request",
    "request_ctx",
    "restore",
    "run_in_context",
    "session",
    "signals",
    "smallest_policy",
    "stream_with_context",
    "url_for",
    "with_appcontext",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
