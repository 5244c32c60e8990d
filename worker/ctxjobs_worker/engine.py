"""The engine: the loop of one process that runs jobs. Cycle, perform, cycle.

Takes jobs by the cycle, performs them one after the other in this thread, reports them with the next cycle,
and waits without losing anything where there is nothing to do. May import what is below it; the worker that
it works for is given, and gives it RQ's handlers, its name and its settings.

What holds at every step: a job that was taken is in Redis under a name by which somebody finds it again (the
list of what was on its way, the worker's leases, RQ's registry of started jobs), until its outcome is there.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis.exceptions import RedisError
from rq.job import Job

from ctxjobs.keys import REDELIVERED_FIELD
from ctxjobs_worker import slots
from ctxjobs_worker.cycle import Cycle, Done, Identity, Now, Reply, Request, Script, Taken
from ctxjobs_worker.link import Link
from ctxjobs_worker.pace import Pace
from ctxjobs_worker.perform import Outcome, StopNow
from ctxjobs_worker.settling import Settler
from ctxjobs_worker.slots import Slot
from ctxjobs_worker.waiting import LAST_LOOK_S, WAIT_S, Waiter

_log = logging.getLogger("ctxjobs.worker")

_RELEASE: Final = Script("release")
_REDELIVERED: Final = REDELIVERED_FIELD.encode()

#: For how long a process that was asked to stop goes on trying to report what it has done, in seconds.
REPORT_PATIENCE_S: Final = 60.0
#: How often a worker asks whether it is still suspended, in seconds; as RQ.
SUSPENDED_S: Final = 1.0
#: A lease that is older is asked for before it starts, in seconds: this process may have been stopped, and
#: the lease be somebody else's by now.
_FRESH_S: Final = 20.0


class GaveUpError(Exception):
    """The process was asked to stop, and Redis does not answer."""


class Employer(Protocol):
    """Whom the engine works for: the worker, as far as it is asked.

    Attributes:
        is_stopping: Whether it was asked to stop.
    """

    is_stopping: bool

    def read(self, taken: Taken) -> Job | None:
        """The job that *taken* is, verified or refused; None if it is none."""
        ...

    def queue_for(self, taken: Taken, job: Job) -> Any:
        """RQ's queue in which *taken* was found."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """A job has an outcome: log it, call exception handlers."""
        ...

    def queue_order(self) -> Sequence[str]:
        """Names of the queues, the most urgent first, for the next cycle."""
        ...

    def took_from(self, queue: str) -> None:
        """The next job was taken from this queue."""
        ...

    def between_jobs(self) -> None:
        """What is to be done now and then, when no job runs."""
        ...

    def show(self, state: str) -> None:
        """Show RQ that the worker is in this state."""
        ...

    def register(self) -> None:
        """Register with RQ again, which knows this worker no more."""
        ...


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


class Performs(Protocol):
    """What performs jobs."""

    def perform(self, taken: Taken, job: Job, began: str | None) -> Outcome:
        """Run *job*, which was read from *taken*: see :meth:`ctxjobs_worker.perform.Performer.perform`."""
        ...


class Engine:
    """The loop.

    Args:
        employer: The worker.
        identity: Its name, its token, its queues.
        client: Says where Redis is.
        performer: Performs jobs.
        settler: Makes the settler of outcomes that only RQ can bring to Redis, given how to wait for it.
        slot: This process' slot.
        wakeup: A descriptor that can be read from once a signal has come; None if none are answered.
        takes_leases: Whether somebody takes leases back from this process when a job turns out long; else it
            takes
            none, that is, one job at a time.
        worker_ttl: How long RQ's hash of the worker is kept, in seconds.
        in_turn: Whether to take one job from each queue in turn.

    Attributes:
        jobs: How many jobs it has run.
        next_job_id: The job that Redis shows as running while the outcome of the one before is brought there.
        queues_were_empty: Whether there was nothing left to do.
    """

    def __init__(
        self,
        employer: Employer,
        identity: Identity,
        client: Any,
        performer: Performs,
        settler: Callable[[Callable[[Exception], None]], Settler],
        *,
        slot: Slot,
        wakeup: int | None,
        takes_leases: bool,
        worker_ttl: int,
        in_turn: bool = False,
    ) -> None:
        self._employer = employer
        self._identity = identity
        self._performer = performer
        self._link = Link(client)
        self._cycle = Cycle(self._link, identity, worker_ttl)
        self._waiter = Waiter(client, identity.worker, identity.queues, wakeup)
        self._settler = settler(self.pause)
        self._slot = slot
        self._takes_leases = takes_leases
        self._in_turn = in_turn
        self._pace = Pace()
        self._done: list[Outcome] = []
        self._back: list[str] = []
        self._forget: list[str] = []
        self._parent_pid = os.getppid()
        self._stop_by = math.inf
        self._limits = Limits()
        self.jobs = 0
        self.next_job_id: str | None = None
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
            self._leave()
        except GaveUpError as exc:
            _log.error("worker %s: stops although Redis does not answer (%s)", self._identity.worker, exc)
        except StopNow:
            self._release("stop")
            raise
        finally:
            self._waiter.close()
            self._link.drop()
        return self.jobs

    # --- the loop -------------------------------------------------------------------------

    def _turn(self) -> bool:
        """One cycle, and the jobs that it brings; whether there were any."""
        self._employer.between_jobs()
        reply = self._exchange(self._request(take=self._how_many()))
        if reply.taken:
            self._work_off(reply.taken)
        elif reply.is_suspended:
            self._stay_suspended()
        elif self._limits.burst:
            self.queues_were_empty = not reply.slow  # RQ may have put others on their queues meanwhile
        elif not self._employer.is_stopping:
            self._wait()
        return bool(reply.taken)

    def _work_off(self, jobs: Sequence[Taken]) -> None:
        for number, taken in enumerate(jobs):
            rest = jobs[number + 1 :]
            self._slot.set_held(len(rest))
            job = self._employer.read(taken)
            if job is None:
                _log.warning("%r was in queue %s and is no job; it was dropped", taken.job_id, taken.queue)
                self._forget.append(taken.execution_id)
                continue
            if not taken.has_started and not self._may_start(taken, job, rest):
                return
            self._perform(taken, job)
            if self._employer.is_stopping or not self._has_own_parent():
                self._back += [one.execution_id for one in rest]
                return

    def _perform(self, taken: Taken, job: Job) -> None:
        at = time.monotonic()
        if taken.has_started:
            # Nothing that has started can have been revoked, but a revocation may be left from before.
            self._slot.forget_revoked()
            self._slot.start(self._token(taken), at)
        began = self._cycle.started_at.number if taken.has_started else None
        outcome = self._performer.perform(taken, job, began)
        self._slot.end()
        self.jobs += 1
        if not outcome.is_told:
            self._employer.tell(outcome)
        if outcome.is_settled:
            return
        if outcome.ending is None:
            self._settler.settle(outcome, self._employer.queue_for(taken, job))
        else:
            self._done.append(outcome)
        self._pace.note(function_of(job), time.monotonic() - at)

    def _may_start(self, taken: Taken, job: Job, rest: Sequence[Taken]) -> bool:
        """Start a lease: by itself if it is known to be short, else by a cycle, which gives back the rest."""
        self._pace.met(function_of(job))
        at = time.monotonic()
        if self._pace.is_short(function_of(job)) and at - taken.at < _FRESH_S:
            if self._slot.start(self._token(taken), at):
                return True
            self._back += [one.execution_id for one in (taken, *rest)]
            self._slot.forget_revoked()
            return False
        self._back += [one.execution_id for one in rest]
        taken.has_started = True
        self.next_job_id = taken.job_id
        reply = self._exchange(self._request(starts=taken.execution_id))
        if taken.execution_id in reply.lost:
            return False
        self._perform(taken, job)
        return False

    def _wait(self) -> None:
        try:
            self._waiter.wait(self._wait_s())
        except RedisError as exc:
            self.pause(exc)

    def _wait_s(self) -> float:
        return WAIT_S if self._limits.max_idle_s is None else min(WAIT_S, max(self._limits.max_idle_s, 0.05))

    def _stay_suspended(self) -> None:
        if self._limits.burst:
            _log.info("worker %s: suspended, and so done", self._identity.worker)
            self.queues_were_empty = True
            return
        self._employer.show("suspended")
        self._sleep(SUSPENDED_S)

    def _is_over(self) -> bool:
        if self._limits.max_jobs is not None and self.jobs >= self._limits.max_jobs:
            return True
        return self.queues_were_empty or self._employer.is_stopping or not self._has_own_parent()

    def _is_idle_too_long(self, since: float) -> bool:
        return self._limits.max_idle_s is not None and time.monotonic() - since >= self._limits.max_idle_s

    def _has_own_parent(self) -> bool:
        return os.getppid() == self._parent_pid

    # --- Redis ----------------------------------------------------------------------------

    def _how_many(self) -> int:
        many = self._pace.take() if self._takes_leases else 1
        if self._limits.max_jobs is not None:
            many = min(many, self._limits.max_jobs - self.jobs)
        return many

    def _request(self, take: int = 0, starts: str = "") -> Request:
        queues = self._employer.queue_order()
        done = [done_of(outcome) for outcome in self._done]
        return Request(done, starts, self._back, queues, take, in_turn=self._in_turn, forget=self._forget)

    def _exchange(self, request: Request) -> Reply:
        """One round trip, for as long as it takes."""
        try:
            interruptions = self._waiter.interruptions()
            self._cycle.send(request, *interruptions)
        except RedisError as exc:
            self.pause(exc)
        while True:
            try:
                reply = self._cycle.receive()
                break
            except RedisError as exc:
                self.pause(exc)
        self._settle_waits()
        self._take_note(reply)
        return reply

    def _settle_waits(self) -> None:
        try:
            self._waiter.settle()
        except RedisError:
            self._waiter.close()

    def _take_note(self, reply: Reply) -> None:
        done, self._done, self._back, self._forget = self._done, [], [], []
        if reply.is_usurped:
            raise RuntimeError(f"another process works under the name {self._identity.worker}")
        for job_id in reply.dropped:
            _log.warning("%r was in a queue and is no job; it was dropped", job_id)
        if reply.taken and reply.taken[0].has_started:
            self.next_job_id = reply.taken[0].job_id
        for outcome in done:
            if outcome.taken.execution_id in reply.lost:
                _log.warning(
                    "job %s: somebody else has ended it meanwhile; its outcome is dropped", outcome.job.id
                )
            elif outcome.taken.execution_id in reply.slow:
                self._settler.settle(outcome, self._employer.queue_for(outcome.taken, outcome.job))
        self.next_job_id = None
        if reply.is_unregistered:
            self._employer.register()
        for taken in reply.taken:
            self._employer.took_from(taken.queue)

    def _leave(self) -> None:
        """Report what is done, and give back what is held."""
        if self._done or self._back or self._forget:
            self._exchange(self._request())
        self._release("leave")

    def _release(self, how: str) -> None:
        now = Now.read()
        request = (self._identity.worker, how, "", self._identity.queues, *now, 0, LAST_LOOK_S)
        try:
            interruptions = self._waiter.interruptions()
            self._link.drop()  # whatever was under way on it
            self._link.send(*interruptions, _RELEASE.command(request))
            for _ in interruptions:
                self._link.receive()
            _RELEASE.answer(self._link, request)
            self._settle_waits()
        except RedisError as exc:
            _log.error(
                "worker %s: could not give back what it held (%s); others will, in a minute or two",
                self._identity.worker,
                exc,
            )

    def pause(self, exc: Exception) -> None:
        """Wait a little, Redis having failed.

        Raises:
            GaveUpError: The process was asked to stop, and there is nothing to report, or it was tried long
                enough.
        """
        pause_s = self._link.pause_s()
        self._waiter.close()
        if not self._employer.is_stopping and self._has_own_parent():
            _log.error(
                "worker %s: Redis does not answer (%s); again in %.1f s", self._identity.worker, exc, pause_s
            )
        self._sleep(pause_s)
        if self._employer.is_stopping or not self._has_own_parent():
            if not self._done:
                raise GaveUpError(exc)
            self._stop_by = min(self._stop_by, time.monotonic() + REPORT_PATIENCE_S)
            if time.monotonic() > self._stop_by:
                raise GaveUpError(exc)

    def _sleep(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self._employer.is_stopping:
            time.sleep(min(left_s, 0.1))

    # --- jobs -----------------------------------------------------------------------------

    def _token(self, taken: Taken) -> int:
        digits = taken.execution_id[16:]
        return slots.token_of(int(digits[:12], 16), int(digits[12:], 16))


def function_of(job: Job) -> str:
    """What the function of *job* is called; empty if it cannot be read."""
    try:
        return str(job.func_name)
    except Exception:  # noqa: BLE001 - whatever a serializer raises: the job fails over it when it runs
        return ""


def done_of(outcome: Outcome) -> Done:
    """*outcome* as the script wants it."""
    taken, job, ending = outcome.taken, outcome.job, outcome.ending
    if ending is None:
        raise RuntimeError(f"job {job.id} cannot be ended by the script")
    return (
        taken.execution_id,
        taken.job_id,
        taken.queue,
        outcome.how == "succeeded",
        ending.fields,
        ending.result,
        ending.keep_s,
        False if ending.keep_result_s is None else ending.keep_result_s,
        ending.score,
        ending.has_dependencies,
        ending.ran_s,
        _index_entry(job, ending.keep_s),
        _REDELIVERED in taken.fields,
    )


def _index_entry(job: Any, keep_s: int) -> Any:
    entry = getattr(job, "index_entry", None)
    return False if entry is None else entry(keep_s) or False
