"""Two workers under one name, clocks that jump or are wrong: jobs run once all the same."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from support.faults.bench import Bench, assert_clean
from support.faults.clocks import Clock, find_library
from support.faults.haste import NAME_VARIABLE
from support.waiting import wait_until

HOURS = 3600


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A clock for a worker."""
    library = find_library()
    if library is None and os.environ.get("CI") == "true":
        pytest.fail("libfaketime is not installed, and CI has to test with it: apt-get install faketime")
    if library is None:
        pytest.skip("libfaketime is not installed; Debian's package is 'faketime'")
    return Clock(tmp_path / "clock", library)


def _has_started(bench: Bench, number: int) -> bool:
    return number in bench.crew.ledger.read().runs


def test_two_workers_with_the_same_name(bench: Bench) -> None:
    """The second one finds out, and ends; what the first one holds stays its own."""
    twin = {NAME_VARIABLE: "twin.1.0123456789abcdef"}
    bench.order(count=20)
    long = bench.order(ms=3500)
    bench.order(count=20)
    with bench.crew.worker(environment=twin):
        wait_until(lambda: long in bench.crew.ledger.read().runs, what="the first one works")
        with bench.crew.worker(environment=twin) as second:
            wait_until(lambda: second.log.count("starting another one") >= 2, what="the second ends twice")
            assert_clean(bench.settle())


def test_the_clock_jumps(bench: Bench, clock: Clock) -> None:
    """Forward by hours and back, while jobs run."""
    with bench.crew.worker("-c", "2", environment=clock.environment):
        for ahead_s in (3 * HOURS, 0, 24 * HOURS, 0):
            bench.order_some_of_each()
            long = bench.order(ms=300)
            bench.order_some_of_each()
            wait_until(partial(_has_started, bench, long), what="it works")
            clock.set(ahead_s)
        assert_clean(bench.settle())


def test_a_worker_whose_clock_is_ahead_harms_no_other(bench: Bench, clock: Clock) -> None:
    """It cleans up when it starts, while another one runs a job: that is not over yet."""
    clock.set(3 * HOURS)
    long = bench.order(ms=3500)
    with bench.crew.worker():
        wait_until(lambda: long in bench.crew.ledger.read().runs, what="the first one works")
        with bench.crew.worker(environment=clock.environment) as second:
            second.wait_for_log("cleaning registries")
            bench.order_some_of_each()
            assert_clean(bench.settle())
