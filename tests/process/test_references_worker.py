"""Models that travel to another process: our worker, and a stock ``rq worker``; one database file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from rq.job import JobStatus
from support import stores
from support.matrix.workers import run_process
from support.stores import STORES, Store
from support.worker_process import run_worker

from ctxjobs import ContextJob
from ctxjobs.registry import registry

Run = Callable[[str], None]


@pytest.fixture(params=["ctxjobs worker", "rq worker"])
def run(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Run:
    """Runs a worker for an app until the queue is empty."""

    def run_ours(app: str) -> None:
        with run_worker(tmp_path / "log", "--burst", app=("--app", app), redis_url=redis_url) as worker:
            assert worker.exit_code(timeout_s=30) == 0

    def run_stock(app: str) -> None:
        command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--url", redis_url]
        run_process(command, redis_url, CTXJOBS_APP=app)

    return run_ours if request.param == "ctxjobs worker" else run_stock


def enqueue_and_delete(store: Store) -> list[Any]:
    """Jobs with a row that stays, and with one of each policy that is gone when they run."""
    store.base.metadata.create_all(store.engine())
    gone = [store.Order(id=2), store.Note(id=2), store.Voucher(id=2)]
    stays = store.Order(id=1)
    store.session.add_all([stays, *gone])
    store.session.commit()
    store.module.g.thing = [stays]
    jobs = [stores.tell_g.enqueue(), *(stores.tell_arguments.enqueue([one]) for one in [stays, *gone])]
    for one in gone:
        store.session.delete(one)
    store.session.commit()
    return jobs


@pytest.mark.parametrize("name", STORES)
def test_another_process_loads_what_is_there(
    name: str,
    run: Run,
    redis_connection: redis.Redis,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The rows are loaded there; a row that is gone fails its job, is None, or drops the job."""
    monkeypatch.setenv("TESTS_DATABASE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    monkeypatch.setattr(registry, "apps", {})
    store = STORES[name]
    with store.create_app().app_context():
        enqueued = enqueue_and_delete(store)
    run(f"support.stores:create_{name}_app()")
    jobs = [ContextJob.fetch(job.id, redis_connection) for job in enqueued]
    told = ("Order", (1,), "ours")
    finished, failed = JobStatus.FINISHED, JobStatus.FAILED
    assert [job.get_status() for job in jobs] == [finished, finished, failed, finished, finished]
    assert [job.return_value() for job in jobs] == [[told], [([told],), {}], None, [([None],), {}], None]
    assert f"args[0][0] refers to {name}.Order 2" in str(jobs[2].latest_result().exc_string)
