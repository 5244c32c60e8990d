"""The index under real workers, RQ's own among them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis
from support import family
from support.family import branch, in_request
from support.matrix.workers import WORKERS, run_worker

from ctxjobs.inspection import find_jobs, lineage_of
from ctxjobs.keys import INDEX_PREFIX
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    family.jobs._apps.clear()


@pytest.mark.parametrize("worker", WORKERS)
def test_jobs_of_a_request(redis_connection: redis.Redis, redis_url: str, worker: str) -> None:
    """Whichever worker ran them, they are found, and stay for about as long as their results."""
    app = family.create_app(CTXJOBS_REDIS_URL=redis_url)
    job = in_request(app, lambda: branch.enqueue(2), request="r-1", tenant="acme", user="7")
    run_worker(worker, ["support.family:create_app()"], redis_url, ["default"])
    rows = find_jobs(app, request="r-1", tenant="acme")
    assert [row.status for row in rows] == ["finished"] * 3
    assert [row.lineage.parent for row in rows if row.lineage] == [job.id, job.id, None]
    tree = lineage_of(app, rows[0].id)
    assert tree is not None
    assert (tree.id, len(tree.children)) == (job.id, 2)
    margin_s = 70 if worker == "ctxjobs" else 86_400 + 70  # RQ's own Job knows no index
    for key in redis_connection.keys(f"{INDEX_PREFIX}*"):
        assert redis_connection.ttl(key) <= 500 + margin_s
        for _, until in redis_connection.zrange(key, 0, -1, withscores=True):
            assert until > time.time() + 400
