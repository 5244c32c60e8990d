"""What the supervisor does about the jobs that its children run: it watches, and interferes where it has to.

A job that turns out long gives up the leases behind it; one that takes too long is killed with its child;
RQ's commands are carried out; signs of life are given; workers that are gone are looked after. May import the
slots, the upkeep and the commands; decides nothing about processes, and tells what became of those it has
killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from ctxjobs_worker.commands import Command, Commands
from ctxjobs_worker.cycle import Identity
from ctxjobs_worker.options import DIED, KILLED, OVERDUE, STOPPED, Remains
from ctxjobs_worker.slots import (
    ORDER_KILLED,
    ORDER_MAINTENANCE,
    ORDER_OVERDUE,
    ORDER_STOPPED,
    REPORT_SIGNAL,
    Slot,
    seq_and_index,
)
from ctxjobs_worker.upkeep import Running, Upkeep

_log = logging.getLogger("ctxjobs.worker")

#: A job that has run for so long has turned out long, in seconds: what its child holds besides goes back.
LONG_S: Final = 0.1
#: How long a child may take to report what it has done before its job is ended by a command, in seconds.
REPORT_S: Final = 1.0

_WHY: Final = {ORDER_STOPPED: STOPPED, ORDER_KILLED: KILLED, ORDER_OVERDUE: OVERDUE}


@dataclass(slots=True)
class Watched:
    """A child, as the supervisor knows it.

    Attributes:
        slot: Its slot.
        pid: Its process id.
        generation: Whose child it is.
        identity: Its name and token.
        born: When it was forked, on the monotonic clock.
        remains: What it was given to look after.
        settled: Token of the last job that turned out long.
        killed: Why the supervisor has killed it, in a sentence; empty if it has not.
        stopped: Whether that was RQ's stop-job.
        gives_back: Whether what it ran goes back to its queue, because the operator ended it.
    """

    slot: Slot
    pid: int
    generation: int
    identity: Identity
    born: float = field(default_factory=time.monotonic)
    remains: tuple[Remains, ...] = ()
    settled: int = 0
    killed: str = ""
    stopped: bool = False
    gives_back: bool = False


@dataclass(frozen=True, slots=True)
class _Doomed:
    """A job that is to be ended by a command.

    Attributes:
        child: The child that runs it.
        token: Its token.
        why: The order that says why.
        by: When it is to be ended at the latest, on the monotonic clock.
    """

    child: Watched
    token: int
    why: int
    by: float


class Oversight:
    """Watches the children of one supervisor.

    Args:
        children: By slot; the supervisor keeps it up to date.
        upkeep: Its business in Redis.
        client: Says where Redis is, for RQ's commands.
        retire: Lets the child in a slot finish its job and end.
    """

    def __init__(
        self, children: Mapping[int, Watched], upkeep: Upkeep, client: Redis, retire: Callable[[int], None]
    ) -> None:
        self._children = children
        self._upkeep = upkeep
        self._commands = Commands(client)
        self._retire = retire
        self._doomed: list[_Doomed] = []

    def step(self) -> None:
        """See to everything once; whatever Redis does not answer is tried again later."""
        self._kill_the_overdue()
        self._kill_the_doomed()
        if not self._upkeep.is_reachable:
            return
        try:
            self._commands.listen_to({child.identity.worker for child in self._children.values()})
            for command in self._commands.read():
                self._obey(command)
            for child in self._children.values():
                self._settle_long(child)
            if self._upkeep.beat([child.identity.worker for child in self._children.values()]):
                self._upkeep.look_for_the_gone()
                self._order_maintenance()
        except RedisError as exc:
            self._commands.close()
            self._upkeep.failed(exc)

    @property
    def is_busy(self) -> bool:
        """Whether a child runs a job, so that it is worth looking soon again."""
        return any(child.slot.running for child in self._children.values())

    def close(self) -> None:
        """Listen to no commands any more."""
        self._commands.close()

    def _kill_the_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            running = child.slot.running
            if child.slot.is_overdue(now) and not child.killed:
                self._kill(child, running, ORDER_OVERDUE)

    def _settle_long(self, child: Watched) -> None:
        running = child.slot.running
        if not running or running == child.settled or time.monotonic() - child.slot.started < LONG_S:
            return
        if child.slot.held or seq_and_index(running)[1]:
            self._settle(child)
        if child.slot.done:
            child.slot.signal(child.pid, REPORT_SIGNAL)
        child.settled = running

    def _settle(self, child: Watched) -> tuple[int, Running | None]:
        """Let leases go back that wait behind the running job; its token, and what it is."""
        running = child.slot.revoke()
        return running, self._upkeep.release(child.identity, "settle", running) if running else None

    def _obey(self, command: Command) -> None:
        child = next((one for one in self._children.values() if one.identity.worker == command.worker), None)
        if child is None:
            return
        if command.what == "shutdown":
            _log.info("worker %s is shut down by a command", command.worker)
            self._retire(child.slot.number)
            return
        token, job = self._settle(child)
        if job is None or (command.what == "stop-job" and job.job_id != command.job_id):
            _log.info("worker %s does not run that job; %s is ignored", command.worker, command.what)
            return
        why = ORDER_STOPPED if command.what == "stop-job" else ORDER_KILLED
        if child.slot.done:  # what ends with its process would have to run once more
            child.slot.signal(child.pid, REPORT_SIGNAL)
        self._doomed.append(_Doomed(child, token, why, time.monotonic() + REPORT_S))
        self._kill_the_doomed()

    def _kill_the_doomed(self) -> None:
        """End the jobs that are to be ended, once their children have reported those before."""
        doomed, self._doomed = self._doomed, []
        for one in doomed:
            if one.child is not self._children.get(one.child.slot.number):
                continue
            if one.child.slot.done and time.monotonic() < one.by:
                self._doomed.append(one)
            else:
                self._kill(one.child, one.token, one.why)

    def _kill(self, child: Watched, token: int, why: int) -> None:
        if child.slot.kill(token, why) == "child":
            child.killed, child.stopped = _WHY[why], why == ORDER_STOPPED

    def _order_maintenance(self) -> None:
        overdue = self._upkeep.overdue_queues()
        if overdue and self._children:
            idle = [child for child in self._children.values() if not child.slot.running]
            (idle or [*self._children.values()])[0].slot.order(ORDER_MAINTENANCE)


def remains_of(child: Watched, running: Running, token: int, ending: str) -> Remains:
    """What is left to do for the job that *child* ran when it died.

    Args:
        child: The child.
        running: Its job.
        token: The job's token.
        ending: How the process ended: its signal or exit code.
    """
    reason = child.killed or DIED.format(who=f"worker {child.identity.worker}", ending=ending)
    execution_id = child.identity.execution_id(*seq_and_index(token))
    return Remains(child.identity.worker, execution_id, running.job_id, running.queue, reason, child.stopped)


def unfinished(child: Watched) -> tuple[Remains, ...]:
    """What *child* was given to look after, and has not; the first one may be what ended it."""
    left = child.remains[child.slot.looked_after :]
    again = [replace(one, attempts=one.attempts + 1) for one in left[:1]]
    return (*again, *left[1:])
