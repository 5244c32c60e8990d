"""A worker in the process of a test: runs what is on the queues, and returns.

May import the worker and all of ctxjobs; knows no pytest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

from redis import Redis
from rq.job import Job
from rq.worker import SimpleWorker

from ctxjobs.inline import NoLimit
from ctxjobs.rqjob import ContextJob, Queue
from ctxjobs_worker.workerjob import WorkerJob


class TestWorker:
    """What the fixture ``ctxjobs_worker`` is.

    Args:
        connection: The Redis whose jobs it runs.
    """

    __test__ = False  # no class of tests, whatever its name begins with

    def __init__(self, connection: Redis) -> None:
        self._connection = connection

    def run(self, *queues: str, scheduled: bool = False) -> list[ContextJob]:
        """Run jobs as ``ctxjobs worker --burst`` would, until the queues are empty.

        In this process, so that what a test has patched is patched in its jobs, and in a thread of its own,
        so that teardown functions leave the test's database session alone. Time limits are not enforced.

        Args:
            queues: Names of queues, the most urgent first; none means all that there are.
            scheduled: Do not wait for what is on the schedule: delayed jobs, retries and repeats are due now.

        Returns:
            The jobs that were run, as they are now, in the order of their first run. A failed one has its
            traceback in ``latest_result().exc_string``.
        """
        run = _Run(self._connection, queues, scheduled)
        thread = threading.Thread(
            target=copy_context().run, args=(run.work_off,), name="ctxjobs-worker", daemon=True
        )
        thread.start()
        thread.join()
        if run.fault is not None:
            raise run.fault
        return list(run.jobs())


class _Run:
    def __init__(self, connection: Redis, names: tuple[str, ...], scheduled: bool) -> None:
        self._connection = connection
        self._names = names
        self._scheduled = scheduled
        self._job_ids: dict[str, None] = {}
        self.fault: BaseException | None = None

    def work_off(self) -> None:
        """Run jobs until there are none left."""
        try:
            worker = _Worker(self._queues(), connection=self._connection)
            while (found := self._take()) is not None:
                job, queue = found
                self._job_ids[job.id] = None
                worker.execute_job(job, queue)
            self._connection.delete(worker.key)
        except BaseException as exc:  # noqa: BLE001 - not a job's: the test's thread raises it
            self.fault = exc

    def jobs(self) -> Iterator[ContextJob]:
        """The jobs that were run; those that keep no result are gone."""
        found = ContextJob.fetch_many(list(self._job_ids), connection=self._connection)
        return (job for job in found if isinstance(job, ContextJob))

    def _queues(self) -> list[Any]:
        if self._names:
            return [Queue(name, connection=self._connection) for name in self._names]
        return sorted(Queue.all(connection=self._connection), key=lambda queue: queue.name)

    def _take(self) -> tuple[Job, Any] | None:
        queues = self._queues()
        found = self._dequeue(queues)
        if found is None and self._scheduled:
            for queue in queues:
                _make_due(queue)
            found = self._dequeue(queues)
        return found

    def _dequeue(self, queues: list[Any]) -> tuple[Job, Any] | None:
        if not queues:
            return None
        found: tuple[Job, Any] | None = Queue.dequeue_any(
            queues, None, connection=self._connection, job_class=_Worker.job_class
        )
        return found


class _Worker(SimpleWorker):
    """RQ's, with the jobs of ours; without limits, without signals, and without a title for the process."""

    job_class = WorkerJob
    queue_class = Queue
    death_penalty_class = NoLimit

    def __init__(self, queues: list[Any], connection: Redis) -> None:
        super().__init__(queues, connection=connection, prepare_for_work=False)

    def execute_job(self, job: Any, queue: Any) -> None:
        """As RQ's; a refused job fails in the queue that it was found in."""
        job.check_queue(queue.name)
        super().execute_job(job, queue)

    def procline(self, message: str) -> None:
        """Leave the title of the test's process alone."""


def _make_due(queue: Any) -> None:
    """Put what is on the schedule of *queue* on the queue itself, in the order in which it would be due."""
    registry = queue.scheduled_job_registry
    for job_id in registry.get_job_ids(cleanup=False):
        registry.remove(job_id)
        queue.connection.hset(Job.key_for(job_id), "status", "queued")
        queue.push_job_id(job_id)
