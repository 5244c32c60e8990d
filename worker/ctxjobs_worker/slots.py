"""Shared memory between supervisor and children: what each child runs, since when, and until when it may.

A child writes its slot, some words without any system call for each job; the supervisor reads it at any time,
also after the child's death. One word goes the other way: what the supervisor has taken away from a child,
and what it wants of it. Imports nothing of ctxjobs; knows neither Redis nor RQ.

Each field is one aligned word of eight bytes, so it is read as it was written. Only one thing needs a lock:
that a child starts a job, while the supervisor is about to give it to somebody else, or to kill the one
before. That is a lock on a byte of the file, which the kernel releases if its holder dies.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import tempfile
import time
from contextlib import suppress
from typing import Final, Literal

_WORD_BYTES: Final = 8
_WORDS: Final = 16
_PID, _RUNNING, _STARTED, _DEADLINE, _REVOKED, _ORDERS, _HELD, _LOOKED_AFTER, _HORSE, _DONE = range(10)

#: What a supervisor may want of a child: to clean up RQ's registries, because a job there is overdue. And why
#: it has killed the process in which the child ran a job: RQ's stop-job, RQ's kill-horse, its time was over.
ORDER_MAINTENANCE: Final = 1
ORDER_STOPPED: Final = 2
ORDER_KILLED: Final = 4
ORDER_OVERDUE: Final = 8

#: Tells a child to report what it has done, while its job runs on; without a handler it is ignored.
REPORT_SIGNAL: Final = signal.SIGURG

_INDEX_BITS: Final = 16


class Slots:
    """The slots of one supervisor's children.

    Args:
        count: How many.
        descriptor: The file, in a process that has inherited it; None makes a new one.
    """

    def __init__(self, count: int, descriptor: int | None = None) -> None:
        size = count * _WORDS * _WORD_BYTES
        self.count = count
        self.descriptor = _new_file(size) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, size)
        view = memoryview(self._memory)
        self.words, self.seconds = view.cast("Q"), view.cast("d")

    def __getitem__(self, number: int) -> Slot:
        return Slot(self, number)


def _new_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("ctxjobs-slots")
        os.ftruncate(descriptor, size)
        return descriptor
    with tempfile.TemporaryFile(buffering=0) as file:
        os.ftruncate(file.fileno(), size)
        return os.dup(file.fileno())


class Slot:
    """One slot. A *token* names one of the jobs that a child has taken, in their order; 0 is none.

    Args:
        slots: All of them.
        number: Which one.
    """

    __slots__ = ("_base", "_seconds", "_slots", "_words", "number")

    def __init__(self, slots: Slots, number: int) -> None:
        self._slots, self.number = slots, number
        self._words, self._seconds = slots.words, slots.seconds
        self._base = number * _WORDS

    # --- the child ------------------------------------------------------------------------

    def take_over(self, pid: int) -> None:
        """A new child begins here, in a slot that was cleared."""
        self._words[self._base + _PID] = pid

    def start(self, token: int, at: float) -> bool:
        """The job *token* runs, from *at* on the monotonic clock; False if it was revoked, and must not."""
        with _Lock(self._slots.descriptor, self.number):
            revoked = self._words[self._base + _REVOKED]
            if revoked and token > revoked:
                return False
            self._seconds[self._base + _STARTED] = at
            self._seconds[self._base + _DEADLINE] = 0.0  # that of the job before, if its process was killed
            self._words[self._base + _RUNNING] = token
        return True

    def end(self) -> None:
        """Nothing runs any more."""
        self._words[self._base + _RUNNING] = 0

    def set_deadline(self, at: float) -> None:
        """When the supervisor is to end this child, on the monotonic clock; 0 for never."""
        self._seconds[self._base + _DEADLINE] = at

    def set_looked_after(self, count: int) -> None:
        """How many of the jobs it has looked after that it was given."""
        self._words[self._base + _LOOKED_AFTER] = count

    def set_held(self, count: int) -> None:
        """How many leases the child holds."""
        self._words[self._base + _HELD] = count

    def set_done(self, count: int) -> None:
        """How many jobs the child has done and not reported."""
        self._words[self._base + _DONE] = count

    def forget_revoked(self) -> None:
        """The child has let go of what was revoked."""
        with _Lock(self._slots.descriptor, self.number):
            self._words[self._base + _REVOKED] = 0

    def take_orders(self, mask: int) -> int:
        """What the supervisor wants, of the orders in *mask*; each is told once."""
        if not self._words[self._base + _ORDERS] & mask:
            return 0
        with _Lock(self._slots.descriptor, self.number):
            orders = self._words[self._base + _ORDERS]
            self._words[self._base + _ORDERS] = orders & ~mask
        return orders & mask

    def set_horse(self, pid: int) -> None:
        """The job runs in this process, not in the child."""
        self._words[self._base + _HORSE] = pid

    def forget_horse(self) -> None:
        """That process has ended, and its deadline with it."""
        with _Lock(self._slots.descriptor, self.number):
            self._words[self._base + _HORSE] = 0
            self._seconds[self._base + _DEADLINE] = 0.0

    # --- the supervisor -------------------------------------------------------------------

    def clear(self) -> None:
        """Forget the child that was here."""
        for word in range(_WORDS):
            self._words[self._base + word] = 0

    @property
    def running(self) -> int:
        """Token of the job that runs, or that ran when the child died; 0 if there is none."""
        return self._words[self._base + _RUNNING]

    @property
    def started(self) -> float:
        """Since when, on the monotonic clock."""
        return self._seconds[self._base + _STARTED]

    @property
    def deadline(self) -> float:
        """When the child is to be ended; 0 for never."""
        return self._seconds[self._base + _DEADLINE]

    @property
    def held(self) -> int:
        """How many leases the child holds."""
        return self._words[self._base + _HELD]

    @property
    def done(self) -> int:
        """How many jobs the child has done and not reported."""
        return self._words[self._base + _DONE]

    @property
    def looked_after(self) -> int:
        """How many of the jobs it has looked after whose processes were gone."""
        return self._words[self._base + _LOOKED_AFTER]

    def is_overdue(self, now: float) -> bool:
        """Whether a job runs that should have ended, at *now* on the monotonic clock."""
        return bool(self.running) and 0 < self.deadline < now

    def kill(self, token: int, why: int) -> Literal["child", "horse"] | None:
        """Kill the process that runs the job *token*, if it still does; which one that was.

        If it is killed because it is overdue, it has to be so still.

        Args:
            token: The job's.
            why: One of the orders that say so, for the child, if it lives on.
        """
        with _Lock(self._slots.descriptor, self.number):
            if not token or self.running != token:
                return None
            if why == ORDER_OVERDUE and not self.is_overdue(time.monotonic()):
                return None
            horse = self._words[self._base + _HORSE]
            if horse:
                self._words[self._base + _ORDERS] |= why
            with suppress(ProcessLookupError):  # it is dead, and its end is on its way to the supervisor
                os.kill(horse or self._words[self._base + _PID], signal.SIGKILL)
        return "horse" if horse else "child"

    def signal(self, pid: int, signum: signal.Signals) -> None:
        """Send a signal to the child *pid*, which need not have taken over yet; SIGKILL goes to the process
        that runs its job, too.
        """
        horse = self._words[self._base + _HORSE]
        for each in (horse, pid) if horse and signum == signal.SIGKILL else (pid,):
            with suppress(ProcessLookupError):  # as above
                os.kill(each, signum)

    def revoke(self) -> int:
        """Take away what comes after the running job; its token, or 0 if nothing runs."""
        with _Lock(self._slots.descriptor, self.number):
            running = self.running
            if running:
                self._words[self._base + _REVOKED] = running
        return running

    def order(self, what: int) -> None:
        """Want something of the child."""
        with _Lock(self._slots.descriptor, self.number):
            self._words[self._base + _ORDERS] |= what


class _Lock:
    """The lock of one slot."""

    __slots__ = ("_descriptor", "_number")

    def __init__(self, descriptor: int, number: int) -> None:
        self._descriptor, self._number = descriptor, number

    def __enter__(self) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, self._number)

    def __exit__(self, *exc_info: object) -> None:
        fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, self._number)


def token_of(seq: int, index: int) -> int:
    """Token of the job that request *seq* has taken as its *index*-th."""
    return (seq << _INDEX_BITS | index) + 1


def seq_and_index(token: int) -> tuple[int, int]:
    """The inverse of :func:`token_of`."""
    return (token - 1) >> _INDEX_BITS, (token - 1) & ((1 << _INDEX_BITS) - 1)
