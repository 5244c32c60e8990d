"""RQ's commands to workers, sent to children of ``ctxjobs worker``: stop-job, kill-horse, shutdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import rq
from redis import Redis
from rq import Worker
from rq.command import (
    send_command,
    send_kill_horse_command,
    send_shutdown_command,
    send_stop_job_command,
)
from support import depot
from support.rq_beside import let_go, run_one_child, start_holding
from support.waiting import wait_until
from support.worker_process import WorkerProcess
from support.working import status, why_failed


@pytest.fixture(params=["", "--isolate"])
def worker(
    request: pytest.FixtureRequest, redis_url: str, redis_connection: Redis, tmp_path: Path
) -> Iterator[WorkerProcess]:
    """``ctxjobs worker`` with one child, which waits for jobs."""
    options = [request.param] if request.param else []
    with run_one_child(tmp_path / "log", redis_connection, redis_url, *options) as worker:
        yield worker


def child_of(connection: Redis) -> str:
    [name] = [worker.name for worker in Worker.all(connection)]
    return name


def enqueue_next(connection: Redis) -> None:
    """A job that comes next is run: the worker goes on."""
    depot.note.enqueue("next")
    wait_until(lambda: "next" in depot.ran(connection), what="the next job runs")


@pytest.mark.usefixtures("worker")
def test_stop_job(redis_connection: Redis) -> None:
    """stop-job ends the running job as stopped, without its retries, and with its stopped callback only."""
    callback = rq.Callback(depot.on_any)
    job = depot.hold.options(retry=rq.Retry(max=3), on_stopped=callback, on_failure=callback).enqueue("long")
    wait_until(lambda: "long starts" in depot.ran(redis_connection), what="the job runs")
    send_stop_job_command(redis_connection, job.id)
    wait_until(lambda: status(redis_connection, job.id) == "stopped", what="it is stopped")
    enqueue_next(redis_connection)
    assert depot.ran(redis_connection) == ["long starts", f"callback {job.id}", "next"]


@pytest.mark.usefixtures("worker")
def test_kill_horse(redis_connection: Redis) -> None:
    """kill-horse fails the running job, and its reason says what has ended it."""
    job_id = start_holding(redis_connection, "long")
    send_kill_horse_command(redis_connection, child_of(redis_connection))
    wait_until(lambda: status(redis_connection, job_id) == "failed", what="it fails")
    assert "killed by RQ's command kill-horse" in why_failed(redis_connection, job_id)
    enqueue_next(redis_connection)


@pytest.mark.usefixtures("worker")
def test_another_job(redis_connection: Redis) -> None:
    """stop-job for another job than the one that runs changes nothing."""
    job_id = start_holding(redis_connection, "long")
    child = child_of(redis_connection)
    send_command(redis_connection, child, "stop-job", job_id="another")
    send_command(redis_connection, child, "no-such-command")
    redis_connection.publish(f"rq:pubsub:{child}", "{")
    let_go(redis_connection, "long")
    wait_until(lambda: status(redis_connection, job_id) == "finished", what="it finishes")
    assert child_of(redis_connection) == child


def test_idle(worker: WorkerProcess, redis_connection: Redis) -> None:
    """stop-job and kill-horse leave a child alone that runs nothing."""
    child = child_of(redis_connection)
    send_command(redis_connection, child, "stop-job", job_id="another")
    worker.wait_for_log("stop-job is ignored")
    send_kill_horse_command(redis_connection, child)
    worker.wait_for_log("kill-horse is ignored")
    enqueue_next(redis_connection)
    assert child_of(redis_connection) == child


@pytest.mark.usefixtures("worker")
def test_in_the_middle_of_a_batch(redis_connection: Redis) -> None:
    """stop-job ends a job that turned out long among short ones, and all others run once."""
    first = [f"{number}" for number in range(30)]
    for name in first:
        depot.note_or_hold.enqueue(name, False)
    wait_until(lambda: len(depot.ran(redis_connection)) == len(first), what="the function is known")
    rest = [f"{number}" for number in range(30, 60)]
    jobs = [depot.note_or_hold.enqueue(name, name == "45") for name in rest]
    stopped = jobs[15]
    wait_until(lambda: status(redis_connection, stopped.id) == "started", what="it counts as started")
    send_stop_job_command(redis_connection, stopped.id)
    wait_until(lambda: status(redis_connection, stopped.id) == "stopped", what="it is stopped")
    wait_until(lambda: "59" in depot.ran(redis_connection), what="the others run")
    assert sorted(depot.ran(redis_connection)) == sorted([*first, *rest[:15], "45 starts", *rest[16:]])


def test_shutdown(worker: WorkerProcess, redis_connection: Redis) -> None:
    """shutdown lets the child finish its job and end, and takes no other; the last one ends the worker."""
    start_holding(redis_connection, "long")
    waits = depot.note.enqueue("waits")
    send_shutdown_command(redis_connection, child_of(redis_connection))
    worker.wait_for_log("is shut down by a command")
    let_go(redis_connection, "long")
    assert worker.exit_code() == 0
    assert (status(redis_connection, waits.id), Worker.count(redis_connection)) == ("queued", 0)
