"""Leases: what a child has taken and not started goes back to the head of its queue, in order, and runs once.

One child and one queue, so jobs start in the order in which they were enqueued, whatever happens.
"""

from __future__ import annotations

from pathlib import Path

from support.faults.accounts import Account, overtaken
from support.faults.bench import Bench, assert_clean
from support.faults.servers import Server
from support.faults.stock import job_id, number_of
from support.waiting import wait_until


def assert_in_order(account: Account) -> None:
    assert_clean(account)
    assert overtaken(account) == []


def order_a_long_one_among_short_ones(bench: Bench) -> int:
    """The child knows its function as short, and so has taken what comes behind it; its number."""
    bench.order(count=60)
    long = bench.order(ms=700)
    bench.order(count=40)
    return long


def wait_for_start(bench: Bench, number: int) -> None:
    wait_until(lambda: number in bench.crew.ledger.read().runs, what=f"job {number} starts")


def queued(bench: Bench) -> list[int]:
    return [number_of(one) for one in bench.connection.lrange("rq:queue:default", 0, -1)]


def test_what_waits_behind_a_long_job_goes_back(bench: Bench) -> None:
    """While it runs, all that comes after it is in the queue, for others to take."""
    long = order_a_long_one_among_short_ones(bench)
    behind = [order.number for order in bench.orders if order.number > long]
    with bench.crew.worker():
        wait_for_start(bench, long)
        wait_until(lambda: queued(bench) == behind, what="all is in the queue")
        assert_in_order(bench.settle())


def test_what_a_child_holds_goes_back_at_a_stop(bench: Bench) -> None:
    """The running job ends; all that comes after it is in the queue, for the next worker."""
    long = order_a_long_one_among_short_ones(bench)
    behind = [order.number for order in bench.orders if order.number > long]
    with bench.crew.worker() as worker:
        wait_for_start(bench, long)
        worker.stop()
        assert worker.exit_code() == 0
    assert queued(bench) == behind
    with bench.crew.worker():
        assert_in_order(bench.settle())


def test_what_a_child_holds_goes_back_when_it_dies(bench: Bench) -> None:
    """All but the running job, which has failed."""
    bench.order(count=200)
    bench.crew.arm("in-the-job", 150)
    with bench.crew.worker():
        account = bench.settle()
    assert_in_order(account)
    assert (account.counts["failed"], account.classes[150]) == (1, "failed")


def test_what_a_host_holds_goes_back_when_it_dies(tmp_path: Path) -> None:
    """When its leases are over, another one runs them; the running job has failed, or runs once more if its
    start was never told.
    """
    patient = {"oversight.LONG_S": 60.0}  # else what waits behind a long job may be back before it all dies
    with Server(tmp_path / "redis") as server, Bench(tmp_path, server.url, times=patient) as bench:
        bench.order(count=200)
        bench.crew.arm("in-the-job", 150, stall_ms=5000)
        with bench.crew.worker():
            wait_until(bench.crew.was_struck, what="a job that takes long")
            bench.crew.kill("kill-everybody", bench.crew.family().everybody)
        with bench.crew.worker():
            account = bench.settle()
    assert_clean(account)
    history = account.history
    [fault] = history.faults
    leases = [number for number in fault.held if history.runs[number][0].start > fault.at]
    assert leases
    assert overtaken(account, leases) == []
    assert account.classes[150] in {"failed", "again"}


def test_a_supervisor_that_is_slow_takes_nothing_back_that_was_taken_since(bench: Bench) -> None:
    """It stands still after it has revoked leases, and the child goes on; then it lets go back only those."""
    bench.order(count=60)
    bench.order(ms=700)
    bench.order(count=1000)
    bench.crew.arm("leases-revoked", stall_ms=900)
    with bench.crew.worker():
        wait_until(bench.crew.was_struck, what="the supervisor revokes leases")
        assert_clean(bench.settle())


def test_a_job_that_is_on_its_way_waits_for_no_other(bench: Bench) -> None:
    """A child waits at two queues, and is given one job from each at once: the other child runs the other."""
    numbers = [bench.order(ms=1500, queue="high"), bench.order(ms=1500, queue="low")]
    bench.connection.delete("rq:queue:high", "rq:queue:low")
    with bench.crew.worker("-c", "2", "high", "low"):
        wait_until(lambda: bench.connection.info("clients")["blocked_clients"] == 4, what="both wait at both")
        with bench.connection.pipeline() as pipeline:
            for queue, number in zip(("high", "low"), numbers, strict=True):
                pipeline.rpush(f"rq:queue:{queue}", job_id(number))
            pipeline.execute()
        account = bench.settle()
    assert_clean(account)
    first, second = (account.history.runs[number][0] for number in numbers)
    assert abs(first.start - second.start) < 1
