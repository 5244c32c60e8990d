"""No job sees anything of another one, whatever that one left behind."""

from __future__ import annotations

import pytest
from support.matrix.account import Account
from support.matrix.ways import WAYS


@pytest.mark.parametrize("way", WAYS)
def test_only_its_own_contexts_are_active(account: Account, way: str) -> None:
    """A job finds one application context and, from a request, one request context, of its own framework."""
    own = [1, 1] if WAYS[way].where == "view" else [1, 0]
    for job_id in account.family(way):
        for start in account.starts(job_id):
            active = {name: depths for name, depths in start["contexts"].items() if any(depths)}
            assert active == {account.host: own}


@pytest.mark.parametrize(
    ("polluter", "way"), [("polluter", "after_polluter"), ("failing_polluter", "system_after_polluter")]
)
def test_the_next_job_runs_in_the_same_process(account: Account, polluter: str, way: str) -> None:
    """The job that looks for leaks runs right after the one that leaks, in its process unless RQ forks."""
    [before], [after] = (account.starts(account.calls[name].ids[0]) for name in (polluter, way))
    assert (before["pid"] == after["pid"]) is (account.worker != "rq")
    started = [event["job_id"] for event in account.events if event["what"] == "start"]
    assert started.index(after["job_id"]) == started.index(before["job_id"]) + 1


@pytest.mark.parametrize("way", ["after_polluter", "system_after_polluter"])
def test_context_variables_of_a_job_end_with_it(account: Account, way: str) -> None:
    """A context variable that one job set is as it was in the next one."""
    [start] = account.starts(account.calls[way].ids[0])
    assert start["stray"] == ""


def test_a_system_context_is_empty(account: Account) -> None:
    """The system context that follows a job with a full one has an empty g, and no session."""
    [start] = account.starts(account.calls["system_after_polluter"].ids[0])
    assert start["g_names"] == []
    assert "session_keys" not in start


@pytest.mark.parametrize("way", ["polluter", "failing_polluter"])
def test_what_a_job_leaves_behind_is_logged(account: Account, way: str) -> None:
    """The worker's log names the job, each context that it left, and its vain write to the session."""
    [job_id] = account.calls[way].ids
    lines = [line for line in account.log.splitlines() if f"job {job_id}" in line]
    assert [
        word
        for word in ("session", "(RequestContext)", "(AppContext)")
        if any(word in line for line in lines)
    ] == [
        "session",
        "(RequestContext)",
        "(AppContext)",
    ]
