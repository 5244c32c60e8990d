"""What the supervisor does about what happens to its processes. Pure: events in, actions out.

Imports nothing of ctxjobs, does no I/O and reads no clock; :mod:`ctxjobs_worker.supervisor` feeds it
and carries out what it says.

A *generation* is a loader with the children that it has forked. There are two of them at most: one that runs
jobs, and one before it whose children finish theirs. They have slots of their own, so that the new ones need
not wait for the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

Phase = Literal["starting", "running", "draining"]

#: Waiting time before a child is started again: doubles with each failure in a row.
FIRST_BACKOFF_S: Final = 0.5
LAST_BACKOFF_S: Final = 30.0
#: A child that ran this long was well; the count of failures starts anew.
WELL_AFTER_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The processes of one supervisor.

    Attributes:
        size: How many children there should be.
        phase: Before the apps are loaded; as usual; on the way out.
        current: The generation that runs jobs; None while there is none.
        loading: The generation that is being loaded; None if none is.
        old: The generation before, as long as it has children and its loader is there.
        running: Slots whose child runs.
        asked: Slots whose child was asked for and does not run yet.
        wanted: Slots that should have a child.
        failures: Children or loaders in a row that ended unasked.
        again: Whether to reload once more, when the reload that is under way is over.
    """

    size: int
    phase: Phase = "starting"
    current: int | None = None
    loading: int | None = 0
    old: int | None = None
    running: frozenset[int] = frozenset()
    asked: frozenset[int] = frozenset()
    wanted: frozenset[int] = frozenset()
    failures: int = 0
    again: bool = False

    def slots_of(self, generation: int) -> frozenset[int]:
        """The slots of a generation: one half or the other."""
        first = generation % 2 * self.size
        return frozenset(range(first, first + self.size))

    @property
    def is_empty(self) -> bool:
        """Whether no child runs, and none was asked for."""
        return not self.running and not self.asked


# --- events --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """The loader of *generation* has imported the apps."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The loader of *generation* could not import them, and ends."""

    generation: int


@dataclass(frozen=True, slots=True)
class LoaderLost:
    """The loader of *generation* has ended unasked."""

    generation: int


@dataclass(frozen=True, slots=True)
class Forked:
    """The child in *slot* runs."""

    slot: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The child in *slot* has ended.

    Attributes:
        slot: Its slot.
        how: It was *done*; it was *recycled*, in order; it died in a *job*, whose fault it is; or it
            *failed*.
        ran_s: For how long it ran, in seconds.
        leaves_work: Whether it leaves something behind that only a child can do.
    """

    slot: int
    how: Literal["done", "recycled", "job", "failed"]
    ran_s: float = 0.0
    leaves_work: bool = False


@dataclass(frozen=True, slots=True)
class ForkDue:
    """It is time to start a child in *slot*, after a pause."""

    slot: int


@dataclass(frozen=True, slots=True)
class LoadDue:
    """It is time to start the loader of *generation*, after a pause."""

    generation: int


@dataclass(frozen=True, slots=True)
class RetireAsked:
    """The child in *slot* is to finish its job and end, and is not replaced."""

    slot: int


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """The operator wants children with fresh code."""


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The operator wants the worker to stop."""


Event = (
    Loaded
    | LoadFailed
    | LoaderLost
    | Forked
    | Exited
    | ForkDue
    | LoadDue
    | RetireAsked
    | ReloadAsked
    | StopAsked
)

# --- actions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a child in *slot*."""

    slot: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Let *event* happen after *delay_s* seconds."""

    delay_s: float
    event: ForkDue | LoadDue


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the child in *slot* to finish its job and end; *now* means to end it at once."""

    slot: int
    now: bool = False


@dataclass(frozen=True, slots=True)
class StartLoader:
    """Start the loader of *generation*."""

    generation: int


@dataclass(frozen=True, slots=True)
class StopLoader:
    """Let the loader of *generation* end: it has no children any more, or is to have none."""

    generation: int


@dataclass(frozen=True, slots=True)
class Quit:
    """End the supervisor."""


Action = Fork | Wait | Terminate | StartLoader | StopLoader | Quit
Decision = tuple[Fleet, list[Action]]


def decide(fleet: Fleet, event: Event) -> Decision:
    """What becomes of *fleet* after *event*, and what to do about it."""
    match event:
        case Loaded(generation):
            return _loaded(fleet, generation)
        case LoadFailed(generation):
            return _settled(replace(fleet, loading=None if fleet.loading == generation else fleet.loading))
        case LoaderLost(generation):
            return _loader_lost(fleet, generation)
        case Forked(slot):
            return _forked(fleet, slot)
        case Exited():
            return _exited(fleet, event)
        case ForkDue(slot):
            due = slot in fleet.wanted and slot not in fleet.running | fleet.asked
            return _fork(fleet, {slot}) if due else (fleet, [])
        case LoadDue(generation):
            return fleet, [StartLoader(generation)] if fleet.loading == generation else []
        case RetireAsked(slot):
            return replace(fleet, wanted=fleet.wanted - {slot}), [Terminate(slot)]
        case ReloadAsked():
            return _settled(replace(fleet, again=fleet.phase == "running"))
        case StopAsked():
            return _stop(fleet)


def backoff_s(failures: int) -> float:
    """Seconds to wait after the *failures*-th failure in a row."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16), LAST_BACKOFF_S)


def _loaded(fleet: Fleet, generation: int) -> Decision:
    if fleet.phase == "draining":
        return replace(fleet, loading=None), [StopLoader(generation), *_quit_if_empty(fleet)]
    wanted = fleet.slots_of(generation)
    before = fleet.current if fleet.current is not None else fleet.old
    leaving = fleet.running - wanted
    fleet = replace(fleet, phase="running", current=generation, loading=None, old=before, wanted=wanted)
    fleet, forks = _fork(fleet, wanted - fleet.running - fleet.asked)
    fleet, actions = _settled(fleet)
    return fleet, [*forks, *_terminate(leaving), *actions]


def _loader_lost(fleet: Fleet, generation: int) -> Decision:
    fleet = replace(fleet, asked=fleet.asked - fleet.slots_of(generation))
    if fleet.phase == "draining":
        current = None if generation == fleet.current else fleet.current
        old = None if generation == fleet.old else fleet.old
        fleet = replace(fleet, current=current, old=old)
        return fleet, _quit_if_empty(fleet)
    if generation not in (fleet.loading, fleet.current):
        return _settled(replace(fleet, old=None))  # its children end by themselves
    failures = fleet.failures + 1
    if generation == fleet.loading and fleet.current is not None:
        return _settled(replace(fleet, loading=None, failures=failures))  # the reload failed; all goes on
    # Its children see that their parent is gone, finish their jobs and end by themselves.
    fleet = replace(fleet, phase="starting", current=None, wanted=frozenset(), failures=failures)
    if fleet.loading not in (None, generation):
        return fleet, _terminate(fleet.running)  # the next one is on its way
    following = generation + 1
    if fleet.old is not None and following % 2 == fleet.old % 2:
        following += 1  # its half of the slots is not free
    pause = Wait(backoff_s(failures), LoadDue(following))
    return replace(fleet, loading=following), [*_terminate(fleet.running), pause]


def _forked(fleet: Fleet, slot: int) -> Decision:
    fleet = replace(fleet, running=fleet.running | {slot}, asked=fleet.asked - {slot})
    return fleet, [] if slot in fleet.wanted else [Terminate(slot)]


def _exited(fleet: Fleet, event: Exited) -> Decision:
    slot = event.slot
    fleet = replace(fleet, running=fleet.running - {slot})
    if event.leaves_work and _has_loader(fleet, slot):
        return _fork(fleet, {slot})
    if slot not in fleet.wanted:
        fleet, actions = _settled(fleet)
        return fleet, actions + _quit_if_empty(fleet)
    if event.how == "done":
        fleet = replace(fleet, wanted=fleet.wanted - {slot})
        return fleet, _quit_if_empty(fleet)
    if event.how != "failed":  # it has done something, so this is no loop that has to be slowed down
        return _fork(fleet, {slot})
    failures = 1 if event.ran_s > WELL_AFTER_S else fleet.failures + 1
    return replace(fleet, failures=failures), [Wait(backoff_s(failures), ForkDue(slot))]


def _fork(fleet: Fleet, slots: Iterable[int]) -> Decision:
    return replace(fleet, asked=fleet.asked.union(slots)), [Fork(slot) for slot in sorted(slots)]


def _has_loader(fleet: Fleet, slot: int) -> bool:
    generations = [one for one in (fleet.current, fleet.old) if one is not None]
    return any(slot in fleet.slots_of(generation) for generation in generations)


def _settled(fleet: Fleet) -> Decision:
    """Let an old generation go that has no children, and begin the reload that was asked for."""
    actions: list[Action] = []
    if fleet.old is not None and not (fleet.running | fleet.asked) & fleet.slots_of(fleet.old):
        actions.append(StopLoader(fleet.old))
        fleet = replace(fleet, old=None)
    if fleet.again and fleet.loading is None and fleet.old is None and fleet.current is not None:
        generation = fleet.current + 1
        fleet = replace(fleet, again=False, loading=generation)
        actions.append(StartLoader(generation))
    return fleet, actions


def _stop(fleet: Fleet) -> Decision:
    again = fleet.phase == "draining"
    fleet = replace(fleet, phase="draining", wanted=frozenset(), again=False)
    return fleet, [*_terminate(fleet.running, now=again), *_quit_if_empty(fleet)]


def _terminate(slots: Iterable[int], *, now: bool = False) -> list[Action]:
    return [Terminate(slot, now) for slot in sorted(slots)]


def _quit_if_empty(fleet: Fleet) -> list[Action]:
    gone = fleet.is_empty and not fleet.wanted and fleet.phase != "starting"
    return [Quit()] if gone or (fleet.is_empty and fleet.phase == "draining") else []
