"""Time limits: one alarm, which rings in whatever takes too long, and again if that goes on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rq.timeouts import JobTimeoutException

from ctxjobs_worker import alarm as alarm_module
from ctxjobs_worker.alarm import Alarm, AlarmPenalty, alarm


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """The alarm answers; afterwards it is off, and the signal is whose it was."""
    before = signal.getsignal(signal.SIGALRM)
    alarm.install()
    yield
    alarm.off()
    alarm.on_set = lambda seconds: None
    alarm.kill = None
    signal.signal(signal.SIGALRM, before)


def too_late() -> BaseException:
    return TimeoutError("too late")


def work(seconds: float) -> None:
    """Be busy, in Python, for some time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def test_what_takes_too_long_is_interrupted() -> None:
    """RQ's exception is raised in it, with RQ's words."""
    with (
        pytest.raises(JobTimeoutException, match=r"Task exceeded maximum timeout value \(0\.05 seconds\)"),
        AlarmPenalty(0.05, JobTimeoutException),
    ):
        work(10)


def test_what_ends_in_time_is_left_alone() -> None:
    """Nothing rings after the block."""
    with AlarmPenalty(0.05, JobTimeoutException):
        pass
    work(0.1)


def test_no_limit_is_no_limit() -> None:
    """-1, as with RQ, lets a job take as long as it likes."""
    with AlarmPenalty(-1, JobTimeoutException):
        work(0.05)


def test_each_part_has_all_of_the_time() -> None:
    """A part that begins has the full time, whatever the one before has used."""
    alarm.set(0.2, too_late)
    for _ in range(4):
        work(0.1)
        alarm.begin()
    with pytest.raises(TimeoutError):
        work(10)


def test_beginning_a_part_without_a_limit_sets_none() -> None:
    """What is not limited does not become so by having parts."""
    alarm.begin()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_it_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that catches the first ring and goes on is interrupted once more."""
    monkeypatch.setattr(alarm_module, "AGAIN_S", 0.05)
    alarm.set(0.05, too_late)
    with pytest.raises(TimeoutError):
        work(10)
    with pytest.raises(TimeoutError):
        work(10)


def test_the_supervisor_is_told() -> None:
    """Whoever watches from outside learns how much time there is, and that there is no limit any more."""
    told: list[float | None] = []
    alarm.on_set = told.append
    with AlarmPenalty(5, JobTimeoutException):
        alarm.begin()
    with AlarmPenalty(-1, JobTimeoutException):
        pass
    assert told == [5, 5, None, None, None]


def work_until(asked: list[Any], exc: Exception | None = None) -> None:
    """Work, until asked to end; then raise *exc*."""
    while not asked:
        work(0.01)
    if exc is not None:
        raise exc


def test_what_can_be_cancelled_is_not_interrupted() -> None:
    """It is asked to end first; what the alarm was for is raised when it has."""
    asked: list[float] = []
    alarm.set(0.05, too_late)
    with pytest.raises(TimeoutError), alarm.cancelling(lambda: asked.append(time.monotonic())):
        work_until(asked)
    assert len(asked) == 1


def test_what_is_cancelled_and_goes_on_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some seconds after it was asked, the alarm rings as for everybody else."""
    monkeypatch.setattr(alarm_module, "CANCEL_GRACE_S", 0.05)
    alarm.set(0.05, too_late)
    with pytest.raises(TimeoutError), alarm.cancelling(lambda: None):
        work(10)


def test_an_error_of_its_own_is_told_as_the_cause() -> None:
    """Whatever a cancelled one raises, its time was over, and that is the reason."""
    asked: list[bool] = []
    alarm.set(0.05, too_late)
    with pytest.raises(TimeoutError) as caught, alarm.cancelling(lambda: asked.append(True)):
        work_until(asked, LookupError("cancelled"))
    assert isinstance(caught.value.__cause__, LookupError)


def test_a_kill_is_raised_without_any_limit() -> None:
    """RQ's commands interrupt a job by the same signal, also one that has no time limit."""
    alarm.kill = KeyError
    with pytest.raises(KeyError):
        signal.raise_signal(signal.SIGALRM)


def test_a_kill_that_comes_too_late_is_nothing() -> None:
    """The job that was to be killed has ended, and the next one is not meant."""
    alarm.kill = lambda: None
    signal.raise_signal(signal.SIGALRM)
    assert alarm.kill is None


def test_a_kill_is_sent_until_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes just before a call blocks interrupts nothing."""
    send, sent = signal.pthread_kill, 0

    def lose_the_first(thread: int, signum: int) -> None:
        nonlocal sent
        sent += 1
        if sent > 1:
            send(thread, signum)

    monkeypatch.setattr(signal, "pthread_kill", lose_the_first)
    killer = threading.Thread(target=alarm.kill_by, args=[lambda: KeyError("killed")])
    killer.start()
    with pytest.raises(KeyError):
        work(10)
    killer.join(10)
    assert not killer.is_alive()


def test_an_alarm_that_was_switched_off_does_not_ring() -> None:
    """A signal that was already on its way finds nothing to raise."""
    own = Alarm()
    own.install()
    signal.raise_signal(signal.SIGALRM)
