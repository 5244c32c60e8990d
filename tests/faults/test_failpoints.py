"""``kill -9`` at each step: of the child that takes it, of a child that leaves, of the supervisor.

One worker for all of it, which is started again when its supervisor has died. The failing step is in the
test's id.
"""

from __future__ import annotations

import signal

import pytest
from support.faults import failpoints
from support.faults.bench import Bench, assert_clean
from support.waiting import wait_until

#: Steps that a child takes once, when it begins.
BEGINNINGS = ("child-begins", "registered")
STEPS = [step for step in (*failpoints.CHILD, failpoints.IN_A_JOB) if step not in BEGINNINGS]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_lost_when_a_child_dies_at(shared_bench: Bench, step: str, count: int) -> None:
    """What it held goes back or fails with the reason, and all else runs once; also at its third time."""
    bench = shared_bench
    bench.crew.arm(step, count)
    for _ in range(10):  # some steps are only taken now and then
        bench.order_some_of_each()
        assert_clean(bench.settle())
        if bench.crew.was_struck():
            return
    pytest.fail(f"no child came to {step}")


@pytest.mark.parametrize("step", BEGINNINGS)
def test_nothing_is_lost_when_a_child_dies_as_it_begins(shared_bench: Bench, step: str) -> None:
    """The child that takes the place of another one dies at once."""
    bench = shared_bench
    bench.crew.arm(step)
    bench.crew.kill("kill-child", bench.crew.family().children[:1])
    bench.order_some_of_each()
    assert_clean(bench.settle())
    wait_until(bench.crew.was_struck, what=step)


@pytest.mark.parametrize("step", failpoints.LEAVING)
def test_nothing_is_lost_when_a_child_dies_as_it_leaves(shared_bench: Bench, step: str) -> None:
    """SIGHUP lets the children leave, in the middle of their work."""
    bench = shared_bench
    bench.order_some_of_each(50)
    bench.crew.arm(step)
    bench.crew.signal(signal.SIGHUP)
    wait_until(bench.crew.was_struck, what=step)
    assert_clean(bench.settle())


@pytest.mark.parametrize("step", failpoints.SUPERVISOR)
def test_nothing_is_lost_when_the_supervisor_dies_at(shared_bench: Bench, step: str) -> None:
    """Its children finish their jobs, and what a dead one held goes back when its lease is over."""
    bench = shared_bench
    bench.order(count=50)
    bench.crew.arm(step)
    bench.order("end_process", ending="SIGKILL")
    with bench.suspended():  # all of it is there, once somebody looks
        for _ in range(6):
            bench.order(count=50)
            bench.order(ms=300)  # what waits behind it goes back
        bench.order_some_of_each()
    if step in ("loader-has-loaded", "children-asked-for"):
        bench.crew.signal(signal.SIGHUP)
    wait_until(bench.crew.was_struck, what=step)
    assert_clean(bench.settle())
