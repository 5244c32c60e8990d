"""The engine: the loop of one process that runs jobs. Cycle, perform, cycle.

Takes jobs by the cycle, performs them one after the other in this thread, reports them with the next cycle,
and waits without losing anything where there is nothing to do. While the last of the jobs in hand run, the
next ones are already on their way. May import what is below it; the worker that it works for is given, and
gives it RQ's handlers, its name and its settings.

What holds at every step: a job that was taken is in Redis under a name by which somebody finds it again (the
list of what was on its way, the worker's leases, RQ's registry of started jobs), until its outcome is there.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rq.job import Job

from ctxjobs.rqjob import ContextJob
from ctxjobs_worker import slots
from ctxjobs_worker.cycle import Reply, Taken
from ctxjobs_worker.employer import Employer, Performs
from ctxjobs_worker.exchange import Exchange, GaveUpError
from ctxjobs_worker.pace import Pace
from ctxjobs_worker.perform import StopNow
from ctxjobs_worker.slots import Slot
from ctxjobs_worker.waiting import WAIT_S

_log = logging.getLogger("ctxjobs.worker")

#: How often a worker asks whether it is still suspended, in seconds; as RQ.
SUSPENDED_S: Final = 1.0
#: A lease that is older is asked for before it starts, in seconds: this process may have been stopped, and
#: the lease be somebody else's by now.
_FRESH_S: Final = 20.0
#: The next jobs are asked for when no more than this part of those in hand is left.
_AHEAD_ONE_IN: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """When a loop ends by itself.

    Attributes:
        burst: When the queues are empty.
        max_jobs: After so many jobs; None for no limit.
        max_idle_s: After so many seconds without a job; None for no limit.
    """

    burst: bool = False
    max_jobs: int | None = None
    max_idle_s: float | None = None


class Engine:
    """The loop.

    Args:
        employer: The worker.
        exchange: Asks Redis for it.
        performer: Performs jobs.
        slot: This process' slot.
        takes_leases: Whether somebody takes leases back from this process when a job turns out long; else it
            takes none, that is, one job at a time.

    Attributes:
        jobs: How many jobs it has run.
        queues_were_empty: Whether there was nothing left to do.
    """

    def __init__(
        self, employer: Employer, exchange: Exchange, performer: Performs, slot: Slot, *, takes_leases: bool
    ) -> None:
        self._employer = employer
        self._exchange = exchange
        self._performer = performer
        self._slot = slot
        self._takes_leases = takes_leases
        self._pace = Pace()
        self._in_hand: deque[Taken] = deque()
        self._limits = Limits()
        self._is_performing = False
        self.jobs = 0
        self.queues_were_empty = False

    def run(self, limits: Limits) -> int:
        """Run jobs until asked to stop, or until *limits* say so.

        Returns:
            How many jobs were run.

        Raises:
            StopNow: The process is to end at once; what it held was given back.
        """
        self._limits = limits
        idle_since = time.monotonic()
        try:
            while not self._is_over():
                if self._turn():
                    idle_since = time.monotonic()
                elif self._is_idle_too_long(idle_since):
                    break
            self._exchange.leave()
        except GaveUpError as exc:
            _log.error("stops although Redis does not answer (%s)", exc)
        except StopNow:
            self._exchange.release("stop")
            raise
        finally:
            self._exchange.close()
        return self.jobs

    def report(self) -> None:
        """Report what is done, in the middle of a job that turned out long: a signal handler calls this."""
        if self._is_performing:
            self._is_performing = False  # not once more in the middle of this
            try:
                self._exchange.tell_early()
            finally:
                self._is_performing = True
            self._slot.set_done(0)

    # --- the loop -------------------------------------------------------------------------

    def _turn(self) -> bool:
        """One cycle, and the jobs that it brings; whether there were any."""
        self._employer.between_jobs()
        reply = self._next()
        if reply.taken:
            self._work_off(reply.taken)
        elif reply.is_suspended:
            self._stay_suspended()
        elif self._limits.burst:
            self.queues_were_empty = not reply.slow  # RQ may have put others on their queues meanwhile
        elif not self._employer.is_stopping:
            self._exchange.wait(self._wait_s())
        return bool(reply.taken)

    def _next(self) -> Reply:
        """What was asked for ahead; if there was nothing, the queues may have something by now."""
        if self._exchange.is_ahead:
            reply = self._exchange.answer()
            if reply.taken:
                return reply
        return self._exchange.ask(self._how_many())

    def _work_off(self, jobs: Sequence[Taken]) -> None:
        self._in_hand.extend(jobs)
        while self._in_hand:
            taken = self._in_hand.popleft()
            self._slot.set_held(len(self._in_hand) + self._exchange.is_ahead)
            job = self._read(taken)
            if job is None:
                _log.warning("%r was in queue %s and is no job; it was dropped", taken.job_id, taken.queue)
                self._exchange.forget(taken)
                continue
            function = function_of(job)
            if taken.has_started or self._may_start(taken, function):
                self._perform(taken, job, function)
            if self._is_to_stop():
                self._give_back()
            elif len(self._in_hand) == len(jobs) // _AHEAD_ONE_IN:
                self._ask_ahead()

    def _read(self, taken: Taken) -> Job | None:
        """Read a job. One whose process was gone runs from here on: that it is read may have been the end."""
        if taken.has_started and taken.is_redelivered:
            self._slot.start(_token(taken), time.monotonic())
        job = self._employer.read(taken)
        if job is None:
            self._slot.end()
        return job

    def _give_back(self, *jobs: Taken) -> None:
        """Give back all that is in hand or on its way here, *jobs* before that."""
        self._exchange.give_back([*jobs, *self._in_hand])
        self._in_hand.clear()

    def _ask_ahead(self) -> None:
        if self._in_hand and not self._exchange.is_ahead:
            many = self._how_many() - len(self._in_hand)
            if many > 0:
                self._exchange.ask_ahead(many)

    def _perform(self, taken: Taken, job: Job, function: str) -> None:
        at = time.monotonic()
        if taken.has_started:
            # Nothing that has started can have been revoked, but a revocation may be left from before.
            self._slot.forget_revoked()
            self._slot.start(_token(taken), at)
        self._slot.set_done(self._exchange.untold)
        began = self._exchange.asked_at if taken.has_started else None
        self._is_performing = True
        try:
            outcome = self._performer.perform(taken, job, began)
        finally:
            self._is_performing = False
        self._slot.end()
        self.jobs += 1
        if not outcome.is_told:
            self._employer.tell(outcome)
        if not outcome.is_settled:
            self._exchange.done(outcome)
        self._pace.note(function, time.monotonic() - at)

    def _may_start(self, taken: Taken, function: str) -> bool:
        """Start a lease: by itself if it is known to be short, else by a cycle, which gives back the rest."""
        self._pace.met(function)
        at = time.monotonic()
        if not self._pace.is_short(function) or at - taken.at > _FRESH_S:
            self._give_back()
            taken.has_started = taken.execution_id not in self._exchange.ask(starts=taken).lost
            return taken.has_started
        if self._slot.start(_token(taken), at):
            return True
        self._give_back(taken)  # the job before was a long one, and they are others' by now
        self._slot.forget_revoked()
        return False

    def _stay_suspended(self) -> None:
        if self._limits.burst:
            _log.info("suspended, and so done")
            self.queues_were_empty = True
            return
        self._employer.show("suspended")
        self._exchange.sleep(SUSPENDED_S)

    # --- when it ends ---------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._limits.max_jobs is not None and self.jobs >= self._limits.max_jobs:
            return True
        return self.queues_were_empty or self._is_to_stop()

    def _is_to_stop(self) -> bool:
        return self._employer.is_stopping or not self._exchange.has_own_parent()

    def _is_idle_too_long(self, since: float) -> bool:
        return self._limits.max_idle_s is not None and time.monotonic() - since >= self._limits.max_idle_s

    def _wait_s(self) -> float:
        return WAIT_S if self._limits.max_idle_s is None else min(WAIT_S, max(self._limits.max_idle_s, 0.05))

    def _how_many(self) -> int:
        many = self._pace.take() if self._takes_leases else 1
        if self._limits.max_jobs is not None:
            many = min(many, self._limits.max_jobs - self.jobs)
        return many


def _token(taken: Taken) -> int:
    digits = taken.execution_id[16:]
    return slots.token_of(int(digits[:12], 16), int(digits[12:], 16))


def function_of(job: Job) -> str:
    """What the function of *job* is called; empty if it cannot be read."""
    if isinstance(job, ContextJob) and job.envelope is not None:
        return job.envelope.function
    try:
        return str(job.func_name)
    except Exception:  # noqa: BLE001 - whatever a serializer raises: the job fails over it when it runs
        return ""
