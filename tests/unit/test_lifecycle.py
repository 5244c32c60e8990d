"""What the supervisor decides: one event at a time, and over any walk of events."""

from __future__ import annotations

import heapq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctxjobs_worker.lifecycle import (
    FIRST_BACKOFF_S,
    LAST_BACKOFF_S,
    WELL_AFTER_S,
    Action,
    Event,
    Exited,
    Fleet,
    Fork,
    Forked,
    Loaded,
    LoaderLost,
    Quit,
    StartLoader,
    StopAsked,
    Terminate,
    backoff_s,
    decide,
)


def fleet(phase: Any = "running", running: str = "", pending: str = "", failures: int = 0) -> Fleet:
    return Fleet(2, phase, frozenset(map(int, running)), frozenset(map(int, pending)), failures)


@pytest.mark.parametrize(
    ("before", "event", "after", "actions"),
    [
        (fleet("starting"), Loaded(), fleet(pending="01"), [Fork(0), Fork(1)]),
        (fleet("draining"), Loaded(), fleet("draining"), [Quit()]),
        (fleet(pending="01"), Forked(0), fleet(running="0", pending="1"), []),
        (fleet("draining"), Forked(0), fleet("draining", running="0"), [Terminate(0)]),
        (
            fleet(running="01"),
            Exited(0, False, 1.0),
            fleet("running", "1", "0", 1),
            [Fork(0, FIRST_BACKOFF_S)],
        ),
        (
            fleet(running="01", failures=3),
            Exited(0, False, WELL_AFTER_S + 1),
            fleet("running", "1", "0", 1),
            [Fork(0, FIRST_BACKOFF_S)],
        ),
        (fleet(running="01"), Exited(0, True, 1.0), fleet(running="1"), []),
        (
            fleet(running="01", failures=3),
            Exited(0, False, 1.0, True),
            fleet("running", "1", "0", 3),
            [Fork(0)],
        ),
        (fleet("draining", "0"), Exited(0, False, 1.0, True), fleet("draining"), [Quit()]),
        (fleet(running="0"), Exited(0, True, 1.0), fleet(), [Quit()]),
        (fleet(running="0", pending="1"), Exited(0, True, 1.0), fleet(pending="1"), []),
        (fleet("draining", "01"), Exited(0, False, 1.0), fleet("draining", "1"), []),
        (fleet("draining", "1"), Exited(1, False, 1.0), fleet("draining"), [Quit()]),
        (fleet(running="01"), LoaderLost(), fleet("starting", failures=1), [StartLoader(FIRST_BACKOFF_S)]),
        (fleet("starting", failures=1), LoaderLost(), fleet("starting", failures=2), [StartLoader(1.0)]),
        (fleet("draining", "01"), LoaderLost(), fleet("draining", "01"), [Quit()]),
        (fleet("starting"), StopAsked(), fleet("draining"), [Quit()]),
        (fleet(running="01"), StopAsked(), fleet("draining", "01"), [Terminate(0), Terminate(1)]),
        (fleet(running="0", pending="1"), StopAsked(), fleet("draining", "0"), [Terminate(0)]),
        (
            fleet("draining", "01"),
            StopAsked(),
            fleet("draining", "01"),
            [Terminate(0, True), Terminate(1, True)],
        ),
    ],
)
def test_one_event(before: Fleet, event: Event, after: Fleet, actions: list[Action]) -> None:
    """An event in a state gives this state and these actions."""
    assert decide(before, event) == (after, actions)


def test_backoff_doubles_up_to_its_limit() -> None:
    """The wait doubles with each failure in a row, and stays below half a minute."""
    assert [backoff_s(failures) for failures in (1, 2, 3, 4, 5, 6, 7, 8, 1000)] == [
        0.5, 1, 2, 4, 8, 16, LAST_BACKOFF_S, LAST_BACKOFF_S, LAST_BACKOFF_S,
    ]  # fmt: skip


class World:
    """The supervisor, its loader and the children, with a clock of its own."""

    def __init__(self, size: int) -> None:
        self.fleet = Fleet(size)
        self.loader = "loading"  # or "up", or "gone"
        self.asked: set[int] = set()
        self.alive: set[int] = set()
        self.later: list[tuple[float, int, Action]] = []
        self.now = 0.0
        self.count = 0
        self.has_quit = False

    def possible(self) -> list[Event | None]:
        """What may happen next; None stands for the next action whose time comes."""
        events: list[Event | None] = [StopAsked()]
        if self.later:
            events.append(None)
        if self.loader == "loading":
            events.append(Loaded())
        if self.loader != "gone":
            events.append(LoaderLost())
        events += [Forked(slot) for slot in sorted(self.asked)]
        return events + [Exited(slot, done, 1.0) for slot in sorted(self.alive) for done in (False, True)]

    def happen(self, event: Event | None) -> None:
        if event is None:
            self.now, _, action = heapq.heappop(self.later)
            self.do(action)
            return
        if isinstance(event, Loaded):
            self.loader = "up"
        elif isinstance(event, LoaderLost):
            self.loader, self.asked, self.alive = "gone", set(), set()
        elif isinstance(event, Forked):
            self.asked.remove(event.slot)
            self.alive.add(event.slot)
        elif isinstance(event, Exited):
            self.alive.remove(event.slot)
        self.fleet, actions = decide(self.fleet, event)
        for action in actions:
            self.count += 1
            if delay_s := getattr(action, "delay_s", 0.0):
                heapq.heappush(self.later, (self.now + delay_s, self.count, action))
            else:
                self.do(action)

    def do(self, action: Action) -> None:
        if isinstance(action, Fork) and action.slot in self.fleet.pending and self.loader == "up":
            assert action.slot not in self.asked | self.alive, "two children in one slot"
            self.asked.add(action.slot)
        elif isinstance(action, StartLoader) and self.fleet.phase == "starting":
            self.loader = "loading"
        elif isinstance(action, Quit):
            self.has_quit = True


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_there_are_never_too_many_children_and_a_stop_ends_it(data: st.DataObject, size: int) -> None:
    """Over any walk: at most *size* children, one in each slot; after a stop, the last exit is the end."""
    world = World(size)
    for _ in range(data.draw(st.integers(0, 30))):
        if world.has_quit:
            return
        world.happen(data.draw(st.sampled_from(world.possible())))
        assert len(world.asked) + len(world.alive) <= size
    world.happen(StopAsked())
    while not world.has_quit:
        left = [event for event in world.possible() if isinstance(event, Forked | Exited)]
        assert left, "nothing can happen any more, and it has not quit"
        world.happen(data.draw(st.sampled_from(left)))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_running_worker_never_stops_by_itself(data: st.DataObject) -> None:
    """Unless it is asked to, or its children are done, it has children or is about to get some."""
    world = World(2)
    for _ in range(40):
        events = [
            event
            for event in world.possible()
            if not isinstance(event, StopAsked) and not (isinstance(event, Exited) and event.done)
        ]
        assert events, "nothing can happen any more"
        world.happen(data.draw(st.sampled_from(events)))
        assert not world.has_quit
