"""Jobs that overrun their time limit, in each of their parts: they fail over it, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faults.app import PARTS
from support.faults.bench import Bench, assert_clean, running_bench
from support.faults.stock import take_stock


@pytest.fixture(scope="module", params=["", "--isolate"], ids=["child", "isolated"])
def patient(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench whose worker kills nothing; jobs run in its children, or each in a process of its own."""
    folder = tmp_path_factory.mktemp("timeouts")
    isolate = [request.param] if request.param else []
    with running_bench(folder, "-c", "2", "--kill-grace-s", "600", *isolate) as bench:
        yield bench


@pytest.mark.parametrize("part", PARTS)
def test_a_job_that_takes_too_long_fails(patient: Bench, part: str) -> None:
    """It is interrupted where it is; the jobs around it run once, and their processes live on."""
    patient.order_some_of_each(5)
    number = patient.order("overrun", ending=part, timeout=1)
    patient.order_some_of_each(5)
    account = patient.settle()
    assert_clean(account)
    reason = take_stock(patient.connection, [number], ["default"]).reasons[number]
    assert "JobTimeoutException: Task exceeded maximum timeout value (1 seconds)" in reason
    assert account.history.faults == []
