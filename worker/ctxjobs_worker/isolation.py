"""``--isolate``: each job in a process of its own, which is forked for it, as RQ does.

For code that leaks, or that breaks what it shares. The child takes and reports jobs as ever; what happens to
a job from its restored contexts to its callbacks happens in the fork, and the fork says through a pipe what
to report. May import the performer and the settler; knows no supervisor, but the slot in which the fork is
named.
"""

from __future__ import annotations

import ctypes
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, NoReturn

import msgspec
from rq.job import Job
from rq.utils import now

from ctxjobs.propagators import after_fork, flush_propagators
from ctxjobs.registry import registry
from ctxjobs.rqcompat import execution
from ctxjobs.rqcompat.execution import Ending
from ctxjobs_worker.cycle import Taken
from ctxjobs_worker.employer import Performs
from ctxjobs_worker.options import DIED, KILLED, OVERDUE, STOPPED, Remains
from ctxjobs_worker.perform import How, Outcome
from ctxjobs_worker.remains import is_started, look_after
from ctxjobs_worker.settling import Settler
from ctxjobs_worker.slots import ORDER_KILLED, ORDER_OVERDUE, ORDER_STOPPED, Slot

_log = logging.getLogger("ctxjobs.worker")

#: Linux: the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG: Final = 1
#: How often a fork asks a Redis that does not answer, in seconds.
_PAUSE_S: Final = 1.0
_WHY: Final = {ORDER_STOPPED: STOPPED, ORDER_KILLED: KILLED, ORDER_OVERDUE: OVERDUE}


class Told(msgspec.Struct, frozen=True):
    """What a fork says of the job that it has run.

    Attributes:
        how: How the job ended.
        ending: What to write; None if it is written already.
        began: When it was taken or started, in seconds since the epoch, as text.
        started_at: When the job started.
        ended_at: When it ended.
        leaks: What it left behind, in sentences.
    """

    how: How
    ending: Ending | None
    began: str
    started_at: datetime
    ended_at: datetime
    leaks: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IsolatedPerformer:
    """Performs each job in a fork.

    Attributes:
        inner: Performs it there.
        worker: The worker.
        slot: The child's slot.
    """

    inner: Performs
    worker: Any
    slot: Slot

    def perform(self, taken: Taken, job: Job, began: str | None) -> Outcome:
        """Run *job*; see :meth:`Performer.perform`."""
        told = _in_fork(partial(self._perform_there, taken, job, began), self.slot)
        if isinstance(told, Told):
            return self._outcome(taken, job, began, told)
        self._look_after(taken, told)
        outcome = Outcome(taken, job, "killed", began or "")
        outcome.is_told = outcome.is_settled = True
        return outcome

    def _outcome(self, taken: Taken, job: Job, began: str | None, told: Told) -> Outcome:
        """What the fork has told, so that RQ's handlers can write it, too, if more depends on it."""
        execution.begin(job, self.worker.name, told.started_at)
        execution.end(job, told.ended_at, succeeded=told.how == "succeeded")
        outcome = Outcome(taken, job, told.how, told.began, ending=told.ending, is_told=True)
        if told.ending is None:
            outcome.is_settled = True
        else:
            execution.has_returned(job, told.ending)
            outcome.exc_string = execution.why_failed(told.ending)
        return outcome

    def _perform_there(self, taken: Taken, job: Job, began: str | None) -> Told:
        outcome = self.inner.perform(taken, job, began)
        self.worker.tell(outcome)
        if outcome.ending is None:
            Settler(self.worker, _pause).settle(outcome, self.worker.queue_for(taken, job))
        if job.started_at is None or job.ended_at is None:
            raise RuntimeError(f"job {job.id} has an outcome and did not run")
        leaks: list[str] = [*getattr(job, "leaks", ())]
        return Told(outcome.how, outcome.ending, outcome.began, job.started_at, job.ended_at, leaks)

    def _look_after(self, taken: Taken, reason: str) -> None:
        """Do in another fork what is left to do, and here, without callbacks, if that one dies as well."""
        stopped = reason == STOPPED
        remains = Remains(self.worker.name, taken.execution_id, taken.job_id, taken.queue, reason, stopped)
        if not isinstance(_in_fork(partial(self._look_after_there, remains), self.slot), Told):
            self._look_after_there(_again(remains))

    def _look_after_there(self, remains: Remains) -> Told:
        settler = Settler(self.worker, _pause, partial(_is_started, remains, self.worker.connection))
        look_after(remains, self.worker, settler)
        return Told("killed", None, "", now(), now())


def _again(remains: Remains) -> Remains:
    return Remains(**{**remains.to_message(), "attempts": remains.attempts + 1})


def _is_started(remains: Remains, connection: Any, execution_id: str) -> bool:
    return is_started(remains, connection)


def _pause(exc: Exception) -> None:
    _log.error("Redis does not answer (%s); a job's outcome waits for it", exc)
    time.sleep(_PAUSE_S)


def _in_fork(call: Callable[[], Told], slot: Slot) -> Told | str:
    """What *call* returns in a fork of this process; or a sentence about what ended the fork."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        _be_the_fork(call, writer)
    slot.set_horse(pid)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    slot.forget_horse()
    why = slot.take_orders(ORDER_STOPPED | ORDER_KILLED | ORDER_OVERDUE)
    code = os.waitstatus_to_exitcode(status)
    if code == 0 and data:
        return msgspec.msgpack.decode(data, type=Told)
    if why:
        return _WHY[why]
    ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return DIED.format(who=f"its process {pid}", ending=ending)


def _be_the_fork(call: Callable[[], Told], writer: int) -> NoReturn:
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _end_with_the_parent()
        random.seed()
        after_fork(app.host for app in registry.apps.values())
        told = msgspec.msgpack.encode(call())
        with open(writer, "wb") as pipe:
            pipe.write(told)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent sees the exit code, and the log says why
        traceback.print_exc()
    finally:
        flush_propagators()  # os._exit runs nothing that libraries have registered for the end
        logging.shutdown()
        os._exit(code)


def _end_with_the_parent() -> None:
    """Nobody would report what this process goes on doing without the child that has forked it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
