"""The memory that supervisor and children share: written by one, read by the other, locked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest
from support.waiting import wait_until

from ctxjobs_worker.slots import (
    ORDER_KILLED,
    ORDER_MAINTENANCE,
    ORDER_OVERDUE,
    ORDER_STOPPED,
    Slot,
    Slots,
    seq_and_index,
    token_of,
)


@pytest.fixture
def slots() -> Slots:
    return Slots(3)


def seen_elsewhere(slots: Slots, expression: str) -> str:
    """What another process says of the memory."""
    memory = f"from ctxjobs_worker.slots import Slots; slots = Slots(3, {slots.descriptor})"
    command = [sys.executable, "-c", f"{memory}; print({expression})"]
    done = subprocess.run(command, pass_fds=[slots.descriptor], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("seq", "index"), [(1, 0), (1, 127), (2**40, 65_535)])
def test_a_token_tells_request_and_index(seq: int, index: int) -> None:
    """A token is never 0, and says which request has taken the job, and as its how manieth."""
    token = token_of(seq, index)
    assert token > 0
    assert seq_and_index(token) == (seq, index)


def test_tokens_are_in_the_order_of_taking() -> None:
    """A later request, or a later index, has the larger token."""
    tokens = [token_of(seq, index) for seq in (1, 2, 300) for index in (0, 1, 127)]
    assert tokens == sorted(tokens)


def test_another_process_sees_what_a_child_writes(slots: Slots) -> None:
    """The running job, since when, and until when it may, in the child's own slot."""
    slots[1].start(token_of(7, 3), 12.5)
    slots[1].set_deadline(42.5)
    expression = "slots[1].running, slots[1].started, slots[1].deadline, slots[0].running, slots[2].running"
    assert seen_elsewhere(slots, expression) == f"{token_of(7, 3)} 12.5 42.5 0 0"


def test_a_slot_that_is_cleared_knows_nothing(slots: Slots) -> None:
    """Of the child before, nothing is left for the next one."""
    slot = slots[0]
    slot.take_over(123)
    slot.start(token_of(1, 0), 1.0)
    slot.set_held(5)
    slot.set_looked_after(2)
    slot.order(ORDER_MAINTENANCE)
    slot.clear()
    assert (slot.running, slot.started, slot.held, slot.looked_after) == (0, 0.0, 0, 0)
    assert slot.take_orders(ORDER_MAINTENANCE) == 0


def test_what_is_revoked_does_not_start(slots: Slots) -> None:
    """What was taken after the running job does not start; the running one is not touched."""
    slot = slots[0]
    slot.start(token_of(1, 1), 1.0)
    assert slot.revoke() == token_of(1, 1)
    slot.end()
    assert [slot.start(token_of(1, index), 2.0) for index in (2, 3)] == [False, False]
    assert slot.running == 0


def test_a_revocation_is_forgotten_once_it_was_seen(slots: Slots) -> None:
    """The next jobs that the child takes start as ever."""
    slot = slots[0]
    slot.start(token_of(1, 1), 1.0)
    slot.revoke()
    slot.forget_revoked()
    assert slot.start(token_of(2, 0), 3.0)


def test_nothing_is_revoked_while_nothing_runs(slots: Slots) -> None:
    """Between two jobs there is nothing that could have turned out long."""
    assert slots[0].revoke() == 0
    assert slots[0].start(token_of(1, 1), 1.0)


def test_a_child_that_starts_a_job_waits_for_the_supervisor(slots: Slots) -> None:
    """While another process holds the slot's lock, no job starts there; in other slots they do."""
    code = (
        "import fcntl, sys; fd = int(sys.argv[1]); fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(slots.descriptor)],
        pass_fds=[slots.descriptor],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        assert slots[1].start(token_of(1, 0), 1.0)
        starting = threading.Thread(target=slots[0].start, args=(token_of(1, 0), 1.0))
        starting.start()
        starting.join(0.2)
        waited = starting.is_alive() and slots[0].running == 0
        holder.kill()  # the kernel releases the lock of a process that is gone
        starting.join(10)
    assert (waited, slots[0].running) == (True, token_of(1, 0))


def test_orders_are_told_once(slots: Slots) -> None:
    """An order is taken by whoever asks for its kind, and then it is gone."""
    slot = slots[2]
    slot.order(ORDER_MAINTENANCE)
    slot.order(ORDER_STOPPED)
    assert slot.take_orders(ORDER_STOPPED | ORDER_OVERDUE) == ORDER_STOPPED
    assert [slot.take_orders(ORDER_MAINTENANCE) for _ in range(2)] == [ORDER_MAINTENANCE, 0]


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_only_the_process_of_the_running_job_is_killed(slots: Slots) -> None:
    """A job that has ended meanwhile takes no other one with it."""
    slot = slots[0]
    with sleeping() as child:
        slot.take_over(child.pid)
        slot.start(token_of(1, 1), 1.0)
        assert slot.kill(token_of(1, 0), ORDER_STOPPED) is None
        assert slot.kill(0, ORDER_STOPPED) is None
        assert child.poll() is None
        assert slot.kill(token_of(1, 1), ORDER_STOPPED) == "child"
        assert child.wait(10) == -signal.SIGKILL


def test_an_isolated_job_is_killed_without_its_child(slots: Slots) -> None:
    """The process that was forked for the job is killed, and the child is told why."""
    slot = slots[0]
    with sleeping() as horse:
        slot.take_over(os.getpid())
        slot.start(token_of(1, 0), 1.0)
        slot.set_horse(horse.pid)
        assert slot.kill(token_of(1, 0), ORDER_KILLED) == "horse"
        assert horse.wait(10) == -signal.SIGKILL
    assert slot.take_orders(ORDER_KILLED | ORDER_OVERDUE) == ORDER_KILLED


def test_what_is_overdue_is_killed(slots: Slots) -> None:
    """Not before its deadline."""
    slot = slots[0]
    with sleeping() as child:
        slot.take_over(child.pid)
        slot.start(token_of(1, 0), 1.0)
        slot.set_deadline(time.monotonic() + 600)
        assert slot.kill(token_of(1, 0), ORDER_OVERDUE) is None
        slot.set_deadline(time.monotonic() - 1)
        assert slot.kill(token_of(1, 0), ORDER_OVERDUE) == "child"
        assert child.wait(10) == -signal.SIGKILL


@pytest.mark.parametrize("another", [lambda slot: slot.start(token_of(1, 1), 2.0), Slot.forget_horse])
def test_a_deadline_ends_with_what_it_was_for(slots: Slots, another: Callable[[Slot], object]) -> None:
    """Neither the next job nor another process of the same job has it."""
    slot = slots[0]
    slot.start(token_of(1, 0), 1.0)
    slot.set_deadline(0.5)
    assert slot.is_overdue(1.0)
    another(slot)
    assert not slot.is_overdue(1.0)


def test_a_process_that_is_dead_already_is_no_error(slots: Slots) -> None:
    """Its end is on its way to the supervisor by another way."""
    with sleeping() as child:
        child.kill()
    wait_until(lambda: child.poll() is not None, what="its end")
    slots[0].take_over(child.pid)
    slots[0].start(token_of(1, 0), 1.0)
    assert slots[0].kill(token_of(1, 0), ORDER_STOPPED) == "child"
