"""The loop of one process: RQ's own worker, with contexts, and without RQ's way of losing jobs.

May import :mod:`ctxjobs_worker.perform`. Knows no supervisor: it stops when it is told to by a
signal, or when its parent is gone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

from rq.exceptions import StopRequested
from rq.worker import SimpleWorker

from ctxjobs.rqjob import Queue
from ctxjobs_worker.perform import WorkerJob, worker_job

#: How long one wait for a job blocks; also the longest time until a stop is noticed.
WAIT_S: Final = 1


class Worker(SimpleWorker):
    """RQ's worker; runs jobs in this process, inside the contexts that they were enqueued in.

    Built as RQ builds its own, it runs plain RQ jobs as RQ does.

    Args:
        args: As for RQ's worker.
        allow_plain: Patterns of the functions that plain RQ jobs may call; None allows all of them,
            without contexts.
        system_app: Id of the app whose system context plain jobs run in; needed with *allow_plain*.
        kwargs: As for RQ's worker.
    """

    job_class = WorkerJob
    queue_class = Queue

    def __init__(
        self, *args: Any, allow_plain: Sequence[str] | None = None, system_app: str = "", **kwargs: Any
    ) -> None:
        if allow_plain is not None:
            kwargs["job_class"] = worker_job(allow_plain, system_app)
        super().__init__(*args, **kwargs)
        self._parent_pid = os.getppid()

    @property
    def was_asked_to_stop(self) -> bool:
        """Whether the loop ended because somebody wanted it to."""
        return bool(self._stop_requested)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Record the wish to stop; the loop acts on it between two jobs.

        RQ raises from the signal handler, at whatever line runs, and loses the job that was just taken
        (measured: 12 of 80 stops under load).
        """
        self._stop_requested = True

    def _install_signal_handlers(self) -> None:
        self.listen_for_stop()

    def listen_for_stop(self) -> None:
        """Answer SIGTERM from now on, with :meth:`request_stop`."""
        # The terminal's Ctrl-C reaches every process of the group; the supervisor answers it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.request_stop)

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """As RQ's, in short waits, so that a stop never has to interrupt one."""
        give_up_at = None if max_idle_time is None else time.monotonic() + max_idle_time
        while True:
            if self._stop_requested or os.getppid() != self._parent_pid:
                self._stop_requested = True
                raise StopRequested
            found = super().dequeue_job_and_maintain_ttl(timeout and WAIT_S, max_idle_time=WAIT_S)
            idle_too_long = give_up_at is not None and time.monotonic() >= give_up_at
            if found is not None or timeout is None or idle_too_long:
                return found
