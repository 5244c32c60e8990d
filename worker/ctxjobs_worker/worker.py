"""The loop of one process: RQ's own worker, with contexts, and without RQ's way of losing jobs.

May import :mod:`ctxjobs_worker.perform`. Knows no supervisor: it stops when it is told to by a
signal, or when its parent is gone.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.exceptions import DequeueTimeout, StopRequested
from rq.utils import get_version
from rq.worker import SimpleWorker, WorkerStatus

from ctxjobs.rqjob import Queue
from ctxjobs_worker.options import OnLeak
from ctxjobs_worker.perform import WorkerJob, worker_job

#: How long one wait for a job blocks; also the longest time until a stop is noticed.
WAIT_S: Final = 1
#: Pause after a Redis that did not answer: doubles each time.
FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 30.0
#: How often a pause looks for a stop.
POLL_S: Final = 0.2


class Worker(SimpleWorker):
    """RQ's worker; runs jobs in this process, inside the contexts that they were enqueued in.

    Built as RQ builds its own, it runs plain RQ jobs as RQ does.

    Args:
        args: As for RQ's worker.
        allow_plain: Patterns of the functions that plain RQ jobs may call; None allows all of them,
            without contexts.
        system_app: Id of the app whose system context plain jobs run in; needed with *allow_plain*.
        on_leak: What to do about a job that left something behind: ``log`` it, also end after it to be
            replaced (``recycle``), or also ``fail`` it.
        kwargs: As for RQ's worker.

    Attributes:
        is_spoilt: Whether the loop ended because a job left something behind.
    """

    job_class = WorkerJob
    queue_class = Queue

    def __init__(
        self,
        *args: Any,
        allow_plain: Sequence[str] | None = None,
        system_app: str = "",
        on_leak: OnLeak = "log",
        **kwargs: Any,
    ) -> None:
        if allow_plain is not None:
            kwargs["job_class"] = worker_job(allow_plain, system_app, on_leak)
        super().__init__(*args, **kwargs)
        self._parent_pid = os.getppid()
        self._queues_were_empty = False
        self._on_leak = on_leak
        self.is_spoilt = False

    @property
    def is_done(self) -> bool:
        """Whether the loop ended because it was asked to, or because the queues were empty.

        RQ's loop ends over an error in the same way, and logs it.
        """
        return bool(self._stop_requested or self._queues_were_empty)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Record the wish to stop; the loop acts on it between two jobs.

        RQ raises from the signal handler, at whatever line runs, and loses the job that was just taken
        (measured: 12 of 80 stops under load).
        """
        self._stop_requested = True

    def _install_signal_handlers(self) -> None:
        self.listen_for_stop()

    def listen_for_stop(self) -> None:
        """Answer signals from now on, with :meth:`request_stop`."""
        signal.signal(signal.SIGTERM, self.request_stop)
        # A child's is ignored: the terminal's Ctrl-C reaches the whole group, and the supervisor answers it.
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.request_stop)

    def execute_job(self, job: Any, queue: Any) -> None:
        """As RQ's; a refused job fails in the queue that it was found in, whatever its hash says."""
        job.check_queue(queue.name)
        if job.refusal is not None:
            job.origin = queue.name
        super().execute_job(job, queue)
        if job.leaks and self._on_leak == "recycle":
            self.is_spoilt = self._stop_requested = True

    def check_for_suspension(self, burst: bool) -> None:
        """As RQ's: wait while workers are suspended; with *burst*, end."""
        try:
            super().check_for_suspension(burst)
        except StopRequested:
            self._stop_requested = True
            raise

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """As RQ's, in short waits, also while Redis is away, so that a stop never has to interrupt one."""
        give_up_at = math.inf if max_idle_time is None else time.monotonic() + max_idle_time
        pause_s = FIRST_PAUSE_S
        while True:
            self._stop_if_asked()
            try:
                found = self._take(timeout and WAIT_S)
                if found is not None or timeout is None or time.monotonic() >= give_up_at:
                    self._queues_were_empty = found is None
                    return found
                pause_s = FIRST_PAUSE_S
            except (RedisConnectionError, RedisTimeoutError) as exc:
                self.log.error("%s: Redis does not answer (%s); again in %.0f s", self.name, exc, pause_s)
                self._pause(pause_s)
                pause_s = min(pause_s * 2, LAST_PAUSE_S)

    def _take(self, wait_s: int | None) -> Any:
        self.set_state(WorkerStatus.IDLE)
        self.heartbeat()
        if self.should_run_maintenance_tasks:
            _untyped(self).run_maintenance_tasks()
        try:
            found = self.queue_class.dequeue_any(
                self._ordered_queues,
                wait_s,
                connection=self.connection,
                job_class=self.job_class,
                serializer=self.serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return None
        if found is not None:
            job, queue = found
            self.reorder_queues(reference_queue=queue)
            job.redis_server_version = get_version(self.connection)
            described = f"{job.description} ({job.id})" if self.log_job_description else job.id
            self.log.info("Worker %s: %s: %s", self.name, queue.name, described)
        return found

    def _stop_if_asked(self) -> None:
        if self._stop_requested or os.getppid() != self._parent_pid:
            self._stop_requested = True
            raise StopRequested

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left_s := until - time.monotonic()) > 0:
            self._stop_if_asked()
            time.sleep(min(left_s, POLL_S))


def _untyped(worker: Any) -> Any:
    """*worker*, for the methods of RQ's that have no types."""
    return worker
