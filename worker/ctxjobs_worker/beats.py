"""Signs of life: of workers, and of the jobs that they have started.

One script for any number of workers. A worker by itself has a thread that gives them; the supervisor gives
those of its children. May import the scripts' callers; knows no job.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from ctxjobs_worker.cycle import LEASE_S, Now, Script
from ctxjobs_worker.link import Link

_log = logging.getLogger("ctxjobs.worker")

_BEAT: Final = Script("beat")

#: How often signs of life are given, in seconds; RQ's own.
INTERVAL_S: Final = 30.0


def beat(link: Link, workers: Sequence[str], worker_ttl: int) -> list[str]:
    """Give a sign of life of *workers*.

    Args:
        link: A connection.
        workers: Names.
        worker_ttl: How long RQ's hashes of them are kept from now on, in seconds.

    Returns:
        The names of those that RQ does not know.

    Raises:
        RedisError: Redis is not there.
    """
    gone = _BEAT.ask(link, (workers, *Now.read(), LEASE_S, worker_ttl))
    return [name.decode() for name in gone]


class Beats:
    """Gives signs of life of one worker, in a thread of its own, inside a ``with`` block.

    Args:
        client: Says where Redis is.
        worker: The worker's name.
        interval_s: How often.
        worker_ttl: How long RQ's hash of it is kept.
    """

    def __init__(self, client: Redis, worker: str, interval_s: float, worker_ttl: int) -> None:
        self._link = Link(client)
        self._worker, self._interval_s, self._worker_ttl = worker, interval_s, worker_ttl
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ctxjobs-beats", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc_info: Any) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            try:
                beat(self._link, [self._worker], self._worker_ttl)
            except RedisError as exc:  # noqa: PERF203 - once in half a minute
                _log.warning("worker %s: could not give a sign of life (%s)", self._worker, exc)
        self._link.drop()
