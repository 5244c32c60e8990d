"""What code sees around itself, as plain values: the same function looks in a view and in a job.

Knows the two frameworks by the names that both of them have. Imports Flask never: it is there if the app
has imported it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar, Token
from typing import Any

import ctxjobs
import ctxjobs.native.globals
from ctxjobs import SAFE_HEADERS, current_job
from ctxjobs.logs import ContextFilter

#: The apps of this process by name, for the question whether ``current_app`` is the very one.
APPS: dict[str, Any] = {}
#: The names on ``g`` that the views set, and that travel.
G_NAMES = ("price", "request_id", "tags", "tenant", "when")
#: The session keys that travel.
SESSION_KEYS = ("plan", "user")
#: Set by the job that leaves everything behind.
STRAY: ContextVar[str] = ContextVar("stray", default="")


def active_framework() -> tuple[str, Any]:
    """The framework whose context is active, and its name; that there is exactly one is part of the test."""
    [item] = [item for item in _frameworks() if item[1].has_app_context()]
    return item


def see() -> dict[str, Any]:
    """What the code that calls this sees of its contexts."""
    name, framework = active_framework()
    app = framework.current_app._get_current_object()
    seen: dict[str, Any] = {
        "framework": name,
        "app": app.config["CTXJOBS_APP_ID"],
        "same_app": app is APPS[app.config["CTXJOBS_APP_ID"]],
        "g": {name: getattr(framework.g, name) for name in G_NAMES if name in framework.g},
    }
    if framework.has_request_context():
        seen.update(_see_request(framework))
    return seen


def _see_request(framework: Any) -> dict[str, Any]:
    request = framework.request
    return {
        "method": request.method,
        "path": request.path,
        "query": request.args.to_dict(flat=False),
        "url": request.url,
        "remote_addr": request.remote_addr,
        "headers": {name: request.headers.get(name) for name in SAFE_HEADERS},
        "rule": request.url_rule.rule,
        "endpoint": request.endpoint,
        "view_args": dict(request.view_args),
        "session": {key: framework.session[key] for key in SESSION_KEYS if key in framework.session},
        "relative_url": framework.url_for("order", lang="de", order_id=7),
        "external_url": framework.url_for("order", lang="de", order_id=7, _external=True),
    }


def surroundings() -> dict[str, Any]:
    """What only a job is asked: everything that is there, wanted or not."""
    found: dict[str, Any] = {"pid": os.getpid(), "stray": STRAY.get(), "contexts": {}, "log_ids": log_ids()}
    for name, framework in _frameworks():
        found["contexts"][name] = [_depth(variable) for variable in _variables(framework)]
        if framework.has_app_context():
            found["g_names"] = sorted(framework.g)
        if framework.has_request_context():
            found["header_names"] = sorted(framework.request.headers.keys())
            found["session_keys"] = sorted(framework.session)
    if current_job:
        lineage = current_job.snapshot.lineage
        found["trigger"] = current_job.snapshot.trigger
        found["lineage"] = (lineage.root, lineage.parent, lineage.hop)
    return found


def log_ids() -> tuple[str, str, str]:
    """Job, request and app of a line that is logged here."""
    record: Any = logging.makeLogRecord({"msg": "said"})
    ContextFilter().filter(record)
    return record.job_id, record.request_id, record.app_id


def is_anything_active() -> bool:
    """Whether any context of any framework is active."""
    return any(_depth(variable) for _, framework in _frameworks() for variable in _variables(framework))


def _frameworks() -> Iterator[tuple[str, Any]]:
    yield "native", ctxjobs
    if "flask" in sys.modules:
        yield "flask", sys.modules["flask"]


def _variables(framework: Any) -> tuple[ContextVar[Any], ContextVar[Any]]:
    variables = ctxjobs.native.globals if framework is ctxjobs else framework.globals
    return variables._cv_app, variables._cv_request


def _depth(variable: ContextVar[Any]) -> int:
    """How many contexts are on the stack that *variable* holds the top of."""
    depth, context = 0, variable.get(None)
    while context is not None:
        depth += 1
        tokens = getattr(context, "_tokens", None) or context._cv_tokens
        token = tokens[0][0] if isinstance(tokens[0], tuple) else tokens[0]
        context = None if token.old_value is Token.MISSING else token.old_value
    return depth
