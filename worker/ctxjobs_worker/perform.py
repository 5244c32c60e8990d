"""One job, from what was taken to its outcome: read, verify, begin, call, callbacks, outcome.

What happens in between (contexts, teardown) is the library's, in ``ContextJob.run``; what becomes of the
outcome in Redis is the cycle's, or RQ's own code (:mod:`ctxjobs_worker.settling`). May import the job class
and the alarm; knows no connection of the worker's.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

from rq.job import Job, Retry
from rq.timeouts import BaseDeathPenalty, JobTimeoutException
from rq.utils import now

from ctxjobs import rqcompat
from ctxjobs.rqcompat import execution
from ctxjobs.rqcompat.execution import Ending
from ctxjobs.rqjob import ContextJob
from ctxjobs_worker.cycle import Taken

#: ``succeeded`` and ``failed`` say themselves; ``retried``: it returned RQ's ``Retry``; ``killed``: it was
#: ended from outside, in this process or with its process.
How = Literal["succeeded", "failed", "retried", "killed"]

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class StopNow(SystemExit):
    """The process is to end at once, in the middle of a job, which is given back."""


class JobKilled(BaseException):
    """The running job is to end at once; nothing of it is called any more."""


@dataclass(slots=True)
class Outcome:
    """What became of one job.

    Attributes:
        taken: What was taken.
        job: The job, as it is now.
        how: How it ended.
        value: What it returned.
        exc_string: The traceback of what it raised, or why it was killed.
        began: When it was taken or started, in seconds since the epoch, as text.
        ending: What to write; None if only RQ's own code can end it.
        exc_info: What it raised.
        is_handled: Whether exception handlers know of it already.
        is_told: Whether all of that is done, the log included.
        is_settled: Whether it is in Redis already.
    """

    taken: Taken
    job: Job
    how: How
    began: str
    value: Any = None
    exc_string: str = ""
    ending: Ending | None = None
    exc_info: _ExcInfo | None = field(default=None, repr=False)
    is_handled: bool = False
    is_told: bool = False
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class Performer:
    """Performs jobs for one worker.

    Attributes:
        worker_name: Its name, in RQ.
        default_timeout: The time limit of jobs that name none, in seconds.
        default_result_ttl: How long results of jobs are kept that do not say it, in seconds.
        penalty: How time is limited.
        handles_failures: Whether RQ's default exception handler is on.
        running: Told which job may be killed now; None while none may.
    """

    worker_name: str
    default_timeout: int
    default_result_ttl: int
    penalty: type[BaseDeathPenalty]
    handles_failures: bool = True
    running: Callable[[Job | None], None] = lambda job: None

    def perform(self, taken: Taken, job: Job, began: str | None) -> Outcome:
        """Run *job*, which was read from *taken*.

        Args:
            taken: What was taken.
            job: The job, verified or refused.
            began: When it counts as started in Redis, in seconds since the epoch; None means now.

        Raises:
            StopNow: The process is to end.
        """
        at = now()
        outcome = Outcome(taken, job, "succeeded", began or repr(at.timestamp()))
        execution.begin(job, self.worker_name, at)
        kept = execution.kept_attributes(job)
        try:
            self.running(job)
            self._call(outcome)
            self.running(None)
        except StopNow:
            raise
        except JobKilled:
            outcome.how, outcome.exc_info = "killed", None
            execution.end(job, now(), succeeded=False)
            return outcome
        except BaseException as exc:  # noqa: BLE001 - as RQ: whatever a job raises, SystemExit included, is its failure
            self.running(None)
            self._fail(outcome, (type(exc), exc, exc.__traceback__))
        if execution.kept_attributes(job) == kept:
            outcome.ending = self._ending(outcome)
        return outcome

    def _call(self, outcome: Outcome) -> None:
        job = outcome.job
        with self.penalty(job.timeout or self.default_timeout, JobTimeoutException, job_id=job.id):
            outcome.value = value = execution.perform(job, _run)
        execution.end(job, now(), succeeded=True)
        if isinstance(value, Retry):
            outcome.how = "retried"
        elif execution.has_success_callback(job):
            job.execute_success_callback(self.penalty, value)

    def _fail(self, outcome: Outcome, exc_info: _ExcInfo) -> None:
        job = outcome.job
        execution.end(job, now(), succeeded=False)
        outcome.how, outcome.exc_info = "failed", exc_info
        if execution.has_failure_callback(job):
            try:
                job.execute_failure_callback(self.penalty, *exc_info)
            except StopNow:
                raise
            except BaseException as exc:  # noqa: BLE001 - as RQ: it takes the place of what the job raised
                outcome.exc_info = (type(exc), exc, exc.__traceback__)
        outcome.exc_string = "".join(traceback.format_exception(*outcome.exc_info))

    def _ending(self, outcome: Outcome) -> Ending | None:
        job, execution_id = outcome.job, outcome.taken.execution_id
        if outcome.how == "succeeded":
            return execution.success(job, self.default_result_ttl, execution_id, outcome.began, outcome.value)
        if outcome.how == "failed" and self.handles_failures:
            return execution.failure(job, execution_id, outcome.began, outcome.exc_string)
        return None


def _run(job: Job) -> Any:
    return job.run() if isinstance(job, ContextJob) else rqcompat.execute(job)
