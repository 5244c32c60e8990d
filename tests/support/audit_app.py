"""An app of either host, and a job that reads one of two names, and one that its policy does not list."""

from __future__ import annotations

from typing import Any

import rq
from support.both_hosts import WEBS

import ctxjobs


@ctxjobs.job
def read_some(host: str) -> Any:
    module = WEBS[host].module
    return module.g.tenant, module.session.get("cart"), module.request.path


def note_success(job: Any, connection: Any, result: Any) -> None:
    """A callback, which reads a name, too."""
    for web in WEBS.values():
        if web.module.has_app_context():
            web.g.get("locale")


def create_app(host: str, **config: Any) -> Any:
    """An app whose only view enqueues the job; every run is audited."""
    web = WEBS[host]
    app = web.App("audited")
    app.config.update({"SECRET_KEY": "k" * 32, "CTXJOBS_AUDIT": 1, **config})

    def enqueue() -> str:
        web.g.tenant, web.g.locale, web.g.unused = "SECRET", "SECRET", "SECRET"
        web.module.session["cart"] = ["SECRET"]
        return str(read_some.options(on_success=rq.Callback(note_success)).enqueue(host).id)

    app.add_url_rule("/", "index", enqueue)
    ctxjobs.CtxJobs(app)
    return app
