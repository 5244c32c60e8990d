"""Teardown functions run once for each run of a job, with its exception, and before anything comes of it."""

from __future__ import annotations

import pytest
from support.matrix.account import Account
from support.matrix.ways import WAYS


@pytest.mark.parametrize("way", [way.name for way in WAYS.values() if way.tidy])
def test_teardown_runs_once_per_run(account: Account, way: str) -> None:
    """After each run the request's, then the app's teardown functions run, once each (R10, R21)."""
    in_request = ["start", "teardown_request", "teardown_appcontext"]
    expected = in_request if WAYS[way].where == "view" else ["start", "teardown_appcontext"]
    for job_id in account.family(way):
        runs = [run for run in account.runs_of(job_id) if run[0]["what"] == "start"]
        assert [[event["what"] for event in run] for run in runs] == [expected] * len(runs)


@pytest.mark.parametrize("way", WAYS)
def test_teardown_gets_the_exception(account: Account, way: str) -> None:
    """Teardown functions get the exception of the run that ended, and None after one that returned (R13)."""
    for job_id in account.calls[way].ids:
        runs = [run for run in account.runs_of(job_id) if run[0]["what"] == "start"]
        for run, end in zip(runs, WAYS[way].runs, strict=True):
            errors = {event["error"] for event in run[1:]}
            assert len(errors) == 1
            assert str(errors.pop()).startswith(WAYS[way].error if end == "raises" else "None")


@pytest.mark.parametrize("way", ["polluter", "failing_polluter"])
def test_contexts_that_a_job_left_are_torn_down_first(account: Account, way: str) -> None:
    """What a job pushed and never popped is popped first, then its own contexts, each with its teardown."""
    [run] = account.runs_of(account.calls[way].ids[0])
    both = ["teardown_request", "teardown_appcontext"]
    assert [event["what"] for event in run] == ["start", *both, *both]


def test_dependents_start_after_teardown(account: Account) -> None:
    """A dependent starts when the contexts of the job it waits for are gone."""
    ends = account.index("parent", "teardown_appcontext")
    assert all(account.index(job_id, "start") > ends for job_id in account.calls["depends_on"].ids)


@pytest.mark.parametrize("way", ["success_callback", "failure_callback"])
def test_callbacks_run_after_teardown(account: Account, way: str) -> None:
    """A callback is called once, when the function's contexts are gone."""
    for job_id in account.calls[way].ids:
        kinds = [run[0]["what"] for run in account.runs_of(job_id)]
        assert kinds == ["start", "callback"]
        assert account.index(job_id, "teardown_appcontext") < account.index(job_id, "callback")
