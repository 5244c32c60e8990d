"""Inline mode: a job has run when ``enqueue`` returns, in this process and without a Redis server.

All else is as in production: RQ writes the job (into :class:`~ctxjobs.memory.MemoryRedis`), it is read back
from its bytes and verified, and RQ's own worker runs it, with its callbacks, retries and dependents. May
import the floors of RQ's compatibility and of propagation; knows jobs as RQ does.

Jobs run in a thread of their own, and the caller waits for it. What the caller keeps by thread is safe from
the teardown of the job's contexts, above all the session of a plain ``scoped_session``
(flask-sqlalchemy#508); and a coroutine function can be enqueued from a running event loop.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, cast

from rq import Queue
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.queue import EnqueueData
from rq.timeouts import BaseDeathPenalty
from rq.utils import as_text
from rq.worker import SimpleWorker

from ctxjobs.functions import find_function
from ctxjobs.memory import MemoryRedis
from ctxjobs.propagation import prepare_for
from ctxjobs.registry import registry
from ctxjobs.writing import WritingQueue


class InlineQueue(WritingQueue):
    """RQ's Queue; where the app of a job is in inline mode, the job has run once it is enqueued."""

    def enqueue_job(
        self, job: Any, pipeline: Any = None, at_front: bool = False, unique: bool = False
    ) -> Any:
        """As RQ's; inline, *pipeline* and *at_front* say nothing."""
        if (queue := self._inline(job.connection)) is None:
            return super().enqueue_job(job, pipeline=pipeline, at_front=at_front, unique=unique)
        return run_all(queue, [WritingQueue.enqueue_job(queue, job, unique=unique)])[0]

    def schedule_job(self, job: Any, datetime: Any, pipeline: Any = None, unique: bool = False) -> Any:
        """As RQ's, in one step; inline, *pipeline* says nothing, and the job is due now."""
        if (queue := self._inline(job.connection)) is None:
            return super().schedule_job(job, datetime, pipeline=pipeline, unique=unique)
        return run_all(queue, [WritingQueue.schedule_job(queue, job, datetime, unique=unique)])[0]

    def enqueue_many(self, job_datas: Any, pipeline: Any = None, group_id: str | None = None) -> list[Job]:
        """As RQ's; inline, *pipeline* says nothing."""
        datas = list(job_datas)
        if not datas or (queue := self._inline(_memory_for(datas[0]))) is None:
            return super().enqueue_many(datas, pipeline=pipeline, group_id=group_id)
        return run_all(queue, WritingQueue.enqueue_many(queue, datas, group_id=group_id))

    def enqueue_jobs(self, jobs: Iterable[Any], at_front: bool = False) -> list[Any]:
        """As :meth:`WritingQueue.enqueue_jobs`; inline, *at_front* says nothing."""
        made = list(jobs)
        if not made or (queue := self._inline(made[0].connection)) is None:
            return super().enqueue_jobs(made, at_front)
        return run_all(queue, WritingQueue.enqueue_jobs(queue, made))

    def _inline(self, connection: Any) -> WritingQueue | None:
        """This queue, where inline jobs lie; None if *connection* leads to Redis."""
        # Not isinstance(): redis-py's clients are protocols, and to ask one takes microseconds.
        if type(connection) is not MemoryRedis:
            return None
        return type(self)(self.name, connection=connection)


def _memory_for(data: EnqueueData) -> MemoryRedis | None:
    if all(app.memory is None for app in registry.apps.values()):
        return None
    return prepare_for(find_function(data.func)).app.memory


def run_all(queue: Queue, jobs: list[Job]) -> list[Job]:
    """Run *jobs*, which RQ has just put on *queue* or on its schedule, and all that they set off.

    Returns:
        The jobs, as they are now.
    """
    run = _Run(queue, [job.id for job in jobs])
    # Log context and traces go with it; contexts of hosts are left out where a job runs.
    thread = threading.Thread(
        target=copy_context().run, args=(run.work_off,), name="ctxjobs-inline", daemon=True
    )
    thread.start()
    thread.join()
    for job in jobs:
        with suppress(NoSuchJobError):  # it keeps no result
            cast("Any", job).refresh()
    modes = [app.settings.inline for app in registry.apps.values() if app.memory is queue.connection]
    run.raise_errors(of_jobs="raise" in modes)
    return jobs


class _Run:
    """The jobs of one call of ``enqueue``, and all that they set off.

    Args:
        queue: In a :class:`~ctxjobs.memory.MemoryRedis`.
        job_ids: Those of them that wait for another job are left alone, unless that one is among them.
    """

    def __init__(self, queue: Queue, job_ids: Sequence[str]) -> None:
        self._queue = queue
        self._waiting = deque(job_ids)
        self._worker = _InlineWorker(queue)
        self._fault: BaseException | None = None

    def work_off(self) -> None:
        """Run each job with its retries, then those that wait for it, in order."""
        try:
            while self._waiting:
                job_id = self._waiting.popleft()
                if (queue := self._claim(job_id)) is not None:
                    # First itself again, should it have been put back, as a retry or a repeat.
                    self._waiting.extendleft(reversed([job_id, *self._worker.run(job_id, queue)]))
        except BaseException as exc:  # noqa: BLE001 - not a job's: the caller's thread raises it
            self._fault = exc

    def raise_errors(self, *, of_jobs: bool) -> None:
        """Raise what went wrong besides the jobs; with *of_jobs*, also what the first failed job raised."""
        for error in (self._fault, *(self._worker.errors.values() if of_jobs else ())):
            if error is not None:
                raise error

    def _claim(self, job_id: str) -> Queue | None:
        """Take a job from its queue or schedule; None if it is on neither.

        By its id, because another thread may enqueue at the same time.
        """
        connection = self._queue.connection
        origin = as_text(connection.hget(Job.key_for(job_id), "origin") or self._queue.name)
        queue = type(self._queue)(origin, connection=connection)
        taken = queue.remove(job_id) or queue.scheduled_job_registry.remove(job_id)
        return queue if taken else None


class NoLimit(BaseDeathPenalty):
    """No time is too long: a limit needs a signal, which only the main thread gets."""

    def setup_death_penalty(self) -> None:
        """Set no alarm."""

    def cancel_death_penalty(self) -> None:
        """There is none."""


class _InlineWorker(SimpleWorker):
    """RQ's worker for jobs in memory.

    Attributes:
        errors: What jobs have raised that are not run again, by job id.
    """

    death_penalty_class = NoLimit

    def __init__(self, queue: Queue) -> None:
        super().__init__(
            [queue], "inline", connection=queue.connection, job_class=queue.job_class, prepare_for_work=False
        )
        self.errors: dict[str, BaseException] = {}
        self._dependents: list[str] = []

    def run(self, job_id: str, queue: Queue) -> list[str]:
        """Run one job from its bytes.

        Returns:
            The ids of the jobs that wait for it.
        """
        self.errors.pop(job_id, None)
        self._dependents = []
        self.execute_job(self.job_class.fetch(job_id, connection=self.connection), queue)
        return self._dependents

    def handle_execution_ended(self, job: Job, queue: Queue, heartbeat_ttl: int) -> None:
        """As RQ's; note who waits for the job, before RQ forgets it; in order, because a set has none."""
        waiting = self.job_class.fetch_many(job.dependent_ids, connection=self.connection)
        in_order = sorted(filter(None, waiting), key=lambda job: job.created_at)
        self._dependents = [job.id for job in in_order]
        super().handle_execution_ended(job, queue, heartbeat_ttl)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """As RQ's, which logs it; keep the exception."""
        self.errors[job.id] = exc_info[1]
        super().handle_exception(job, *exc_info)

    def procline(self, message: str) -> None:
        """Leave the title of the caller's process alone."""
