"""RQ's command line beside ``ctxjobs worker``: what it shows, and what it does to our jobs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Worker
from support import depot
from support.rq_beside import let_go, run_one_child, start_holding
from support.waiting import wait_until
from support.worker_process import WorkerProcess
from support.working import status

Rq = Callable[..., str]


@pytest.fixture
def worker(redis_url: str, redis_connection: Redis, tmp_path: Path) -> Iterator[WorkerProcess]:
    """``ctxjobs worker`` with one child, which waits for jobs."""
    with run_one_child(tmp_path / "log", redis_connection, redis_url) as worker:
        yield worker


@pytest.fixture
def rq(redis_url: str) -> Rq:
    """Run one of RQ's commands to its end; what it printed."""

    def run(command: str, *args: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "rq.cli", command, "--url", redis_url, *args],
            capture_output=True,
            check=True,
            text=True,
            timeout=30,
        ).stdout

    return run


@pytest.mark.usefixtures("worker")
def test_info(redis_connection: Redis, rq: Rq) -> None:
    """``rq info`` lists a child with its process, state, queues and counts, and the job that it runs."""
    [child] = Worker.all(redis_connection)
    name = f"worker {child.name} ({child.hostname} {child.ip_address} {child.pid})"
    wait_until(lambda: f"{name} idle default. jobs: 0 finished, 0 failed" in rq("info", "--raw"), what="idle")
    start_holding(redis_connection, "long")
    lines = rq("info", "--raw").splitlines()
    assert f"{name} busy default. jobs: 0 finished, 0 failed" in lines
    assert "queue default 0, 1 executing, 0 finished, 0 failed" in lines
    let_go(redis_connection, "long")
    wait_until(lambda: "jobs: 1 finished, 0 failed" in rq("info", "--raw"), what="the job is counted")


@pytest.mark.usefixtures("worker")
def test_requeue(redis_connection: Redis, rq: Rq) -> None:
    """``rq requeue`` runs a failed job once more, from the envelope that it was born with."""
    job = depot.fail.enqueue("again")
    wait_until(lambda: status(redis_connection, job.id) == "failed", what="it fails")
    rq("requeue", "--queue", "default", job.id)
    wait_until(lambda: depot.ran(redis_connection) == ["again", "again"], what="it runs again")
    wait_until(lambda: status(redis_connection, job.id) == "failed", what="it fails again")
    assert len(job.results()) == 2


@pytest.mark.usefixtures("worker")
def test_suspend_and_resume(redis_connection: Redis, rq: Rq) -> None:
    """``rq suspend`` stops our children after their jobs, and shows it; ``rq resume`` starts them again."""
    start_holding(redis_connection, "first")
    rq("suspend")
    second = depot.note.enqueue("second")
    let_go(redis_connection, "first")
    wait_until(lambda: "suspended" in rq("info", "--raw"), what="the child is suspended")
    assert (status(redis_connection, second.id), redis_connection.llen("rq:queue:default")) == ("queued", 1)
    rq("resume")
    wait_until(lambda: "second" in depot.ran(redis_connection), what="the job runs")


@pytest.mark.usefixtures("worker")
def test_suspend_a_waiting_child(redis_connection: Redis, rq: Rq) -> None:
    """A child that waits for jobs when workers are suspended takes none that comes then."""
    rq("suspend")
    job = depot.note.enqueue("late")
    wait_until(lambda: "suspended" in rq("info", "--raw"), what="the child is suspended")
    assert (status(redis_connection, job.id), redis_connection.llen("rq:queue:default")) == ("queued", 1)
    rq("resume")
    wait_until(lambda: "late" in depot.ran(redis_connection), what="the job runs")


@pytest.mark.usefixtures("worker")
def test_empty(redis_connection: Redis, rq: Rq) -> None:
    """``rq empty`` drops what waits, and neither the job that runs nor what comes later."""
    start_holding(redis_connection, "runs")
    dropped = [depot.note.enqueue("dropped") for _ in range(3)]
    rq("empty", "default")
    later = depot.note.enqueue("later")
    let_go(redis_connection, "runs")
    wait_until(lambda: status(redis_connection, later.id) == "finished", what="the next job runs")
    assert [status(redis_connection, job.id) for job in dropped] == ["(no job)"] * 3
    assert depot.ran(redis_connection) == ["runs starts", "runs ends", "later"]
