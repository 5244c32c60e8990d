"""One worker for a native and a Flask app: each job runs in its own."""

from __future__ import annotations

from itertools import pairwise

import pytest
from support.matrix.account import Account
from support.matrix.running import HOSTS, WAYS_FOR_BOTH
from support.values import same

every_call = pytest.mark.parametrize("name", [f"{host} {way}" for host in HOSTS for way in WAYS_FOR_BOTH])


@every_call
def test_each_job_runs_in_its_own_app(shared_account: Account, name: str) -> None:
    """Each run sees the app that it was enqueued in, with that app's request, g and session."""
    call = shared_account.calls[name]
    starts = [start for job_id in shared_account.family(name) for start in shared_account.starts(job_id)]
    assert call.seen["framework"] == name.split()[0]
    assert all(same(start["seen"], call.seen) for start in starts)
    assert len(starts) >= len(call.ids) > 0


@every_call
def test_no_context_of_the_other_app_is_active(shared_account: Account, name: str) -> None:
    """While a job runs, no context of the other framework is active."""
    other = "flask" if name.startswith("native") else "native"
    starts = [start for job_id in shared_account.family(name) for start in shared_account.starts(job_id)]
    assert all(start["contexts"][other] == [0, 0] for start in starts)


def test_the_apps_take_turns(shared_account: Account) -> None:
    """The jobs of the two apps ran in turns, not those of one app after those of the other."""
    order = [event["seen"]["framework"] for event in shared_account.events if event["what"] == "start"]
    changes = sum(one != next_one for one, next_one in pairwise(order))
    assert changes > len(WAYS_FOR_BOTH)
