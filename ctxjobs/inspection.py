"""Read-only views: which jobs belong together, as frozen rows for tools.

Every job is verified before anything of it is said. Rows have names, ids and times, and no captured value;
no user is loaded and no function imported. May import the floor of RQ's jobs; the only writing it does is
to drop from the index what is gone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rq.job import Job
from rq.utils import utcparse

from ctxjobs import codec, rqcompat
from ctxjobs.admission import open_envelope
from ctxjobs.connection import connection_of, translated
from ctxjobs.envelope import Envelope
from ctxjobs.errors import ConfigError, JobRefusedError
from ctxjobs.indexing import read_members, remove_members
from ctxjobs.indexkeys import as_text, index_keys
from ctxjobs.keys import index_key
from ctxjobs.registry import BoundApp, registry
from ctxjobs.snapshot import Lineage
from ctxjobs.triggers import Trigger

if TYPE_CHECKING:
    from redis import Redis

#: How many jobs are returned if nobody says how many.
LIMIT: Final = 100
#: How many jobs are read in one round trip.
_CHUNK: Final = 100


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job, without any of its values.

    Attributes:
        id: Its id.
        function: Dotted name of its function; empty if the job is refused.
        queue: Name of its queue.
        status: RQ's word for its state, such as ``queued``.
        trigger: What enqueued it; None if the job is refused.
        lineage: Which request and which job it descends from; None if the job is refused.
        created_at: When it was made.
        enqueued_at: When it was last put on its queue; None if it was not yet.
        refusal: Why a worker here would refuse it, or has refused it; None if it is in order.
    """

    id: str
    function: str
    queue: str
    status: str
    trigger: Trigger | None
    lineage: Lineage | None
    created_at: datetime | None
    enqueued_at: datetime | None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class JobTree:
    """A job and those that it enqueued.

    Attributes:
        id: The job's id.
        row: The job; None if it is gone, and is known from its children only.
        children: The jobs that it enqueued, the oldest first.
    """

    id: str
    row: JobRow | None
    children: tuple[JobTree, ...]


def find_jobs(
    app: Any,
    *,
    request: str | None = None,
    tenant: str | int | UUID | None = None,
    user: str | int | UUID | None = None,
    root: str | None = None,
    limit: int = LIMIT,
    connection: Redis | None = None,
) -> list[JobRow]:
    """The jobs of one request, tenant or user, or of one chain of jobs; if several are given, of all of them.

    A job that a job enqueued belongs to the request of that job. The index knows a job for as long as RQ
    keeps it; one that waits longer than a year is lost sight of until it runs.

    Args:
        app: The app, bound; ``current_app`` will do.
        request: Id of a request: that of its header ``X-Request-ID``, or else the one in the lineage of its
            jobs.
        tenant: What ``g.tenant`` was, or wherever ``CTXJOBS_INDEX`` says that the tenant is.
        user: Id of the user whom Flask-Login, or whatever ``CTXJOBS_INDEX`` names, knew.
        root: Id of the first job of the chain; the chain includes it.
        limit: How many jobs to return at most.
        connection: Redis; None means the app's.

    Returns:
        The jobs, the newest first; one that would be refused is among them, with the reason.

    Raises:
        ConfigError: Nothing is asked for, the app is not bound, or its ``CTXJOBS_INDEX`` leaves this out.
        RedisUnavailableError: Redis does not answer.
    """
    bound = _bound("find_jobs(app)", app)
    keys = _keys(bound, {"request": request, "tenant": tenant, "user": user, "root": root})
    with translated(bound):
        redis = connection_of(bound) if connection is None else connection
        rows = _rows(redis, keys, {} if root is None else {root: f"0:{root}"})
        return [row for row, _ in zip(rows, range(limit), strict=False)]


def lineage_of(
    app: Any, job_id: str, *, limit: int = 1000, connection: Redis | None = None
) -> JobTree | None:
    """The whole chain that a job belongs to, from its first job down.

    Args:
        app: The app, bound; ``current_app`` will do.
        job_id: Id of any job of the chain; of the first one, if that is gone.
        limit: How many jobs to read at most, the newest ones.
        connection: Redis; None means the app's.

    Returns:
        The first job, with what it led to; None if nothing of the chain is left.

    Raises:
        ConfigError, RedisUnavailableError: As for :func:`find_jobs`.
    """
    bound = _bound("lineage_of(app)", app)
    with translated(bound):
        redis = connection_of(bound) if connection is None else connection
        found = _read(redis, [job_id])[job_id]
        lineage = None if found is None else found.row.lineage
    root = job_id if lineage is None else lineage.root or job_id
    rows = find_jobs(app, root=root, limit=limit, connection=connection)
    return _tree(root, rows[::-1]) if rows else None


def _tree(root: str, rows: Sequence[JobRow]) -> JobTree:
    by_id: dict[str, JobRow | None] = {row.id: row for row in rows}
    children: dict[str, list[str]] = {}
    for row in rows:
        if row.id != root:
            parent = row.lineage.parent or root if row.lineage else root
            if parent not in by_id and parent != root:  # it is gone, and with it the name of its own parent
                by_id[parent] = None
                children.setdefault(root, []).append(parent)
            children.setdefault(parent, []).append(row.id)

    def node(job_id: str) -> JobTree:
        return JobTree(job_id, by_id.get(job_id), tuple(node(child) for child in children.get(job_id, ())))

    return node(root)


# --- what is asked for -----------------------------------------------------------------------


def _bound(call: str, app: Any) -> BoundApp:
    bound = registry.find(app)
    if bound is None:
        raise ConfigError(call, "this app is not bound; call CtxJobs(app) or init_app(app) first.")
    return bound


def _keys(app: BoundApp, asked: Mapping[str, Any]) -> list[str]:
    given = {kind: value for kind, value in asked.items() if value is not None}
    if not given:
        raise ConfigError("find_jobs(...)", f"nothing is asked for; give one of {', '.join(asked)}.")
    if unknown := ", ".join(kind for kind in given if kind not in app.settings.index):
        reason = f"app {app.id!r} does not index its jobs by {unknown}; set it, and enqueue again."
        raise ConfigError("CTXJOBS_INDEX", reason)
    return [index_key(app.id, kind, _text(kind, value)) for kind, value in given.items()]


def _text(kind: str, value: Any) -> str:
    text = as_text(codec.encode(value, kind))
    if text is None:
        got = type(value).__name__
        raise ConfigError(f"find_jobs({kind}=...)", f"expected a str, int or UUID, got {got}.")
    return text


# --- what is found ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    row: JobRow
    envelope: Envelope | None

    def has(self, keys: Sequence[str]) -> bool:
        """Whether the job says of itself what the index says of it; of a refused one, nobody can tell."""
        if self.envelope is None:
            return True
        app = registry.apps[self.envelope.app_id]
        own = index_keys(app.id, app.settings.index, self.envelope.snapshot)
        return {*keys} <= {*own, index_key(app.id, "root", self.row.id)}


def _rows(redis: Redis, keys: Sequence[str], more: Mapping[str, str]) -> Iterator[JobRow]:
    """The rows of the jobs that all of *keys* have, then those of *more*, members by job id."""
    members = {member.partition(":")[2]: member for member in read_members(redis, keys)} | dict(more)
    ids = list(members)
    for start in range(0, len(ids), _CHUNK):
        jobs = _read(redis, ids[start : start + _CHUNK])
        remove_members(redis, keys, [members[job_id] for job_id, found in jobs.items() if found is None])
        yield from (found.row for found in jobs.values() if found is not None and found.has(keys))


def _read(redis: Redis, job_ids: Sequence[str]) -> dict[str, _Found | None]:
    """What of these jobs is there, by id; None for one that is gone."""
    pipeline = redis.pipeline(transaction=False)
    for job_id in job_ids:
        pipeline.hgetall(Job.key_for(job_id))
    hashes = [rqcompat.job_fields(raw) for raw in pipeline.execute()]
    return {
        job_id: _found(job_id, fields) if fields else None
        for job_id, fields in zip(job_ids, hashes, strict=True)
    }


def _found(job_id: str, fields: Mapping[str, bytes]) -> _Found:
    started_at = _moment(fields, "started_at")  # a worker looked then: what was in time is not too old today
    envelope, refusal = None, None
    try:
        envelope, _ = open_envelope(job_id, fields, None if started_at is None else started_at.timestamp())
    except JobRefusedError as exc:
        refusal = str(exc)
    row = JobRow(
        id=job_id,
        function="" if envelope is None else envelope.function,
        queue=_word(fields, "origin"),
        status=_word(fields, "status"),
        trigger=None if envelope is None else envelope.snapshot.trigger,
        lineage=None if envelope is None else envelope.snapshot.lineage,
        created_at=_moment(fields, "created_at"),
        enqueued_at=_moment(fields, "enqueued_at"),
        refusal=refusal,
    )
    return _Found(row, envelope)


def _word(fields: Mapping[str, bytes], name: str) -> str:
    return fields.get(name, b"").decode(errors="replace")


def _moment(fields: Mapping[str, bytes], name: str) -> datetime | None:
    with suppress(ValueError):
        return utcparse(_word(fields, name))
    return None
