"""RQ's commands to workers: stop-job, kill-horse, shutdown. Heard for all children on one connection.

May import rq's names of channels; does nothing itself: it returns what was asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from redis import Redis
from redis.exceptions import RedisError
from rq.command import PUBSUB_CHANNEL_TEMPLATE

_log = logging.getLogger("ctxjobs.worker")

What = Literal["stop-job", "kill-horse", "shutdown"]
_KNOWN: Final = get_args(What)
_PREFIX: Final = PUBSUB_CHANNEL_TEMPLATE % ""


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody wants of a worker.

    Attributes:
        what: Which command.
        worker: The worker's name.
        job_id: Id of the job to stop.
    """

    what: What
    worker: str
    job_id: str = ""


class Commands:
    """Listens to the commands to some workers.

    Args:
        client: Says where Redis is.
    """

    def __init__(self, client: Redis) -> None:
        untyped: Any = client
        self._pubsub = untyped.pubsub(ignore_subscribe_messages=True)
        self._workers: set[str] = set()

    def listen_to(self, workers: Collection[str]) -> None:
        """Listen to the commands to these, and to no others.

        Raises:
            RedisError: Redis does not answer.
        """
        new, gone = set(workers) - self._workers, self._workers - set(workers)
        if new:
            self._pubsub.subscribe(*(_PREFIX + worker for worker in new))
        if gone:
            self._pubsub.unsubscribe(*(_PREFIX + worker for worker in gone))
        self._workers = set(workers)

    def read(self) -> Iterator[Command]:
        """The commands that have come.

        Raises:
            RedisError: Redis does not answer.
        """
        while self._workers and (message := self._pubsub.get_message(timeout=0)) is not None:
            if command := _read(message):
                yield command

    def close(self) -> None:
        """Listen no more; after a failure, :meth:`listen_to` begins anew."""
        self._workers = set()
        try:
            self._pubsub.close()
        except RedisError:
            return  # it is closed all the same


def _read(message: dict[str, Any]) -> Command | None:
    try:
        payload = json.loads(message["data"])
        what, job_id = payload["command"], payload.get("job_id") or ""
        worker = message["channel"].decode().removeprefix(_PREFIX)
    except (KeyError, TypeError, ValueError, AttributeError):
        _log.warning("a command does not read: %.200r", message.get("data"))
        return None
    return Command(what, worker, str(job_id)) if what in _KNOWN else None
