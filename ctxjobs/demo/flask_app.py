"""A shop of several tenants on Flask: its views give slow work to jobs.

From its first import on, the same as ``native_app``, with Flask's app, proxies and nothing else of Flask.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

from flask import Flask, current_app, g, request, session
from rq import Retry
from werkzeug.exceptions import abort

from ctxjobs import Capture, ContextJob, CtxJobs, current_job
from ctxjobs.demo.journal import Journal
from ctxjobs.demo.outcomes import read_status
from ctxjobs.demo.page import render_page

jobs = CtxJobs()


def create_app() -> Flask:
    """Make the app; also for ``ctxjobs worker --app ctxjobs.demo.flask_app:create_app()``."""
    app = Flask(__name__)
    app.config.update(
        SECRET_KEY=os.environ.get("DEMO_SECRET_KEY", "for-development-only"),
        CTXJOBS_APP_ID="demo",
        CTXJOBS_CAPTURE=Capture(session=("user",)),
    )
    jobs.init_app(app)

    journal = app.extensions["journal"] = Journal(os.environ["CTXJOBS_REDIS_URL"])
    app.before_request(identify)
    app.teardown_appcontext(journal.close_context)
    app.add_url_rule("/", view_func=index)
    app.add_url_rule(
        f"/orders/<int:order_id>/<any({','.join(ACTIONS)}):action>", view_func=order, methods=["POST"]
    )
    app.add_url_rule("/jobs/<job_id>", view_func=job_status)
    return app


def identify() -> None:
    """Before each request: who asks, for whom, and in which language. It does not run in jobs."""
    g.tenant = request.headers.get("X-Tenant", "acme")
    g.user = request.headers.get("X-User", "guest")
    g.locale = request.accept_languages.best_match(["en", "de", "fr"], "en")
    g.request_id = request.headers.get("X-Request-ID") or uuid4().hex[:8]
    session["user"] = g.user


def look() -> dict[str, Any]:
    """What code sees that runs here, be it a view or a job."""
    seen = {
        "tenant": g.tenant,
        "user": g.user,
        "locale": g.locale,
        "request_id": g.request_id,
        "path": request.path,
        "session_user": session.get("user"),
        "app": current_app.name,
        "job": current_job.id if current_job else None,
    }
    current_app.extensions["journal"].write(seen, g)
    return seen


# --- jobs ----------------------------------------------------------------------------------


@jobs.job
def send_receipt(order_id: int) -> dict[str, Any]:
    """A plain job."""
    return look()


@jobs.job
def split_order(order_id: int) -> dict[str, Any]:
    """A job that enqueues another one, which sees the same as it does."""
    return {**look(), "enqueued": send_receipt.enqueue(order_id).id}


@jobs.job
def charge_card(order_id: int) -> None:
    """A job that fails: its teardown functions get the exception."""
    look()
    raise PermissionError(f"The card for order {order_id} was declined.")


@jobs.job(retry=Retry(max=1))
def reserve_stock(order_id: int) -> dict[str, Any]:
    """A job that fails at first, and succeeds when it is run again, in the same contexts."""
    seen = look()
    if current_job.retries_left:
        raise BlockingIOError(f"The stock for order {order_id} is locked.")
    return seen


@jobs.job
async def fetch_rates(order_id: int) -> dict[str, Any]:
    """An ``async def`` job: the contexts are active across ``await``."""
    await asyncio.sleep(0.01)
    return look()


@jobs.job
def send_reminder(order_id: int) -> dict[str, Any]:
    """A job that is enqueued for later."""
    return look()


# --- views ---------------------------------------------------------------------------------

ACTIONS: dict[str, Callable[[int], ContextJob]] = {
    "receipt": send_receipt.enqueue,
    "split": split_order.enqueue,
    "charge": charge_card.enqueue,
    "reserve": reserve_stock.enqueue,
    "rates": fetch_rates.enqueue,
    "remind": partial(send_reminder.enqueue_in, 1),
}


def order(order_id: int, action: str) -> Any:
    """Give *action* of an order to a job; answer with what this view saw."""
    job = ACTIONS[action](order_id)
    seen = {**look(), "job": job.id}
    current_app.extensions["journal"].write_view(job.func_name, seen)
    return {"job": job.id, "function": job.func_name, "seen": seen}, 202


def job_status(job_id: str) -> Any:
    """How a job is getting on, and what it returned."""
    job = jobs.queue().fetch_job(job_id)
    return abort(404) if job is None else read_status(job)


def index() -> str:
    """The page for a browser: buttons that enqueue, and what became of it."""
    return render_page(current_app.name, jobs.queue(), current_app.extensions["journal"])
