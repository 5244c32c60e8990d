"""Stock ``rq worker`` and ours on the same queues: they share the work, and clean up after each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import psutil
import pytest
import rq
from redis import Redis
from rq import Worker
from rq.job import Job
from support import depot
from support.rq_beside import let_go, start_holding, wait_for_silence
from support.waiting import wait_until
from support.worker_process import WorkerProcess, run_stock_worker, run_worker
from support.working import status, why_failed

Start = Callable[..., AbstractContextManager[WorkerProcess]]


@pytest.fixture
def connection(redis_url: str, redis_connection: Redis) -> Iterator[Redis]:
    """An empty Redis, and the app ``depot`` with its context active."""
    wait_for_silence(redis_connection)
    with depot.create_app(redis_url=redis_url).app_context():
        yield redis_connection


@pytest.fixture
def ours(redis_url: str, tmp_path: Path) -> Start:
    """Start ``ctxjobs worker``."""
    return partial(run_worker, tmp_path / "ours", "--allow-plain", "support.*", redis_url=redis_url)


@pytest.fixture
def stock(redis_url: str, tmp_path: Path) -> Start:
    """Start ``rq worker``."""
    return partial(run_stock_worker, tmp_path / "stock", redis_url=redis_url)


def who_ran(connection: Redis, job_ids: list[str]) -> set[str]:
    """The kinds of worker that have run these jobs; the name of a stock one is no host and process."""
    names = [connection.hget(f"rq:job:{job_id}", "worker_name") or b"" for job_id in job_ids]
    return {"ours" if b"." in name else "stock" for name in names if name}


def test_they_share_the_work(connection: Redis, ours: Start, stock: Start) -> None:
    """Both run jobs of ours and plain ones, of two queues, and each job runs once."""
    queues = ("urgent", "default")
    plain = {name: rq.Queue(name, connection=connection) for name in queues}
    names: list[str] = []
    jobs: dict[str, list[str]] = {"context": [], "plain": []}

    def enqueue_some() -> bool:
        """Some of each kind; whether both workers have run some of each by now."""
        for queue in queues:
            names.append(f"context {len(names)}")
            jobs["context"].append(depot.note.options(queue=queue).enqueue(names[-1]).id)
            names.append(f"plain {len(names)}")
            jobs["plain"].append(plain[queue].enqueue(depot.plain, names[-1]).id)
        return all(len(who_ran(connection, job_ids)) == 2 for job_ids in jobs.values())

    with ours("-c", "2", *queues), stock(*queues):
        wait_until(lambda: Worker.count(connection) == 3, what="all workers are there")
        wait_until(enqueue_some, what="both have run some of each")
        wait_until(lambda: len(depot.ran(connection)) >= len(names), what="all have run")
    assert sorted(depot.ran(connection)) == sorted(names)


def test_dependents_of_each_other(connection: Redis, ours: Start, stock: Start) -> None:
    """A job that depends on one that the other kind of worker runs is run after it."""
    first = depot.note.options(queue="for-stock").enqueue("first")
    second = depot.note.options(queue="for-ours", depends_on=first).enqueue("second")
    third = rq.Queue("for-stock", connection=connection).enqueue(depot.plain, "third", depends_on=second)
    with ours("for-ours"), stock("for-stock"):
        wait_until(lambda: status(connection, third.id) == "finished", what="all have run")
    assert depot.ran(connection) == ["first", "second", "third"]


def kill(worker: WorkerProcess) -> None:
    """End a worker with all its processes, as a machine that is switched off."""
    processes = [psutil.Process(worker.process.pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=10)


def let_time_pass(connection: Redis) -> None:
    """The signs of life of all jobs that are started are too old."""
    for member in connection.zrange("rq:wip:default", 0, -1):
        connection.zadd("rq:wip:default", {member: 1})
    connection.delete("rq:clean_registries:default")


def test_stock_cleans_up_after_ours(connection: Redis, ours: Start, stock: Start) -> None:
    """A job of ours that was killed with everything is found by a stock worker, which fails it."""
    with ours() as worker:
        job_id = start_holding(connection, "long")
        kill(worker)
    let_time_pass(connection)
    with stock("--burst") as worker:
        assert worker.exit_code() == 0
    assert status(connection, job_id) == "failed"
    assert "AbandonedJobError" in why_failed(connection, job_id)


def test_stock_retries_what_ours_has_left(connection: Redis, ours: Start, stock: Start) -> None:
    """Such a job that has a retry left is run again by a stock worker, in its context."""
    with ours() as worker:
        job = depot.hold.options(retry=rq.Retry(max=1)).enqueue("long")
        wait_until(lambda: depot.ran(connection) == ["long starts"], what="the job runs")
        kill(worker)
    let_time_pass(connection)
    with stock():
        wait_until(lambda: len(depot.ran(connection)) == 2, what="it runs again")
        let_go(connection, "long")
        wait_until(lambda: status(connection, job.id) == "finished", what="it finishes")


def test_ours_cleans_up_after_stock(connection: Redis, ours: Start, stock: Start) -> None:
    """A job that was killed with a stock worker is failed by ours, with its failure callback."""
    with stock() as worker:
        job = depot.hold.options(on_failure=rq.Callback(depot.on_any)).enqueue("long")
        wait_until(lambda: depot.ran(connection) == ["long starts"], what="the job runs")
        kill(worker)
    let_time_pass(connection)
    with ours():
        wait_until(lambda: status(connection, job.id) == "failed", what="it fails")
    assert "AbandonedJobError" in why_failed(connection, job.id)
    assert depot.ran(connection) == ["long starts", f"callback {job.id}"]


def test_ours_retries_what_stock_has_left(connection: Redis, ours: Start, stock: Start) -> None:
    """Such a job that has a retry left is run again by ours."""
    with stock() as worker:
        job = depot.hold.options(retry=rq.Retry(max=1)).enqueue("long")
        wait_until(lambda: depot.ran(connection) == ["long starts"], what="the job runs")
        kill(worker)
    let_time_pass(connection)
    with ours():
        wait_until(lambda: len(depot.ran(connection)) == 2, what="it runs again")
        let_go(connection, "long")
        wait_until(lambda: status(connection, job.id) == "finished", what="it finishes")


def test_ours_empties_the_intermediate_queue(connection: Redis, ours: Start) -> None:
    """A job that a stock worker had taken and not started when it was killed is failed by ours, as by RQ."""
    job: Job = depot.note.enqueue("taken")
    connection.lmove("rq:queue:default", "rq:queue:default:intermediate")
    connection.set(f"rq:queue:default:intermediate:first_seen:{job.id}", 1)
    with ours():
        wait_until(lambda: not connection.llen("rq:queue:default:intermediate"), what="it is out of there")
    assert status(connection, job.id) == "failed"
    assert "stuck in intermediate queue" in why_failed(connection, job.id)
