"""A stock ``rq worker`` as it comes, without anything that prepares it for our jobs but CTXJOBS_APP."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import rq
from redis import Redis
from rq.job import JobStatus
from support.matrix import jobs
from support.matrix.events import read_events
from support.matrix.running import HOSTS
from support.matrix.seeing import see
from support.matrix.workers import run_process
from support.values import same

from ctxjobs import ContextJob

APPS = {host: f"support.matrix.{host}_app:create_app()" for host in HOSTS}


@pytest.fixture(params=HOSTS)
def app(request: pytest.FixtureRequest, redis_url: str, redis_connection: Redis) -> Iterator[Any]:
    """An app with its application context active, and an empty Redis."""
    app = importlib.import_module(f"support.matrix.{request.param}_app").create_app(redis_url)
    with app.app_context() as context:
        context.g.tenant = "t1"
        yield app


def host_of(app: Any) -> str:
    return str(app.config["CTXJOBS_APP_ID"]).removeprefix("matrix-").removesuffix("_app")


def run_stock_worker(redis_url: str, ctxjobs_app: str) -> str:
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", redis_url]
    return run_process(command, redis_url, CTXJOBS_APP=ctxjobs_app)


def test_contexts_are_restored(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """A job runs in the context that enqueued it when the worker has imported nothing before."""
    seen, job = see(), jobs.report.enqueue()
    run_stock_worker(redis_url, APPS[host_of(app)])
    assert same(ContextJob.fetch(job.id, redis_connection).return_value(), seen)


def test_teardown(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """Teardown functions run once, with the job's exception."""
    jobs.fail.enqueue("as it should")
    run_stock_worker(redis_url, APPS[host_of(app)])
    events = [(event["what"], event.get("error")) for event in read_events(redis_connection)]
    assert events == [("start", None), ("teardown_appcontext", "BoomError('as it should')")]


def test_without_an_app(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """Without CTXJOBS_APP a job fails before its function runs, and its reason says what to set."""
    job = jobs.report.enqueue()
    run_stock_worker(redis_url, "")
    result = ContextJob.fetch(job.id, redis_connection).latest_result()
    assert result is not None
    assert "CTXJOBS_APP: is not set, so job" in str(result.exc_string)
    assert read_events(redis_connection) == []


def test_with_the_app_of_somebody_else(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """With another app than the job's, the job fails before its function runs, and its reason names both."""
    job = jobs.report.enqueue()
    other = next(spec for host, spec in APPS.items() if host != host_of(app))
    run_stock_worker(redis_url, other)
    result = ContextJob.fetch(job.id, redis_connection).latest_result()
    assert result is not None
    assert f"belongs to app 'matrix-{host_of(app)}_app'; the apps loaded here" in str(result.exc_string)
    assert read_events(redis_connection) == []


def test_plain_jobs_beside_ours(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """Plain RQ jobs and ours share a queue and depend on each other, in both directions."""
    plain = rq.Queue(connection=redis_connection)
    first = plain.enqueue("os.getpid")
    ours = jobs.report.options(depends_on=first).enqueue()
    last = plain.enqueue("os.getpid", depends_on=ours)
    run_stock_worker(redis_url, APPS[host_of(app)])
    assert [job.get_status() for job in (first, ours, last)] == [JobStatus.FINISHED] * 3


def test_rq_reads_our_jobs(app: Any, redis_url: str, redis_connection: Redis) -> None:
    """RQ's own Job, as its tools use it, reads name, arguments, description and meta of a job of ours."""
    ours = jobs.report.options(meta={"by": "us"}).enqueue("argument")
    job = rq.job.Job.fetch(ours.id, redis_connection)
    assert (job.func_name, list(job.args), job.description, job.meta) == (
        "support.matrix.jobs.report",
        ["argument"],
        "support.matrix.jobs.report",
        {"by": "us"},
    )
