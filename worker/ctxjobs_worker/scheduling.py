"""RQ's scheduler, one step at a time, inside the supervisor.

May import rq. Decodes nothing: it moves jobs from the schedule to their queue, byte for byte.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq.scheduler import RQScheduler

_log = logging.getLogger("ctxjobs.worker")


class Verbatim:
    """A serializer that leaves bytes as they are: a scheduler has no business in a job's meta."""

    @staticmethod
    def dumps(value: Any) -> Any:
        """*value*, which :meth:`loads` left as it was."""
        return value

    @staticmethod
    def loads(data: Any) -> Any:
        """*data* as it is."""
        return data


class Scheduling:
    """Enqueues the jobs of some queues when they are due.

    Several workers may do so for one queue; RQ's locks see to it that one does at a time.

    Args:
        queues: Names of the queues.
        connection: Redis.
        logging_level: For RQ's own log lines.
    """

    def __init__(self, queues: Sequence[str], connection: Redis, logging_level: str) -> None:
        self._scheduler: Any = RQScheduler(
            list(queues), connection=connection, serializer=Verbatim, logging_level=logging_level
        )

    def start(self) -> None:
        """Register as a scheduler, and take what is due."""
        self._scheduler.register_birth()
        self.step()

    def step(self) -> None:
        """Take what is due; a Redis that does not answer is tried again at the next step."""
        try:
            if self._scheduler.should_reacquire_locks:
                self._scheduler.acquire_locks()
            self._scheduler.heartbeat()
            self._scheduler.enqueue_scheduled_jobs()
        except RedisError as exc:
            _log.warning("scheduler: Redis does not answer (%s); trying again", exc)

    def stop(self) -> None:
        """Give the locks back."""
        try:
            self._scheduler.stop()
        except RedisError as exc:
            _log.warning("scheduler: its locks could not be given back (%s); they expire in a minute", exc)
