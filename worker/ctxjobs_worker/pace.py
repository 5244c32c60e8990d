"""How many jobs a child takes at a time: few milliseconds of work, of functions that are known to be short.

A round trip costs as much as a short job. But what a child holds nobody else can run, and it waits if the job
before it turns out long; so a child takes one job, until it has seen that they are short. Pure: told how long
jobs took, asked how many to take. Imports nothing of ctxjobs.
"""

from __future__ import annotations

from typing import Final

#: How much work a child may hold, in seconds.
IN_HAND_S: Final = 0.010
#: How many jobs a child may hold, however short they are; the script's own limits are above that.
MOST: Final = 128
#: A function is known once it has run as often as this.
KNOWN_AFTER: Final = 5
#: How much the latest run counts in a moving average.
_WEIGHT: Final = 0.2


class Pace:
    """The pace of one child."""

    def __init__(self) -> None:
        self._functions: dict[str, tuple[int, float]] = {}  # runs, moving average in seconds
        self._mean_s = IN_HAND_S
        self._take = 1

    def note(self, function: str, took_s: float) -> None:
        """A job of *function* has run for *took_s* seconds, with all that belongs to it."""
        runs, mean_s = self._functions.get(function, (0, took_s))
        if took_s >= IN_HAND_S:
            self._functions[function] = (0, took_s)  # it has to prove itself again
            self._take = 1
        else:
            self._functions[function] = (runs + 1, mean_s + _WEIGHT * (took_s - mean_s))
        self._mean_s += _WEIGHT * (took_s - self._mean_s)

    def is_short(self, function: str) -> bool:
        """Whether jobs of *function* are known to be short."""
        runs, mean_s = self._functions.get(function, (0, IN_HAND_S))
        return runs >= KNOWN_AFTER and mean_s <= IN_HAND_S / 2

    def met(self, function: str) -> None:
        """The next job is one of *function*: if that is not known to be short, it is taken alone."""
        if not self.is_short(function):
            self._take = 1

    def take(self) -> int:
        """How many jobs to take now: at most twice as many as the last time."""
        fitting = int(IN_HAND_S / max(self._mean_s, 1e-6))
        taken, self._take = self._take, max(1, min(self._take * 2, fitting, MOST))
        return min(taken, max(1, fitting))
