"""The matrix on the Flask host."""

from __future__ import annotations

from typing import Any

import flask
from support.matrix import jobs, web

import ctxjobs

bound = ctxjobs.CtxJobs()


def create_app(redis_url: str | None = None) -> flask.Flask:
    """Make the app; *redis_url* None leaves it to the environment."""
    app = flask.Flask(__name__)
    web.configure(app, redis_url)
    bound.init_app(app)
    web.add_views(app, flask)
    return app


@bound.job
def report(label: str = "") -> dict[str, Any]:
    """As :func:`jobs.report`, bound to this app."""
    return jobs.look(label)
