"""Jobs that go through RQ's own ``perform_job``, because somebody has wrapped it: Sentry, Datadog, a
subclass.

RQ's method runs, with whatever is around it, and its handlers tell what became of the job instead of writing
it; the engine brings that to Redis as ever. May import rq's worker and the outcomes; knows no connection.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rq.worker
from rq.executions import Execution
from rq.job import Job
from rq.utils import now

from ctxjobs.rqcompat import execution
from ctxjobs_worker.cycle import Taken
from ctxjobs_worker.perform import JobKilled, Outcome, Performer, StopNow


class TellsOutcomes(rq.worker.Worker):
    """RQ's worker, whose handlers tell an outcome while one is asked for, and are RQ's otherwise."""

    _told: Outcome | None = None
    _has_told = False

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """As RQ's; the cycle has written it."""
        if self._told is None:
            super().prepare_job_execution(job, remove_from_intermediate_queue)
        else:
            execution.begin(job, self.name, now())

    def handle_execution_ended(self, job: Job, queue: Any, heartbeat_ttl: int) -> None:
        """As RQ's; the cycle will write it."""
        if self._told is None:
            super().handle_execution_ended(job, queue, heartbeat_ttl)
        else:
            job.ended_at = job.last_heartbeat = now()

    def handle_job_success(self, job: Job, queue: Any, started_job_registry: Any) -> None:
        """As RQ's; or the outcome."""
        if self._told is None:
            super().handle_job_success(job, queue, started_job_registry)
        else:
            self._has_told = True
            self._told.how, self._told.value = "succeeded", execution.result_of(job)

    def handle_job_retry(
        self, job: Job, queue: Any, retry: Any, started_job_registry: Any, execution: Execution
    ) -> None:
        """As RQ's; or the outcome."""
        if self._told is None:
            super().handle_job_retry(job, queue, retry, started_job_registry, execution)
        else:
            self._has_told = True
            self._told.how, self._told.value = "retried", retry

    def handle_job_failure(
        self, job: Job, queue: Any, started_job_registry: Any = None, exc_string: str = ""
    ) -> None:
        """As RQ's; or the outcome."""
        if self._told is None:
            super().handle_job_failure(job, queue, started_job_registry, exc_string)
            return
        raised = sys.exc_info()[1]
        if isinstance(raised, StopNow):
            raise raised
        self._has_told = True
        self._told.how = "killed" if isinstance(raised, JobKilled) else "failed"
        self._told.exc_string = exc_string

    def told(self, outcome: Outcome, perform: Callable[[], Any]) -> None:
        """Call *perform*, and let the handlers tell *outcome*; where they do not, the job has failed."""
        self._told, self._has_told = outcome, False
        why = "What is around perform_job returned without a word about what became of the job."
        try:
            perform()
        except StopNow:
            raise
        except BaseException as exc:  # noqa: BLE001 - in RQ's horse it would end that process, and fail the job
            why = traceback.format_exc()
            self.log.error("job %s: what is around perform_job raised %r", outcome.job.id, exc)
            if not self._has_told:
                outcome.how = "killed" if isinstance(exc, JobKilled) else "failed"
        finally:
            self._told = None
        if not self._has_told:
            _fail(outcome, why, self.name)


def _fail(outcome: Outcome, why: str, worker_name: str) -> None:
    outcome.exc_string = why
    if outcome.job.started_at is None:
        execution.begin(outcome.job, worker_name, now())
    execution.end(outcome.job, now(), succeeded=False)


@dataclass(frozen=True, slots=True)
class HookedPerformer(Performer):
    """Performs jobs by RQ's own method, as it is now.

    Attributes:
        worker: The worker that has it.
    """

    worker: Any = None

    def perform(self, taken: Taken, job: Job, began: str | None) -> Outcome:
        """Run *job*; see :meth:`Performer.perform`."""
        outcome = Outcome(taken, job, "failed", began or repr(now().timestamp()), is_handled=True)
        worker = self.worker
        queue = worker.queue_for(taken, job)
        worker.execution = Execution(taken.execution_id, job.id, worker.connection, worker_name=worker.name)
        kept = execution.kept_attributes(job)
        self.running(job)
        worker.told(outcome, lambda: worker.perform_job(job, queue))
        self.running(None)
        if outcome.how != "killed" and execution.kept_attributes(job) == kept:
            outcome.ending = self._ending(outcome)
        return outcome
