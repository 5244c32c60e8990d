"""What the native and the Flask app have in common, which is everything: settings, views, teardown.

Written against the names that both frameworks have. A view does what the test that makes the request
has put into ``app.extensions["matrix"]``; in a worker nothing is there, and no view runs.
"""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from support.matrix import seeing
from support.matrix.events import emit

from ctxjobs import Capture, current_job


def configure(app: Any, redis_url: str | None) -> None:
    """Give *app* its settings; in a worker the environment names Redis."""
    app.config.update(
        SECRET_KEY="a key for tests",
        CTXJOBS_APP_ID=f"matrix-{app.import_name.rpartition('.')[2]}",
        CTXJOBS_CAPTURE=Capture(session=seeing.SESSION_KEYS),
    )
    if redis_url is not None:
        app.config["CTXJOBS_REDIS_URL"] = redis_url
    seeing.APPS[app.config["CTXJOBS_APP_ID"]] = app


def add_views(app: Any, framework: Any) -> None:
    """Register views and functions around them, with the names of *framework*."""

    @app.before_request
    def identify() -> None:
        request, g = framework.request, framework.g
        framework.session.update(user=request.headers["X-User"], plan=("gold", 3), secret="stays")
        g.request_id = request.headers["X-Request-ID"]
        g.tenant = request.args["tenant"]
        g.when = datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc)
        g.price = Decimal("19.90")
        g.tags = ("new", {"rush"})
        g.connection = object()
        g._private = "stays"

    @app.route("/<lang>/orders/<int:order_id>", methods=["GET", "POST"])
    def order(lang: str, order_id: int) -> str:
        app.extensions["matrix"]()
        return f"{lang} {order_id}"

    @app.teardown_request
    def end_request(exc: BaseException | None) -> None:
        _report("teardown_request", exc)

    @app.teardown_appcontext
    def end_app_context(exc: BaseException | None) -> None:
        _report("teardown_appcontext", exc)


def _report(what: str, exc: BaseException | None) -> None:
    if current_job:
        emit(current_job.connection, current_job.id, what, error=None if exc is None else repr(exc))
