"""How many jobs a child takes: one, until it knows that they are short; then milliseconds of work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ctxjobs_worker.pace import IN_HAND_S, KNOWN_AFTER, MOST, Pace

SHORT_S = 0.0002


def runs(pace: Pace, function: str, took_s: float, times: int = KNOWN_AFTER) -> None:
    for _ in range(times):
        pace.note(function, took_s)


def settled(pace: Pace) -> int:
    """What it takes once it has had time to grow."""
    for _ in range(20):
        taken = pace.take()
    return taken


def test_a_new_child_takes_one_job() -> None:
    """Nothing is known of any function yet."""
    assert Pace().take() == 1


def test_a_function_is_known_after_some_runs() -> None:
    """A few short runs are not enough to call it short."""
    pace = Pace()
    runs(pace, "f", SHORT_S, KNOWN_AFTER - 1)
    before = pace.is_short("f")
    runs(pace, "f", SHORT_S, 1)
    assert (before, pace.is_short("f"), pace.is_short("g")) == (False, True, False)


def test_it_takes_twice_as_many_each_time() -> None:
    """The number of jobs in hand grows step by step, up to its limit."""
    pace = Pace()
    runs(pace, "f", 0.000001, 50)
    assert [pace.take() for _ in range(9)] == [1, 2, 4, 8, 16, 32, 64, MOST, MOST]


def test_what_is_in_hand_is_milliseconds_of_work() -> None:
    """Jobs of a millisecond are taken ten at a time."""
    pace = Pace()
    runs(pace, "f", 0.001, 50)
    assert settled(pace) in (9, 10)


def test_a_long_run_makes_it_take_one_job_again() -> None:
    """A function that was short, and was long this time, has to prove itself again."""
    pace = Pace()
    runs(pace, "f", SHORT_S, 50)
    settled(pace)
    pace.note("f", IN_HAND_S)
    assert (pace.take(), pace.is_short("f")) == (1, False)


def test_a_function_that_is_not_known_is_taken_alone() -> None:
    """What comes after a job of an unknown function is not taken with it the next time."""
    pace = Pace()
    runs(pace, "f", SHORT_S, 50)
    settled(pace)
    pace.met("g")
    assert pace.take() == 1


def test_a_function_of_some_milliseconds_is_not_short() -> None:
    """Two of them would be more than a child may hold."""
    pace = Pace()
    runs(pace, "f", IN_HAND_S * 0.6, 50)
    assert not pace.is_short("f")


@given(st.lists(st.tuples(st.sampled_from("fgh"), st.floats(0, 1))))
def test_the_work_in_hand_stays_within_its_limit(history: list[tuple[str, float]]) -> None:
    """Whatever has run: at least one job is taken, and by the mean of the last ones no more than fits."""
    pace = Pace()
    mean_s = IN_HAND_S
    for function, took_s in history:
        pace.note(function, took_s)
        mean_s += 0.2 * (took_s - mean_s)
        taken = pace.take()
        assert 1 <= taken <= MOST
        assert taken == 1 or taken * mean_s <= IN_HAND_S * 1.000001
