"""Callbacks: in contexts of their own with our worker, without any with RQ's."""

from __future__ import annotations

from typing import Any

import pytest
from support.matrix.account import Account
from support.values import same

from ctxjobs import codec


def callbacks(account: Account, way: str) -> list[list[dict[str, Any]]]:
    """The events of each callback of a way's jobs."""
    return [
        run
        for job_id in account.calls[way].ids
        for run in account.runs_of(job_id)
        if run[0]["what"] == "callback"
    ]


@pytest.mark.parametrize(("way", "kind"), [("success_callback", "success"), ("failure_callback", "failure")])
def test_the_callback_for_the_end_is_called(account: Account, way: str, kind: str) -> None:
    """Of a job's callbacks, the one for how it ended is called, once, given as function or by name."""
    assert [run[0]["kind"] for run in callbacks(account, way)] == [kind] * len(account.calls[way].ids)


@pytest.mark.parametrize("way", ["success_callback", "failure_callback"])
def test_what_a_callback_sees(account: Account, way: str) -> None:
    """Under our worker a callback sees what its job saw; under RQ's no context is active, and none leaks."""
    expected = account.calls[way].seen if account.worker == "ctxjobs" else None
    assert all(same(run[0]["seen"], expected) for run in callbacks(account, way))


@pytest.mark.parametrize("way", ["success_callback", "failure_callback"])
def test_the_contexts_of_a_callback_are_torn_down(account: Account, way: str) -> None:
    """A callback's own contexts are torn down once, without an exception; with RQ's worker there are none."""
    torn_down = [("teardown_request", None), ("teardown_appcontext", None)]
    expected = torn_down if account.worker == "ctxjobs" else []
    for run in callbacks(account, way):
        assert [(event["what"], event["error"]) for event in run[1:]] == expected


@pytest.mark.parametrize("way", ["success_callback", "failure_callback"])
def test_current_job_in_a_callback(account: Account, way: str) -> None:
    """Under our worker current_job is set in a callback, too."""
    assert {run[0]["current"] for run in callbacks(account, way)} == {account.worker == "ctxjobs"}


def test_the_result_that_a_success_callback_gets(account: Account) -> None:
    """Our worker gives a success callback the result; RQ's gives it as it is stored, encoded."""
    seen = account.calls["success_callback"].seen
    for run in callbacks(account, "success_callback"):
        result = run[0]["outcome"]
        assert same(result if account.worker == "ctxjobs" else codec.decode(result, "result"), seen)


def test_the_exception_that_a_failure_callback_gets(account: Account) -> None:
    """A failure callback gets what the function raised."""
    assert [run[0]["outcome"] for run in callbacks(account, "failure_callback")] == ["BoomError('callback')"]
