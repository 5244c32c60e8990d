"""What is left to do for a job whose process is gone: to fail it or to retry it, with its callbacks.

Runs in a child, because callbacks are user code and dependents are verified with the apps' keys. May import
the job class, the outcomes and the settler; knows no supervisor.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from rq.job import Job
from rq.utils import now

from ctxjobs.errors import EnvelopeMismatchError, ProcessDiedError
from ctxjobs.rqcompat import execution
from ctxjobs.rqjob import ContextJob
from ctxjobs_worker.cycle import Taken
from ctxjobs_worker.options import Remains
from ctxjobs_worker.perform import Outcome
from ctxjobs_worker.settling import Settler

_log = logging.getLogger("ctxjobs.worker")

#: How many children may end over the callbacks of one job; the next one calls none.
_CALLBACK_ATTEMPTS: Final = 1
#: How many may end over it in all; the next one reads nothing of it.
_READ_ATTEMPTS: Final = 2


def look_after(remains: Remains, worker: Any, settler: Settler) -> None:
    """End what *remains* of a job: as failed, stopped or to be retried.

    Args:
        remains: What is known of it.
        worker: RQ's worker, which reads jobs and has RQ's handlers.
        settler: Brings the outcome to Redis.
    """
    taken = _taken(remains, worker.connection)
    job = None if taken is None else _read(taken, remains, worker)
    if taken is None or job is None or not is_started(remains, worker.connection):
        _log.info("job %s: somebody else has ended it meanwhile", remains.job_id)
        return
    execution.end(job, now(), succeeded=False)
    outcome = Outcome(taken, job, "killed", repr(time.time()), exc_string=remains.reason)
    _log.warning("job %s: %s", job.id, remains.reason)
    if remains.attempts < _CALLBACK_ATTEMPTS:
        _call_back(remains, worker, outcome)
    if remains.stopped:
        execution.set_stopped_job(worker, job.id)
    with worker.in_place_of(remains.worker):
        settler.settle(outcome, worker.queue_for(taken, job))


def is_started(remains: Remains, connection: Any) -> bool:
    """Whether the job is still the one that this execution has started."""
    member = f"{remains.job_id}:{remains.execution_id}"
    return connection.zscore(f"rq:wip:{remains.queue}", member) is not None


def _taken(remains: Remains, connection: Any) -> Taken | None:
    fields = connection.hgetall(Job.key_for(remains.job_id))
    if not fields:
        return None
    return Taken(remains.queue, remains.job_id, remains.execution_id, fields, True, time.monotonic())


def _read(taken: Taken, remains: Remains, worker: Any) -> Job | None:
    if remains.attempts < _READ_ATTEMPTS:
        job: Job | None = worker.read(taken)
        return job
    return execution.read_job(_UnreadJob, taken.job_id, taken.fields, worker.connection, worker.serializer)


class _UnreadJob(ContextJob):
    """A job that is refused as it is: whoever has read it has ended over it."""

    def _admit(self, fields: dict[str, bytes]) -> dict[str, bytes]:
        raise EnvelopeMismatchError(self.id, "each process that has read it has ended", "Enqueue it again.")


def _call_back(remains: Remains, worker: Any, outcome: Outcome) -> None:
    job, penalty = outcome.job, worker.penalty
    try:
        if remains.stopped:
            job.execute_stopped_callback(penalty)
        elif execution.has_failure_callback(job):
            error = ProcessDiedError(job.id, remains.reason)
            job.execute_failure_callback(penalty, type(error), error, None)
    except Exception as exc:  # noqa: BLE001 - what a callback raises is logged by RQ, and changes nothing any more
        _log.error("job %s: its callback raised %s: %s", job.id, type(exc).__name__, exc)
