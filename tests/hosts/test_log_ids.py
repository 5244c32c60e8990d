"""Log lines of jobs: which job, request and app they belong to, on every way to enqueue and in callbacks."""

from __future__ import annotations

import pytest
from support.matrix.account import Account
from support.matrix.ways import WAYS


@pytest.mark.parametrize("way", [name for name, way in WAYS.items() if way.where == "view"])
def test_a_line_of_a_job(account: Account, way: str) -> None:
    """It names the job, the request that enqueued it (here called like the way) and the app."""
    for job_id in account.calls[way].ids:
        for start in account.starts(job_id):
            assert tuple(start["log_ids"]) == (job_id, way, f"matrix-{account.host}_app")


@pytest.mark.parametrize("way", ["success_callback", "failure_callback"])
def test_a_line_of_a_callback(account: Account, way: str) -> None:
    """Under our worker it names the same; under RQ's a callback has no contexts, and no ids."""
    for job_id in account.calls[way].ids:
        (event,) = [run[0] for run in account.runs_of(job_id) if run[0]["what"] == "callback"]
        ours = (job_id, way, f"matrix-{account.host}_app")
        assert tuple(event["log_ids"]) == (ours if account.worker == "ctxjobs" else ("-", "-", "-"))
