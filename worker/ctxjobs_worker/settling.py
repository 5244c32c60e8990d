"""The slow path: outcomes that RQ's own code brings to Redis, because more depends on them than one job.

Dependents, retries, repeats, results that are not kept, webhooks, jobs that were stopped or killed. RQ's
handlers write all they have to say in one transaction; this file sees to it that it is written, also if Redis
goes away in the middle of it, and :mod:`ctxjobs_worker.once` that it is not written twice. May import rq and
the outcomes; the worker whose handlers they are is given.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError, WatchError
from rq.executions import Execution
from rq.job import Job, JobStatus

from ctxjobs.rqcompat import execution
from ctxjobs_worker.link import may_pass
from ctxjobs_worker.once import Once, WrittenError
from ctxjobs_worker.perform import Outcome

_log = logging.getLogger("ctxjobs.worker")

#: How often Redis may refuse an outcome, for another reason than its own state, before it is left to RQ's own
#: clean-up.
_REFUSALS: Final = 5


class Settler:
    """Brings outcomes to Redis by the handlers of one worker.

    Args:
        worker: RQ's worker, whose ``cleanup_execution`` forgets the lease in the same transaction.
        pause: Waits after Redis did not answer; raises if it is not worth it any more.
        is_held: Tells whether an execution is still held, that is, whether nothing was written yet; by
            default by the worker's leases.
    """

    def __init__(
        self,
        worker: Any,
        pause: Callable[[Exception], None],
        is_held: Callable[[str], bool] | None = None,
    ) -> None:
        self._worker = worker
        self._pause = pause
        self._is_held = worker.holds if is_held is None else is_held

    def settle(self, outcome: Outcome, queue: Any) -> None:
        """Write *outcome*, and whatever follows from it.

        Args:
            outcome: What became of a job.
            queue: The queue in which it was found, as RQ's class.
        """
        execution_id = outcome.taken.execution_id
        stopped = execution.stopped_job(self._worker)
        refusals = 0
        first = True
        while first or self._holds(execution_id):
            first = False
            execution.set_stopped_job(self._worker, stopped)
            try:
                self._write(outcome, queue)
            except WrittenError:
                break  # and the answer got lost
            except WatchError:
                continue  # somebody has changed the job, or the connection was lost
            except ResponseError as exc:
                refusals += not may_pass(exc)
                if refusals >= _REFUSALS:
                    _log.error("job %s: its outcome cannot be written: %s", outcome.job.id, exc)
                    with suppress(RedisError):
                        self._worker.forget(execution_id)
                    break
                self._pause(exc)
            except RedisError as exc:
                self._pause(exc)
        if outcome.how == "succeeded":
            outcome.job.send_webhooks(JobStatus.FINISHED)
        else:
            self._release_dependents(outcome.job, queue)

    def _write(self, outcome: Outcome, queue: Any) -> None:
        job = copy.copy(outcome.job)  # RQ's handlers count down on it; the next attempt begins anew
        worker, registry = self._worker, queue.started_job_registry
        worker.execution = ran = self._execution(outcome, job)
        client = worker.connection
        worker.connection = once = Once(client, job.key, lambda: self._is_held(ran.id))
        try:
            if outcome.how == "succeeded":
                worker.handle_job_success(job, queue, registry)
            elif outcome.how == "retried":
                worker.handle_job_retry(job, queue, outcome.value, registry, ran)
            else:
                worker.handle_job_failure(job, queue, registry, outcome.exc_string)
        finally:
            worker.connection = client
        if once.error is not None and not once.is_written:
            raise once.error  # RQ has logged it, and gone on

    def _execution(self, outcome: Outcome, job: Job) -> Execution:
        ran = Execution(
            outcome.taken.execution_id, job.id, self._worker.connection, worker_name=self._worker.name
        )
        ran.created_at = datetime.fromtimestamp(float(outcome.began), timezone.utc)
        return ran

    def _release_dependents(self, job: Job, queue: Any) -> None:
        """RQ logs it and goes on if Redis goes away before the dependents of a failed job were released."""
        while True:
            try:
                if self._worker.connection.exists(job.dependents_key):
                    queue.enqueue_dependents(job)
            except ResponseError as exc:
                _log.error("job %s: its dependents cannot be released: %s", job.id, exc)
            except RedisError as exc:
                self._pause(exc)
                continue
            return

    def _holds(self, execution_id: str) -> bool:
        while True:
            try:
                return self._is_held(execution_id)
            except RedisError as exc:  # noqa: PERF203 - this loop waits
                self._pause(exc)
