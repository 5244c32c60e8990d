"""What a process asks of Redis, until it is answered: jobs, and what became of those that it had.

Keeps what is to be said with the next request, sends that, sees to what comes of it, and waits where there is
nothing to do or no Redis. May import the cycle, the settler and the waiter; decides nothing about jobs.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import RedisError

from ctxjobs_worker.cycle import Cycle, Done, Identity, Now, Reply, Request, Script, Taken
from ctxjobs_worker.employer import Employer
from ctxjobs_worker.link import Link
from ctxjobs_worker.perform import Outcome
from ctxjobs_worker.settling import Settler
from ctxjobs_worker.waiting import LAST_LOOK_S, Waiter

_log = logging.getLogger("ctxjobs.worker")

_RELEASE: Final = Script("release")

#: For how long a process that was asked to stop goes on trying to report what it has done, in seconds.
REPORT_PATIENCE_S: Final = 60.0


class GaveUpError(Exception):
    """The process was asked to stop, and Redis does not answer."""


class Exchange:
    """The requests of one worker; at most one is under way.

    Args:
        employer: The worker.
        identity: Its name, its token, its queues.
        client: Says where Redis is.
        settler: Makes the settler of outcomes that only RQ can bring to Redis, given how to wait for it.
        wakeup: A descriptor that can be read from once a signal has come; None if none are answered.
        worker_ttl: How long RQ's hash of the worker is kept, in seconds.
        in_turn: Whether to take one job from each queue in turn.

    Attributes:
        next_job_id: The job that Redis shows as running while the outcome of the one before is brought there.
    """

    def __init__(
        self,
        employer: Employer,
        identity: Identity,
        client: Any,
        settler: Callable[[Callable[[Exception], None]], Settler],
        *,
        wakeup: int | None,
        worker_ttl: int,
        in_turn: bool,
    ) -> None:
        self._employer = employer
        self._identity = identity
        self._link = Link(client)
        self._cycle = Cycle(self._link, identity, worker_ttl)
        self._waiter = Waiter(client, identity.worker, identity.queues, wakeup)
        self._settler = settler(self.pause)
        self._in_turn = in_turn
        self._done: list[Outcome] = []
        self._back: list[str] = []
        self._forget: list[str] = []
        self._told: list[Outcome] = []  # with the request that is under way
        self._early: Reply | None = None  # the answer to what was asked for ahead, read before it was wanted
        self._parent_pid = os.getppid()
        self._stop_by = math.inf
        self.next_job_id: str | None = None

    # --- what the next request says -------------------------------------------------------

    def done(self, outcome: Outcome) -> None:
        """A job is done: to be told with the next request, or settled now."""
        if outcome.ending is None:
            self._settle(outcome)
        else:
            self._done.append(outcome)

    def give_back(self, jobs: Iterable[Taken]) -> None:
        """These leases, and what is under way, are not wanted any more."""
        self._back += [one.execution_id for one in jobs]
        if self.is_ahead:
            self._back += [one.execution_id for one in self.answer().taken]

    def forget(self, taken: Taken) -> None:
        """What was taken is no job."""
        self._forget.append(taken.execution_id)

    # --- requests -------------------------------------------------------------------------

    @property
    def is_ahead(self) -> bool:
        """Whether jobs were asked for ahead; :meth:`answer` has them."""
        return self._cycle.is_under_way or self._early is not None

    @property
    def untold(self) -> int:
        """How many outcomes wait for the next request."""
        return len(self._done)

    @property
    def asked_at(self) -> str:
        """When the last request was made, in seconds since the epoch, as text."""
        return self._cycle.started_at.number

    def ask(self, take: int = 0, starts: Taken | None = None) -> Reply:
        """One round trip, for as long as it takes.

        Args:
            take: How many jobs to take; the first one starts at once.
            starts: The lease that starts now.

        Raises:
            GaveUpError: The process was asked to stop, and Redis does not answer.
        """
        if starts is not None:
            self.next_job_id = starts.job_id
        try:
            self._send(take, "" if starts is None else starts.execution_id, is_ahead=False)
        except RedisError as exc:
            self.pause(exc)
        return self.answer()

    def ask_ahead(self, take: int) -> None:
        """Ask for jobs while others are still to run: leases, all of them."""
        with suppress(RedisError):  # it is sent again by whoever wants the answer
            self._send(take, "", is_ahead=True)

    def answer(self) -> Reply:
        """The answer to the request that is under way.

        Raises:
            GaveUpError: The process was asked to stop, and Redis does not answer.
        """
        early, self._early = self._early, None
        reply = self._receive() if early is None or self._cycle.is_under_way else early
        if early is not None and reply is not early:
            self._take_note(reply)
            reply = early
        self._take_note(reply)
        return reply

    def _receive(self) -> Reply:
        while True:
            try:
                reply = self._cycle.receive()
                break
            except RedisError as exc:
                self.pause(exc)
        self._settle_waits()
        return reply

    def tell_early(self) -> None:
        """Tell what is done while a job runs, in a signal handler; if Redis does not answer, all is as ever.

        What only RQ's handlers can write waits for the next request: they are too much for this place.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})  # a time limit ends the job, and not this
        try:
            if self._cycle.is_under_way:
                self._early = self._cycle.receive()
                self._keep_the_slow(self._early)
            if self._done:
                self._told, self._done = self._done, []
                self._cycle.send(Request([done_of(outcome) for outcome in self._told], runs_on=True))
                self._keep_the_slow(self._cycle.receive())
        except RedisError as exc:
            _log.warning("could not report what is done (%s); trying again later", exc)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})

    def _keep_the_slow(self, reply: Reply) -> None:
        told, self._told = self._told, []
        self._done[:0] = [outcome for outcome in told if outcome.taken.execution_id in reply.slow]

    def _send(self, take: int, starts: str, *, is_ahead: bool) -> None:
        self._told, self._done = self._done, []
        back, self._back = self._back, []
        forget, self._forget = self._forget, []
        request = Request(
            [done_of(outcome) for outcome in self._told],
            starts,
            back,
            self._employer.queue_order(),
            take,
            at_once=not is_ahead,
            in_turn=self._in_turn,
            runs_on=is_ahead,
            forget=forget,
        )
        self._cycle.send(request, *self._waiter.interruptions())

    def _take_note(self, reply: Reply) -> None:
        told, self._told = self._told, []
        if reply.is_usurped:
            raise RuntimeError(f"another process works under the name {self._identity.worker}")
        for job_id in reply.dropped:
            _log.warning("%r was in a queue and is no job; it was dropped", job_id)
        if reply.taken and reply.taken[0].has_started:
            self.next_job_id = reply.taken[0].job_id
        for outcome in told:
            if outcome.taken.execution_id in reply.lost:
                _log.warning(
                    "job %s: somebody else has ended it meanwhile; its outcome is dropped", outcome.job.id
                )
            elif outcome.taken.execution_id in reply.slow:
                self._settle(outcome)
        self.next_job_id = None
        if reply.is_unregistered:
            self._employer.register()
        for taken in reply.taken:
            self._employer.took_from(taken.queue)

    def _settle(self, outcome: Outcome) -> None:
        self._settler.settle(outcome, self._employer.queue_for(outcome.taken, outcome.job))

    # --- the end --------------------------------------------------------------------------

    def leave(self) -> None:
        """Report what is done, and give back what is held.

        Raises:
            GaveUpError: Redis does not answer.
        """
        self.give_back(())
        if self._done or self._back or self._forget:
            self.ask()
        self.release("leave")

    def release(self, how: str) -> None:
        """Let all that is held go back, as ``scripts/release.lua`` says; tried once."""
        identity = self._identity
        request = (identity.worker, how, "", identity.queues, *Now.read(), 0, LAST_LOOK_S, identity.token)
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

    def close(self) -> None:
        """Close the connections."""
        self._waiter.close()
        self._link.drop()

    # --- waiting --------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Wait until there is a job, or until a signal comes.

        Raises:
            GaveUpError: The process was asked to stop, and Redis does not answer.
        """
        try:
            self._waiter.wait(seconds)
        except RedisError as exc:
            self.pause(exc)

    def sleep(self, seconds: float) -> None:
        """Sleep, but not through a stop."""
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0 and not self._employer.is_stopping:
            time.sleep(min(left_s, 0.1))

    def pause(self, exc: Exception) -> None:
        """Wait a little, Redis having failed.

        Raises:
            GaveUpError: The process was asked to stop, and there is nothing to report, or it was tried long
                enough.
        """
        pause_s = self._link.pause_s()
        self._waiter.close()
        if not self._employer.is_stopping and self.has_own_parent():
            _log.error(
                "worker %s: Redis does not answer (%s); again in %.1f s", self._identity.worker, exc, pause_s
            )
        self.sleep(pause_s)
        if self._employer.is_stopping or not self.has_own_parent():
            if not self._done and not self._told:
                raise GaveUpError(exc)
            self._stop_by = min(self._stop_by, time.monotonic() + REPORT_PATIENCE_S)
            if time.monotonic() > self._stop_by:
                raise GaveUpError(exc)

    def has_own_parent(self) -> bool:
        """Whether the process that has started this one is still there."""
        return os.getppid() == self._parent_pid

    def _settle_waits(self) -> None:
        try:
            self._waiter.settle()
        except RedisError:
            self._waiter.close()


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
        taken.is_redelivered,
    )


def _index_entry(job: Any, keep_s: int) -> Any:
    entry = getattr(job, "index_entry", None)
    return False if entry is None else entry(keep_s) or False
