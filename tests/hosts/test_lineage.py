"""Where a job comes from: what enqueued it, and the chain of jobs that enqueue jobs."""

from __future__ import annotations

import pytest
from support.matrix import jobs
from support.matrix.account import Account
from support.matrix.ways import WAYS

from ctxjobs.errors import UnboundJobError


@pytest.mark.parametrize("way", WAYS)
def test_the_trigger_of_a_job(account: Account, way: str) -> None:
    """A job from a view was triggered by a request, one from elsewhere by code; a retry changes nothing."""
    starts = [start for job_id in account.calls[way].ids for start in account.starts(job_id)]
    assert {start["trigger"] for start in starts} == {"request" if WAYS[way].where == "view" else "code"}


def test_the_trigger_of_a_nested_job(account: Account) -> None:
    """A job that a job enqueued was triggered by a job."""
    starts = [account.starts(job_id)[0] for job_id in account.family("nested")]
    assert [start["trigger"] for start in starts] == ["request", "job", "job"]


def test_lineage(account: Account) -> None:
    """A nested job knows the first job of its chain, the one that enqueued it, and how deep it is."""
    first, second, third = account.family("nested")
    found = [account.starts(job_id)[0]["lineage"] for job_id in (first, second, third)]
    assert found == [(None, None, 0), (first, first, 1), (first, second, 2)]


def test_an_unbound_job_outside_of_any_context(account: Account) -> None:
    """An unbound job that is enqueued outside of any context says how to bind it."""
    with pytest.raises(UnboundJobError, match=r"app\.app_context\(\).*CtxJobs\(app\)"):
        jobs.report.enqueue()
