"""What a policy left out, as whoever looks after the failed jobs of a worker reads it."""

from __future__ import annotations

import pytest
from redis import Redis
from rq import Queue
from rq.registry import FailedJobRegistry
from support.both_hosts import WEBS
from support.matrix.workers import WORKERS, run_worker
from support.misses_app import create_app

from ctxjobs import ContextJob
from ctxjobs.registry import registry


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("host", WEBS)
def test_the_failed_job_says_what_to_add(
    redis_connection: Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, worker: str, host: str
) -> None:
    """The job is in RQ's failed registry, with its id, the key and the advice, and without the value."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    job_id = create_app(host).test_client().get("/").text
    run_worker(worker, [f"support.misses_app:create_app({host!r})"], redis_url, ["default"])
    assert FailedJobRegistry(queue=Queue(connection=redis_connection)).get_job_ids() == [job_id]
    result = ContextJob.fetch(job_id, redis_connection).latest_result()
    assert result is not None
    text = str(result.exc_string)
    assert f"NotCapturedKeyError: Job {job_id} read session['cart'], which did not travel with it" in text
    assert "Add it: Capture(session=(..., 'cart'))." in text
    assert "SECRET" not in text
