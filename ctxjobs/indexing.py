"""The index: which jobs belong to one request, tenant, user or first job; kept as long as the jobs are.

What is in Redis is documented in :mod:`ctxjobs.keys`; who looks things up is :mod:`ctxjobs.inspection`. May
import RQ's Job and the floors of values; knows neither envelopes nor apps.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rq.defaults import DEFAULT_FAILURE_TTL
from rq.job import Job, JobStatus

from ctxjobs.keys import index_key
from ctxjobs.snapshot import Snapshot

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
_LEEWAY_S: Final = 60
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
    """

    due_at: float | None = None

    @property
    def index_keys(self) -> Sequence[str]:
        """The keys that this job has an entry in."""
        return ()

    @property
    def is_new(self) -> bool:
        """Whether the job was made here, and not read from Redis."""
        return False

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
            client.zrem(key, self._member)

    def keep_waiting(self, pipeline: Pipeline | None = None) -> None:
        """Keep the entries for as long as the job may wait to run."""
        until_due_s = max((self.due_at or 0) - time.time(), 0)
        self.keep(until_due_s + (self.ttl or _WAIT_S) + MARGIN_S, pipeline)

    def keep(self, seconds: float, pipeline: Pipeline | None = None) -> None:
        """Write the entries, and keep them for *seconds* from now."""
        keys = self.index_keys
        if not keys:
            return
        client: Any = self.connection if pipeline is None else pipeline
        now = int(time.time())
        until = int(now + seconds) + _LEEWAY_S
        client.eval(_KEEP, len(keys), *keys, now - _LEEWAY_S, until, self._member)

    def index_entry(self, seconds: int) -> tuple[Sequence[str], str, int] | None:
        """The entries that this job has for *seconds* from now, once it has ended, for whoever writes them.

        Args:
            seconds: How long the job is kept; -1 means for ever.

        Returns:
            The keys, its member there, and for how many seconds to keep it there; None if it has no entries.
        """
        keys = self.index_keys
        return (keys, self._member, (seconds if seconds > 0 else _FOR_EVER_S) + _LEEWAY_S) if keys else None

    @property
    def _member(self) -> str:
        return f"{_microseconds(self.created_at)}:{self.id}"


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


def index_keys(app_id: str, places: Mapping[str, str], snapshot: Snapshot) -> list[str]:
    """The keys that a job with *snapshot* has an entry in.

    Args:
        app_id: The job's app.
        places: Where the value of a kind is, by kind (``CTXJOBS_INDEX``).
        snapshot: What the job was enqueued in.
    """
    values = {kind: as_text(_captured(snapshot, place)) for kind, place in places.items()}
    return [index_key(app_id, kind, value) for kind, value in values.items() if value is not None]


def _captured(snapshot: Snapshot, place: str) -> Any:
    where, _, name = place.partition(".")
    if not name:
        state = snapshot.propagators.get(place)
        return state.get("id") if isinstance(state, dict) and "~" not in state else state
    if where == "lineage":
        return getattr(snapshot.lineage, name)
    return (snapshot.g if where == "g" else snapshot.session or {}).get(name)


def as_text(value: Any) -> str | None:
    """An encoded *value* as the text that it is looked up by: of a str, an int or a UUID; None of all else.

    A number and its digits are one, because Flask-Login makes a str of every id.
    """
    if isinstance(value, dict) and value.get("~") == "uuid":
        return str(UUID(value["v"]))
    return str(value) or None if type(value) in (str, int) else None


def read_members(connection: Redis, keys: Iterable[str]) -> list[str]:
    """The members that all of *keys* have, the newest job first."""
    now = int(time.time()) - _LEEWAY_S
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
