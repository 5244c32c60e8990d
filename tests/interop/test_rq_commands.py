"""RQ's commands to workers, sent to children of ``ctxjobs worker``: stop-job, kill-horse, shutdown."""

from __future__ import annotations

import signal
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
from support.rq_beside import enqueue_batch, let_go, run_one_child, start_holding
from support.waiting import wait_until
from support.worker_process import WorkerProcess, run_stock_worker
from support.working import status, why_failed


@pytest.fixture
def worker(redis_url: str, redis_connection: Redis, tmp_path: Path) -> Iterator[WorkerProcess]:
    """``ctxjobs worker`` with one child, which waits for jobs."""
    with run_one_child(tmp_path / "log", redis_connection, redis_url) as worker:
        yield worker


@pytest.fixture(params=[(), ("--isolate",)], ids=["", "isolate"])
def either(
    request: pytest.FixtureRequest, redis_url: str, redis_connection: Redis, tmp_path: Path
) -> Iterator[None]:
    """The same, without and with a process for each job."""
    with run_one_child(tmp_path / "log", redis_connection, redis_url, *request.param):
        yield


def child_of(connection: Redis) -> str:
    [name] = [worker.name for worker in Worker.all(connection)]
    return name


def enqueue_next(connection: Redis) -> None:
    """A job that comes next is run: the worker goes on."""
    depot.note.enqueue("next")
    wait_until(lambda: "next" in depot.ran(connection), what="the next job runs")


@pytest.mark.usefixtures("either")
def test_stop_job(redis_connection: Redis) -> None:
    """stop-job ends the running job as stopped, without its retries, and with its stopped callback only."""
    callback = rq.Callback(depot.on_any)
    job = depot.hold.options(retry=rq.Retry(max=3), on_stopped=callback, on_failure=callback).enqueue("long")
    wait_until(lambda: "long starts" in depot.ran(redis_connection), what="the job runs")
    send_stop_job_command(redis_connection, job.id)
    wait_until(lambda: status(redis_connection, job.id) == "stopped", what="it is stopped")
    enqueue_next(redis_connection)
    assert depot.ran(redis_connection) == ["long starts", f"callback {job.id}", "next"]


@pytest.mark.usefixtures("either")
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
    names = enqueue_batch(redis_connection)
    wait_until(lambda: status(redis_connection, "job-45") == "started", what="it counts as started")
    send_stop_job_command(redis_connection, "job-45")
    wait_until(lambda: status(redis_connection, "job-45") == "stopped", what="it is stopped")
    wait_until(lambda: "59" in depot.ran(redis_connection), what="the others run")
    assert sorted(depot.ran(redis_connection)) == sorted([*names[:45], "45 starts", *names[46:]])


@pytest.mark.usefixtures("worker")
def test_before_a_job_that_turned_out_long(redis_connection: Redis) -> None:
    """What ran before it in the same batch is reported while it runs, and RQ sees that it runs."""
    enqueue_batch(redis_connection)
    before = [f"job-{number}" for number in range(30, 45)]
    wait_until(
        lambda: {status(redis_connection, job_id) for job_id in before} == {"finished"},
        what="all are reported",
    )
    wait_until(lambda: status(redis_connection, "job-45") == "started", what="it counts as started")
    [child] = Worker.all(redis_connection)
    assert (child.get_state(), child.get_current_job_id()) == ("busy", "job-45")
    let_go(redis_connection, "45")


def test_shutdown(worker: WorkerProcess, redis_connection: Redis) -> None:
    """shutdown lets the child finish its job and end, and takes no other; the last one ends the worker."""
    start_holding(redis_connection, "long")
    waits = depot.note.enqueue("waits")
    send_shutdown_command(redis_connection, child_of(redis_connection))
    worker.wait_for_log("is shut down by a command")
    let_go(redis_connection, "long")
    assert worker.exit_code() == 0
    assert (status(redis_connection, waits.id), Worker.count(redis_connection)) == ("queued", 0)


def test_shutdown_where_ctrl_c_is_ignored(redis_url: str, redis_connection: Redis, tmp_path: Path) -> None:
    """Our worker class by itself ends, too, where a shell has SIGINT ignored, by which RQ shuts it down."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the processes that are started will have it
    try:
        ours = ("--worker-class", "ctxjobs_worker.worker.Worker", "default")
        with run_stock_worker(tmp_path / "log", *ours, redis_url=redis_url) as worker:
            worker.wait_for_log("*** Listening on default")
            wait_until(lambda: redis_connection.pubsub_channels("rq:pubsub:*"), what="it hears commands")
            send_shutdown_command(redis_connection, child_of(redis_connection))
            assert worker.exit_code() == 0
    finally:
        signal.signal(signal.SIGINT, before)
