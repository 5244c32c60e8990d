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
    ForkDue,
    Forked,
    LoadDue,
    Loaded,
    LoaderLost,
    LoadFailed,
    Quit,
    ReloadAsked,
    RetireAsked,
    StartLoader,
    StopAsked,
    StopLoader,
    Terminate,
    Wait,
    backoff_s,
    decide,
)


def slots(digits: str) -> frozenset[int]:
    return frozenset(map(int, digits))


def fleet(
    running: str = "",
    asked: str = "",
    wanted: str = "01",
    *,
    phase: Any = "running",
    current: int | None = 0,
    loading: int | None = None,
    old: int | None = None,
    failures: int = 0,
    again: bool = False,
) -> Fleet:
    """A fleet of two, whose first generation has the slots 0 and 1 and the second one 2 and 3."""
    return Fleet(
        2, phase, current, loading, old, slots(running), slots(asked), slots(wanted), failures, again
    )


STARTING = fleet(wanted="", phase="starting", current=None, loading=0)
DRAINING = fleet("01", wanted="", phase="draining")


@pytest.mark.parametrize(
    ("before", "event", "after", "actions"),
    [
        pytest.param(STARTING, Loaded(0), fleet(asked="01"), [Fork(0), Fork(1)], id="loaded"),
        pytest.param(
            fleet("01", loading=1),
            Loaded(1),
            fleet("01", "23", "23", current=1, old=0),
            [Fork(2), Fork(3), Terminate(0), Terminate(1)],
            id="reloaded",
        ),
        pytest.param(
            fleet("", wanted="", phase="draining", loading=0),
            Loaded(0),
            fleet("", wanted="", phase="draining"),
            [StopLoader(0), Quit()],
            id="loaded too late",
        ),
        pytest.param(fleet("01", loading=1), LoadFailed(1), fleet("01"), [], id="reload failed"),
        pytest.param(fleet(asked="01"), Forked(0), fleet("0", "1"), [], id="forked"),
        pytest.param(
            fleet(wanted="", asked="0", phase="draining"),
            Forked(0),
            fleet("0", wanted="", phase="draining"),
            [Terminate(0)],
            id="forked too late",
        ),
        pytest.param(
            fleet("01"),
            Exited(0, "failed", 1.0),
            fleet("1", failures=1),
            [Wait(FIRST_BACKOFF_S, ForkDue(0))],
            id="failed",
        ),
        pytest.param(
            fleet("01", failures=3),
            Exited(0, "failed", WELL_AFTER_S + 1),
            fleet("1", failures=1),
            [Wait(FIRST_BACKOFF_S, ForkDue(0))],
            id="failed after a good time",
        ),
        pytest.param(fleet("1"), ForkDue(0), fleet("1", "0"), [Fork(0)], id="fork is due"),
        pytest.param(fleet("01"), ForkDue(0), fleet("01"), [], id="fork was due"),
        pytest.param(
            fleet("01", failures=3),
            Exited(0, "job"),
            fleet("1", "0", failures=3),
            [Fork(0)],
            id="died in a job",
        ),
        pytest.param(fleet("01"), Exited(0, "recycled"), fleet("1", "0"), [Fork(0)], id="recycled"),
        pytest.param(fleet("01"), Exited(0, "done"), fleet("1", wanted="1"), [], id="one is done"),
        pytest.param(
            fleet("0", wanted="0"), Exited(0, "done"), fleet(wanted=""), [Quit()], id="all are done"
        ),
        pytest.param(
            DRAINING, Exited(0, "failed"), fleet("1", wanted="", phase="draining"), [], id="one is drained"
        ),
        pytest.param(
            fleet("1", wanted="", phase="draining"),
            Exited(1, "done"),
            fleet(wanted="", phase="draining"),
            [Quit()],
            id="all are drained",
        ),
        pytest.param(
            fleet("1", wanted="", phase="draining"),
            Exited(1, "job", leaves_work=True),
            fleet("", "1", wanted="", phase="draining"),
            [Fork(1)],
            id="drained, but for what a job left",
        ),
        pytest.param(
            fleet("23", "", "23", current=1, old=0),
            Exited(2, "recycled"),
            fleet("3", "2", "23", current=1, old=0),
            [Fork(2)],
            id="recycled while an old generation is there",
        ),
        pytest.param(
            fleet("023", "", "23", current=1, old=0),
            Exited(0, "recycled"),
            fleet("23", "", "23", current=1),
            [StopLoader(0)],
            id="the last of an old generation",
        ),
        pytest.param(
            fleet("023", "", "23", current=1, old=0, again=True),
            Exited(0, "recycled"),
            fleet("23", "", "23", current=1, loading=2),
            [StopLoader(0), StartLoader(2)],
            id="the last of an old generation, and a reload waits",
        ),
        pytest.param(fleet("01"), ReloadAsked(), fleet("01", loading=1), [StartLoader(1)], id="reload"),
        pytest.param(
            fleet("01", loading=1), ReloadAsked(), fleet("01", loading=1, again=True), [], id="reload twice"
        ),
        pytest.param(STARTING, ReloadAsked(), STARTING, [], id="reload before all is loaded"),
        pytest.param(fleet("01"), RetireAsked(0), fleet("01", wanted="1"), [Terminate(0)], id="retire one"),
        pytest.param(
            fleet("01"),
            LoaderLost(0),
            fleet("01", wanted="", phase="starting", current=None, loading=1, failures=1),
            [Terminate(0), Terminate(1), Wait(FIRST_BACKOFF_S, LoadDue(1))],
            id="loader lost",
        ),
        pytest.param(
            fleet(wanted="", phase="starting", current=None, loading=1, failures=1),
            LoaderLost(1),
            fleet(wanted="", phase="starting", current=None, loading=2, failures=2),
            [Wait(1.0, LoadDue(2))],
            id="loader lost again",
        ),
        pytest.param(
            fleet("01", loading=1), LoaderLost(1), fleet("01", failures=1), [], id="loader of a reload lost"
        ),
        pytest.param(
            fleet("01", loading=1),
            LoaderLost(0),
            fleet("01", wanted="", phase="starting", current=None, loading=1, failures=1),
            [Terminate(0), Terminate(1)],
            id="loader lost during a reload",
        ),
        pytest.param(
            DRAINING,
            LoaderLost(0),
            fleet("01", wanted="", phase="draining", current=None),
            [],
            id="loader lost while children finish",
        ),
        pytest.param(
            fleet("0", wanted="", phase="draining", current=None),
            Exited(0, "job", leaves_work=True),
            fleet(wanted="", phase="draining", current=None),
            [Quit()],
            id="a job left something, and nobody is there to fork",
        ),
        pytest.param(
            fleet("023", "", "23", current=1, old=0),
            LoaderLost(1),
            fleet("023", wanted="", phase="starting", current=None, loading=3, old=0, failures=1),
            [Terminate(0), Terminate(2), Terminate(3), Wait(FIRST_BACKOFF_S, LoadDue(3))],
            id="loader lost while an old one is there",
        ),
        pytest.param(
            STARTING,
            StopAsked(),
            fleet(wanted="", phase="draining", current=None, loading=0),
            [Quit()],
            id="stop before all is loaded",
        ),
        pytest.param(fleet("01"), StopAsked(), DRAINING, [Terminate(0), Terminate(1)], id="stop"),
        pytest.param(
            fleet("0", "1"),
            StopAsked(),
            fleet("0", "1", wanted="", phase="draining"),
            [Terminate(0)],
            id="stop while one is asked for",
        ),
        pytest.param(
            DRAINING, StopAsked(), DRAINING, [Terminate(0, now=True), Terminate(1, now=True)], id="stop now"
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
    """The supervisor, its loaders and the children, with a clock of its own."""

    def __init__(self, size: int) -> None:
        self.fleet = Fleet(size)
        self.loading: set[int] = {0}
        self.up: set[int] = set()
        self.asked: set[int] = set()
        self.alive: set[int] = set()
        self.later: list[tuple[float, int, Event]] = []
        self.now = 0.0
        self.count = 0
        self.has_quit = False

    def possible(self) -> list[Event | None]:
        """What may happen next; None stands for the next action whose time comes."""
        events: list[Event | None] = [StopAsked(), ReloadAsked()]
        if self.later:
            events.append(None)
        for generation in sorted(self.loading):
            events += [Loaded(generation), LoaderLost(generation)]
            events += [LoadFailed(generation)] if self.fleet.current is not None else []
        events += [LoaderLost(generation) for generation in sorted(self.up)]
        events += [Forked(slot) for slot in sorted(self.asked)]
        for slot in sorted(self.alive):
            # The supervisor tells a child of an older generation as recycled: its slot may be wanted anew.
            hows = ("done", "recycled", "job", "failed") if self.is_current(slot) else ("recycled",)
            events += [Exited(slot, how, 1.0) for how in hows]  # type: ignore[arg-type]
            events.append(Exited(slot, "job", 1.0, leaves_work=True))
        return events

    def is_current(self, slot: int) -> bool:
        current = self.fleet.current
        return current is not None and slot in self.fleet.slots_of(current)

    def happen(self, event: Event | None) -> None:
        if event is None:
            self.now, _, event = heapq.heappop(self.later)
        if isinstance(event, Loaded):
            self.loading.remove(event.generation)
            self.up.add(event.generation)
        elif isinstance(event, LoaderLost | LoadFailed):
            self.loading.discard(event.generation)
            self.up.discard(event.generation)
            self.asked = {slot for slot in self.asked if self.loader_of(slot) is not None}
        elif isinstance(event, Forked):
            self.asked.remove(event.slot)
            self.alive.add(event.slot)
        elif isinstance(event, Exited):
            self.alive.remove(event.slot)
        self.fleet, actions = decide(self.fleet, event)
        for action in actions:
            self.do(action)

    def loader_of(self, slot: int) -> int | None:
        return next((one for one in self.up if one % 2 == slot // self.fleet.size), None)

    def do(self, action: Action) -> None:
        if isinstance(action, Fork):
            assert action.slot not in self.asked | self.alive, "two children in one slot"
            if self.loader_of(action.slot) is not None:
                self.asked.add(action.slot)
        elif isinstance(action, Wait):
            self.count += 1
            heapq.heappush(self.later, (self.now + action.delay_s, self.count, action.event))
        elif isinstance(action, StartLoader):
            assert len(self.up | self.loading) < 2, "more than two generations"
            self.loading.add(action.generation)
        elif isinstance(action, StopLoader):
            assert all(self.loader_of(slot) != action.generation for slot in self.asked), (
                "a child was asked for"
            )
            self.up.discard(action.generation)
        elif isinstance(action, Quit):
            self.has_quit = True


@settings(max_examples=500, deadline=None)
@given(st.data(), st.integers(1, 3))
def test_there_are_never_too_many_children_and_a_stop_ends_it(data: st.DataObject, size: int) -> None:
    """Over any walk: one child in each slot, two generations at most; after a stop, the last exit ends it."""
    world = World(size)
    for _ in range(data.draw(st.integers(0, 40))):
        if world.has_quit:
            return
        world.happen(data.draw(st.sampled_from(world.possible())))
    world.happen(StopAsked())
    while not world.has_quit:
        left = [
            event
            for event in world.possible()
            if isinstance(event, Forked) or (isinstance(event, Exited) and not event.leaves_work)
        ]
        assert left, "nothing can happen any more, and it has not quit"
        world.happen(data.draw(st.sampled_from(left)))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_running_worker_never_stops_by_itself(data: st.DataObject) -> None:
    """Unless it is asked to, or its children are done, it has children or is about to get some."""
    world = World(2)
    for _ in range(60):
        events = [
            event
            for event in world.possible()
            if not isinstance(event, StopAsked) and not (isinstance(event, Exited) and event.how == "done")
        ]
        world.happen(data.draw(st.sampled_from(events)))
        assert not world.has_quit
        coming = world.alive | world.asked | world.loading
        assert coming or world.later, "nothing runs, and nothing is about to"
