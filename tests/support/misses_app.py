"""An app of either host, and a job that reads what its policy does not list."""

from __future__ import annotations

from typing import Any

from support.both_hosts import WEBS

import ctxjobs


@ctxjobs.job
def read_cart(host: str) -> Any:
    return WEBS[host].module.session["cart"]


def create_app(host: str) -> Any:
    """An app whose only view enqueues the job."""
    web = WEBS[host]
    app = web.App("misses")
    app.config.update({"SECRET_KEY": "k" * 32})

    def enqueue() -> str:
        web.module.session["cart"] = ["SECRET"]
        return str(read_cart.enqueue(host).id)

    app.add_url_rule("/", "index", enqueue)
    ctxjobs.CtxJobs(app)
    return app
