"""Our worker with one child, and jobs that wait to be let go: for the tests beside RQ's tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from rq import Worker
from support import depot
from support.waiting import wait_until
from support.worker_process import WorkerProcess, run_worker


def wait_for_silence(connection: Redis) -> None:
    """Wait until no client waits for a job: one that the last test has killed would still be given one."""
    wait_until(lambda: connection.info("clients")["blocked_clients"] == 0, what="no client waits")


@contextmanager
def run_one_child(log_path: Path, connection: Redis, redis_url: str, *args: str) -> Iterator[WorkerProcess]:
    """Run ``ctxjobs worker``, and wait until its child is there; inside it, the app ``depot`` is active."""
    wait_for_silence(connection)
    with (
        depot.create_app(redis_url=redis_url).app_context(),
        run_worker(log_path, *args, redis_url=redis_url) as worker,
    ):
        wait_until(lambda: len(Worker.all(connection)) == 1, what="a child")
        yield worker


def start_holding(connection: Redis, name: str) -> str:
    """Enqueue a job that runs until it is let go, and wait until it runs; its id."""
    job = depot.hold.enqueue(name)
    wait_until(lambda: f"{name} starts" in depot.ran(connection), what="the job runs")
    return job.id


def enqueue_batch(connection: Redis) -> list[str]:
    """Enqueue jobs of one function, among them one that runs until it is let go; names of those around it.

    The function is known to be short by then, so a child takes several of its jobs at a time.
    """
    names = [str(number) for number in range(60)]
    for name in names[:30]:
        depot.note_or_hold.enqueue(name, False)
    wait_until(lambda: len(depot.ran(connection)) == 30, what="the function is known")
    calls = [(name, name == "45") for name in names[30:]]
    for name, holds in calls:
        depot.note_or_hold.options(job_id=f"job-{name}").enqueue(name, holds)
    return names


def let_go(connection: Redis, name: str) -> None:
    """Let that job end, and all that come after it."""
    connection.rpush("go", "x")
    wait_until(lambda: f"{name} ends" in depot.ran(connection), what="the job ends")
