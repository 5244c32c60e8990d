"""Jobs that break their process: each fails with what it has done, and takes no other job with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.faults import failpoints
from support.faults.app import ENDINGS
from support.faults.bench import Bench, assert_clean, running_bench
from support.faults.orders import Kind, Order
from support.faults.stock import number_of, take_stock

#: Number of the job over which every process dies that reads it.
POISON = number_of(failpoints.POISON)
REASONS = {
    "segfault": "ended with signal SIGSEGV",
    "os._exit(0)": "ended with exit code 0",
    "os._exit(3)": "ended with exit code 3",
    "SIGKILL": "ended with signal SIGKILL",
    "out-of-memory": "ended with signal SIGKILL",
    "hang": "it did not end after its time limit, and was killed",
}


@pytest.fixture(scope="module", params=["", "--isolate"], ids=["child", "isolated"])
def breaking(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """A bench with two children; jobs run in them, or each in a process of its own."""
    folder = tmp_path_factory.mktemp("breaking")
    isolate = [request.param] if request.param else []
    with running_bench(folder, "-c", "2", "--kill-grace-s", "0.5", *isolate) as bench:
        yield bench


def test_every_ending_has_its_reason() -> None:
    """Each way in which the app ends a process is expected here."""
    assert set(REASONS) == set(ENDINGS)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_job_that_breaks_its_process_fails_with_the_reason(breaking: Bench, ending: str) -> None:
    """And the jobs around it run once; those that ran and were not reported, again."""
    breaking.order_some_of_each(5)
    breaker = breaking.order("end_process", ending=ending, timeout=1)
    breaking.order_some_of_each(5)
    account = breaking.settle()
    assert_clean(account)
    reason = take_stock(breaking.connection, [breaker], ["default"]).reasons[breaker]
    assert REASONS[ending] in reason


def test_a_poison_job_is_failed_after_its_retries(breaking: Bench) -> None:
    """It kills its process each time, once for each retry and once more; then it stays failed."""
    breaking.order(count=5)
    poison = breaking.order("end_process", ending="SIGKILL", retries=2)
    breaking.order(count=5)
    account = breaking.settle()
    assert_clean(account)
    assert [run.left for run in account.history.runs[poison]] == [2, 1, 0]


def test_a_job_that_nobody_can_read_is_failed(breaking: Bench) -> None:
    """It kills whoever reads it: a child, perhaps the next, one that is to fail it, and another one.

    Only one child, if the job was not known to be short, and so counts as started. That is all.
    """
    breaking.order(count=5)
    breaking.place([Order(POISON)])
    breaking.order(count=5)
    account = breaking.settle()
    assert_clean(account)
    assert account.classes[POISON] == "failed"
    assert sum(fault.label == "poison" for fault in account.history.faults) in (3, 4)


def test_a_job_that_wants_too_much_memory_fails(breaking: Bench) -> None:
    """``MemoryError`` is its reason; its process goes on."""
    breaking.order_some_of_each(5)
    breaking.order("exhaust", 4096)
    breaking.order_some_of_each(5)
    assert_clean(breaking.settle())


@pytest.mark.parametrize(
    ("kind", "options"), [("leak", ("--max-memory-mib", "150")), ("leave_thread", ("--on-leak", "recycle"))]
)
def test_a_child_that_leaks_is_replaced(bench: Bench, kind: Kind, options: tuple[str, ...]) -> None:
    """After the job; nothing runs twice, and what it held is run by another one."""
    for _ in range(4):
        bench.order(count=20)
        bench.order(kind, 200)
    with bench.crew.worker(*options):
        account = bench.settle()
    assert_clean(account)
    assert set(account.counts) == {"once"}
    assert len({run.pid for runs in account.history.runs.values() for run in runs}) >= 4
