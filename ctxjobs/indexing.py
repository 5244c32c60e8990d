"""The index: which jobs belong to one request, tenant, user or first job; kept as long as the jobs are.

What is in Redis is documented in :mod:`ctxjobs.keys`; who looks things up is :mod:`ctxjobs.inspection`. May
import RQ's Job and the floors of values; knows neither envelopes nor apps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rq.defaults import DEFAULT_FAILURE_TTL
from rq.job import Job, JobStatus

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline

#: KEYS: index keys. ARGV: now, until when the job is kept, its member. No command of Redis lets a key expire
#: with its last member (EXPIRE GT of Redis 7 comes near); a script costs the pipeline no round trip.
_KEEP: Final = """
for _, key in ipairs(KEYS) do
  redis.call('ZREMRANGEBYSCORE', key, '-inf', ARGV[1])
  redis.call('ZADD', key, ARGV[2], ARGV[3])
  redis.call('EXPIREAT', key, redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
end
"""
#: How far the clocks of two machines may differ.
LEEWAY_S: Final = 60
#: How much longer a job is kept in the index than it may wait, or than somebody else's worker lets it live.
MARGIN_S: Final = 86_400
#: How long a job may wait that names no ``ttl``: a year, as long as RQ keeps a failed one.
_WAIT_S: Final = DEFAULT_FAILURE_TTL
#: What RQ keeps for ever stays for 68 years.
_FOR_EVER_S: Final = 2**31 - 1
_ENDED: Final = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.STOPPED, JobStatus.CANCELED)


class IndexedJob(Job):
    """RQ's Job; its entries in the index are written, kept and removed with it.

    Attributes:
        due_at: When the job is due, in seconds since the epoch; None means now.
        is_new: Whether the job was made here, and not read from Redis.
    """

    due_at: float | None = None
    is_new: bool = False

    @property
    def index_keys(self) -> Sequence[str]:
        """The keys that this job has an entry in."""
        return ()

    def save(
        self, pipeline: Pipeline | None = None, include_meta: bool = True, include_result: bool = True
    ) -> None:
        """As RQ's. One that was made here gets its entries."""
        super().save(pipeline, include_meta, include_result)
        if self.is_new:
            self.keep_waiting(pipeline)

    def cleanup(
        self, ttl: int | None = None, pipeline: Pipeline | None = None, remove_from_queue: bool = True
    ) -> None:
        """As RQ's, which calls it whenever it decides how long the job lives; the entries live as long."""
        super().cleanup(ttl, pipeline, remove_from_queue)
        if ttl == 0:
            return  # RQ has deleted the job
        if self.get_status(refresh=False) not in _ENDED:
            if not self.is_new:
                self.keep_waiting(pipeline)
        elif ttl is not None:
            self.keep(ttl if ttl > 0 else _FOR_EVER_S, pipeline)

    def delete(
        self,
        pipeline: Pipeline | None = None,
        remove_from_queue: bool = True,
        delete_dependents: bool = False,
    ) -> None:
        """As RQ's; its entries go, too."""
        super().delete(pipeline, remove_from_queue, delete_dependents)
        client = self.connection if pipeline is None else pipeline
        for key in self.index_keys:
            client.zrem(key, self.member)

    def keep_waiting(self, pipeline: Pipeline | None = None) -> None:
        """Keep the entries for as long as the job may wait to run."""
        self._keep_until(self.waits_until(time.time()), pipeline)

    def waits_until(self, now: float) -> int:
        """Until when this job may wait to run, and has its entries, in seconds since the epoch."""
        due = self.due_at
        return int(now if due is None or due < now else due) + (self.ttl or _WAIT_S) + MARGIN_S + LEEWAY_S

    def keep(self, seconds: float, pipeline: Pipeline | None = None) -> None:
        """Write the entries, and keep them for *seconds* from now."""
        self._keep_until(int(time.time() + seconds) + LEEWAY_S, pipeline)

    def _keep_until(self, until: int, pipeline: Pipeline | None) -> None:
        keys = self.index_keys
        if not keys:
            return
        client: Any = self.connection if pipeline is None else pipeline
        client.eval(_KEEP, len(keys), *keys, int(time.time()) - LEEWAY_S, until, self.member)

    def index_entry(self, seconds: int) -> tuple[Sequence[str], str, int] | None:
        """The entries that this job has for *seconds* from now, once it has ended, for whoever writes them.

        Args:
            seconds: How long the job is kept; -1 means for ever.

        Returns:
            The keys, its member there, and for how many seconds to keep it there; None if it has no entries.
        """
        keys = self.index_keys
        return (keys, self.member, (seconds if seconds > 0 else _FOR_EVER_S) + LEEWAY_S) if keys else None

    @property
    def member(self) -> str:
        """What stands for this job under each of its keys."""
        return f"{_microseconds(self.created_at)}:{self.id}"


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def read_members(connection: Redis, keys: Iterable[str]) -> list[str]:
    """The members that all of *keys* have, the newest job first."""
    now = int(time.time()) - LEEWAY_S
    pipeline = connection.pipeline()
    for key in keys:
        pipeline.zrangebyscore(key, now, "+inf")
    found = [{member.decode() for member in members} for members in pipeline.execute()]
    return sorted(set.intersection(*found), reverse=True)


def remove_members(connection: Redis, keys: Iterable[str], members: Sequence[str]) -> None:
    """Remove what belongs to jobs that are gone."""
    if members:
        pipeline = connection.pipeline()
        for key in keys:
            pipeline.zrem(key, *members)
        pipeline.execute()
