"""What the supervisor does in Redis for its children, and for workers that are gone.

Signs of life, leases that go back, jobs of dead processes, registries that are overdue. Each is one script or
one command on a connection that waits two seconds and no longer: the supervisor has other things to do than
to wait for Redis. May import the scripts' callers and the slots; imports no user code and decodes nothing of
a job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from redis import Redis
from redis.exceptions import RedisError

from ctxjobs.errors import RedisTooOldError
from ctxjobs.keys import WORKERS_KEY
from ctxjobs_worker.beats import INTERVAL_S, beat
from ctxjobs_worker.cycle import LEASE_S, Identity, Now, Script
from ctxjobs_worker.link import Link
from ctxjobs_worker.slots import seq_and_index
from ctxjobs_worker.waiting import LAST_LOOK_S

_log = logging.getLogger("ctxjobs.worker")

_RELEASE: Final = Script("release")

How = Literal["settle", "stop", "died", "expire"]

#: How long one answer may take, in seconds.
TIMEOUT_S: Final = 2.0
#: For how long Redis must have answered without a break before others count as gone, in seconds: after an
#: outage nobody has given signs of life.
STEADY_S: Final = 60.0

#: The oldest Redis that has what workers ask for: BLMOVE, and LPOP with a count.
OLDEST_REDIS: Final = (6, 2)


def check_version(url: str, found: str) -> None:
    """Make sure that workers can work with a Redis.

    Args:
        url: Its URL, without the password.
        found: Its version, as it says it; Valkey says that of the Redis with which it is compatible.

    Raises:
        RedisTooOldError: It lacks commands.
    """
    if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_REDIS:
        raise RedisTooOldError(url, found, ".".join(map(str, OLDEST_REDIS)))


@dataclass(frozen=True, slots=True)
class Running:
    """A job that counts as started.

    Attributes:
        job_id: Its id.
        queue: Its queue.
    """

    job_id: str
    queue: str


class Upkeep:
    """The supervisor's business in Redis.

    Args:
        client: Says where Redis is; its time limit should be :data:`TIMEOUT_S`.
        queues: Names of the queues of all children.
        worker_ttl: How long RQ's hashes of workers are kept without a sign of life, in seconds.
    """

    def __init__(self, client: Redis, queues: Sequence[str], worker_ttl: int) -> None:
        self._link = Link(client)
        self._queues = queues
        self._worker_ttl = worker_ttl
        self._next_beat = 0.0
        self._next_try = 0.0
        self._steady_since = time.monotonic()

    @property
    def is_reachable(self) -> bool:
        """Whether it is worth a try: Redis has answered the last time, or long enough ago it has not."""
        return time.monotonic() >= self._next_try

    def failed(self, exc: RedisError) -> None:
        """Redis did not answer: wait before it is asked again."""
        pause_s = self._link.pause_s()
        now = time.monotonic()
        self._next_try = now + pause_s
        self._steady_since = now + pause_s
        _log.warning("Redis does not answer (%s); the supervisor asks again in %.1f s", exc, pause_s)

    def beat(self, workers: Sequence[str]) -> bool:
        """Give signs of life, if it is time; whether it was.

        Raises:
            RedisError: Redis does not answer.
        """
        if time.monotonic() < self._next_beat:
            return False
        if workers:
            beat(self._link, workers, self._worker_ttl)
        self._next_beat = time.monotonic() + INTERVAL_S
        return True

    def release(self, identity: Identity, how: How, running: int = 0) -> Running | None:
        """Let what a worker holds go back, as ``scripts/release.lua`` says.

        Args:
            identity: The worker.
            how: What has happened.
            running: Token of the job that it runs, or ran; 0 is none.

        Returns:
            The running job, if it counts as started now.

        Raises:
            RedisError: Redis does not answer.
        """
        execution_id = identity.execution_id(*seq_and_index(running)) if running else ""
        times = (*Now.read(), LEASE_S, LAST_LOOK_S)
        request = (identity.worker, how, execution_id, identity.queues, *times, identity.token)
        answer = _RELEASE.ask(self._link, request)
        return Running(*(part.decode() for part in answer)) if answer else None

    def look_for_the_gone(self) -> None:
        """Let go back what workers held that give no sign of life any more, on whichever machine they were.

        Raises:
            RedisError: Redis does not answer.
        """
        if time.monotonic() - self._steady_since < STEADY_S:
            return
        now_s = int(self._link.ask("TIME")[0])
        for name in self._link.ask("ZRANGEBYSCORE", WORKERS_KEY, "-inf", now_s, "LIMIT", 0, 100):
            worker = name.decode(errors="replace")
            _log.info(
                "worker %s gives no sign of life any more; what it held goes back to its queues", worker
            )
            self.release(Identity(worker, "", ()), "expire")

    def overdue_queues(self) -> list[str]:
        """Queues in which a started job has given no sign of life for too long: somebody has to clean up
        there.

        Raises:
            RedisError: Redis does not answer.
        """
        now_s = int(self._link.ask("TIME")[0])
        return [queue for queue in self._queues if self._link.ask("ZCOUNT", f"rq:wip:{queue}", 0, now_s)]

    def current_job(self, worker: str) -> str | None:
        """Id of the job that RQ says *worker* runs.

        Raises:
            RedisError: Redis does not answer.
        """
        found: bytes | None = self._link.ask("HGET", f"rq:worker:{worker}", "current_job")
        return None if found is None else found.decode()

    def note_stop(self, workers: Iterable[str], at: str) -> None:
        """Tell RQ that these workers were asked to stop.

        Raises:
            RedisError: Redis does not answer.
        """
        for worker in workers:
            self._link.ask("HSET", f"rq:worker:{worker}", "shutdown_requested_date", at)
