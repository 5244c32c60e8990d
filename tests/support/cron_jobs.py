"""The app ``chores``, and functions for cron."""

from __future__ import annotations

from rq import get_current_job

from ctxjobs import App, CtxJobs, current_app, current_job, has_request_context, job

RAN = "ran"

jobs = CtxJobs()


def create_app(**config: object) -> App:
    app = App(__name__)
    app.config.update({"SECRET_KEY": "k1", "CTXJOBS_APP_ID": "chores", **config})
    jobs.init_app(app)
    return app


@jobs.job(timeout=33, result_ttl=77, queue="never")
def tidy(room: str = "all") -> str:
    """Say what of the context is there."""
    said = f"{room} {current_app.name} {current_job.snapshot.trigger} {has_request_context()}"
    current_job.connection.rpush(RAN, said)
    return said


@job
def free() -> str:
    return current_app.name


@jobs.job(job_id="only-one", unique=True)
def only_one() -> None: ...


def plain() -> None:
    get_current_job().connection.rpush(RAN, "plain")
