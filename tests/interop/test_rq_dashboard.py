"""rq-dashboard 0.9 beside ``ctxjobs worker``: it shows our children and our jobs, and requeues them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from support import depot
from support.dashboard import dashboard_app
from support.rq_beside import let_go, run_one_child, start_holding
from support.waiting import wait_until
from support.working import status


@pytest.fixture
def dashboard(redis_url: str, redis_connection: Redis, tmp_path: Path) -> Iterator[FlaskClient]:
    """A client of the dashboard, while ``ctxjobs worker`` with one child waits for jobs."""
    with run_one_child(tmp_path / "log", redis_connection, redis_url):
        yield dashboard_app(redis_url).test_client()


def data(dashboard: FlaskClient, what: str) -> Any:
    response = dashboard.get(f"/rq/0/data/{what}.json")
    assert response.status_code == 200, response.text
    return response.json


def test_workers(dashboard: FlaskClient, redis_connection: Redis) -> None:
    """It shows a child as a worker, and the job that this runs."""
    job_id = start_holding(redis_connection, "long")
    [worker] = data(dashboard, "workers")["workers"]
    assert (worker["queues"], worker["state"]) == (["default"], "busy")
    assert worker["current_job"]["job_id"] == job_id
    let_go(redis_connection, "long")


def test_queues(dashboard: FlaskClient, redis_connection: Redis) -> None:
    """It counts the jobs of a queue in all registries."""
    start_holding(redis_connection, "long")
    depot.note.enqueue("waits")
    [queue] = data(dashboard, "queues")["queues"]
    assert (queue["name"], queue["count"], queue["started_job_registry_count"]) == ("default", 1, 1)
    let_go(redis_connection, "long")


def test_job(dashboard: FlaskClient, redis_connection: Redis) -> None:
    """It shows a job of ours with its call and its traceback, and requeues it."""
    job = depot.fail.enqueue("again")
    wait_until(lambda: status(redis_connection, job.id) == "failed", what="it fails")
    [listed] = data(dashboard, "jobs/default/failed/8/asc/1")["jobs"]
    shown = data(dashboard, f"job/{job.id}")
    assert (listed["id"], shown["status"]) == (job.id, "failed")
    assert "ValueError: the job failed" in shown["exc_info"]
    dashboard.post(f"/rq/job/{job.id}/requeue")
    wait_until(lambda: depot.ran(redis_connection) == ["again", "again"], what="it runs again")


def test_pages(dashboard: FlaskClient, redis_connection: Redis) -> None:
    """Its pages answer while there are a job and a worker of ours."""
    job_id = start_holding(redis_connection, "long")
    pages = ("", "0/view/workers", "0/view/jobs/default/started/8/asc/1", f"0/view/job/{job_id}")
    assert [dashboard.get(f"/rq/{page}").status_code for page in pages] == [200] * 4
    let_go(redis_connection, "long")
