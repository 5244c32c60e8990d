"""What the supervisor does about what happens to its processes. Pure: events in, actions out.

Imports nothing of ctxjobs, does no I/O and reads no clock; :mod:`ctxjobs_worker.supervisor` feeds it
and carries out what it says.
"""

from __future__ import annotations

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
        running: Slots whose child runs.
        pending: Slots whose child was asked for and does not run yet.
        failures: Children in a row that ended unasked.
    """

    size: int
    phase: Phase = "starting"
    running: frozenset[int] = frozenset()
    pending: frozenset[int] = frozenset()
    failures: int = 0


# --- events --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Loaded:
    """A loader has imported the apps."""


@dataclass(frozen=True, slots=True)
class LoaderLost:
    """The loader has ended unasked."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The child in *slot* runs."""

    slot: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The child in *slot* has ended after *ran_s* seconds: it was *done*, *recycled*, or failed."""

    slot: int
    done: bool
    ran_s: float
    recycled: bool = False


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The operator wants the worker to stop."""


Event = Loaded | LoaderLost | Forked | Exited | StopAsked

# --- actions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fork:
    """Start a child in *slot*, after *delay_s* seconds."""

    slot: int
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Terminate:
    """Ask the child in *slot* to finish its job and end; *now* means to end it at once."""

    slot: int
    now: bool = False


@dataclass(frozen=True, slots=True)
class StartLoader:
    """Start a loader, after *delay_s* seconds."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class Quit:
    """End the supervisor."""


Action = Fork | Terminate | StartLoader | Quit


def decide(fleet: Fleet, event: Event) -> tuple[Fleet, list[Action]]:
    """What becomes of *fleet* after *event*, and what to do about it."""
    if isinstance(event, Loaded):
        return _fill(fleet)
    if isinstance(event, Forked):
        return _forked(fleet, event.slot)
    if isinstance(event, Exited):
        return _exited(fleet, event)
    if isinstance(event, LoaderLost):
        return _reload(fleet)
    return _stop(fleet)


def backoff_s(failures: int) -> float:
    """Seconds to wait after the *failures*-th failure in a row."""
    return min(FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16), LAST_BACKOFF_S)


def _fill(fleet: Fleet) -> tuple[Fleet, list[Action]]:
    if fleet.phase == "draining":
        return fleet, [Quit()]
    slots = range(fleet.size)
    return replace(fleet, phase="running", pending=frozenset(slots)), [Fork(slot) for slot in slots]


def _forked(fleet: Fleet, slot: int) -> tuple[Fleet, list[Action]]:
    fleet = replace(fleet, running=fleet.running | {slot}, pending=fleet.pending - {slot})
    return fleet, [Terminate(slot)] if fleet.phase == "draining" else []


def _exited(fleet: Fleet, event: Exited) -> tuple[Fleet, list[Action]]:
    fleet = replace(fleet, running=fleet.running - {event.slot})
    if fleet.phase == "draining" or event.done:
        return fleet, [] if fleet.running or fleet.pending else [Quit()]
    if event.recycled:  # it has done a job, so this is no loop that has to be slowed down
        return replace(fleet, pending=fleet.pending | {event.slot}), [Fork(event.slot)]
    failures = 1 if event.ran_s > WELL_AFTER_S else fleet.failures + 1
    fleet = replace(fleet, pending=fleet.pending | {event.slot}, failures=failures)
    return fleet, [Fork(event.slot, backoff_s(failures))]


def _reload(fleet: Fleet) -> tuple[Fleet, list[Action]]:
    # Its children see that their parent is gone, finish their jobs and end by themselves.
    failures = fleet.failures + 1
    lost = Fleet(fleet.size, phase="starting", failures=failures)
    return (fleet, [Quit()]) if fleet.phase == "draining" else (lost, [StartLoader(backoff_s(failures))])


def _stop(fleet: Fleet) -> tuple[Fleet, list[Action]]:
    again = fleet.phase == "draining"
    fleet = replace(fleet, phase="draining", pending=frozenset())
    if not fleet.running:
        return fleet, [Quit()]
    return fleet, [Terminate(slot, now=again) for slot in sorted(fleet.running)]
