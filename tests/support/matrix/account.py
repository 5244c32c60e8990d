"""The account of one run of the matrix: what the callers saw, what happened in the workers, what is left.

Values only; made by ``running``, read by the tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis import Redis
from rq.job import Job, JobStatus
from support.matrix.way import Way

from ctxjobs import ContextJob


@dataclass
class Call:
    """One use of one way.

    Attributes:
        way: The way.
        seen: What the caller saw.
        ids: The jobs.
        hashes: For each job what Redis held right after the call.
        notes: What the way found out.
    """

    way: Way
    seen: dict[str, Any]
    ids: list[str]
    hashes: dict[str, dict[bytes, bytes]]
    notes: dict[str, Any]


@dataclass
class End:
    """A job after all is done: what Redis holds, read as an app reads it."""

    status: JobStatus
    result: Any
    exc_info: str
    hash: dict[bytes, bytes]
    ttl_s: int


@dataclass
class Account:
    """All that happened in one run."""

    host: str
    worker: str
    #: By the name of the way; where several apps are at work, after the host's name and a space.
    calls: dict[str, Call] = field(default_factory=dict, repr=False)
    events: list[dict[str, Any]] = field(default_factory=list, repr=False)
    ends: dict[str, End] = field(default_factory=dict, repr=False)
    hooks: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list, repr=False)
    groups: dict[str, set[str]] = field(default_factory=dict, repr=False)
    log: str = field(default="", repr=False)

    def runs_of(self, job_id: str) -> list[list[dict[str, Any]]]:
        """The events of a job, as one list for each run of its function, and of a callback."""
        runs: list[list[dict[str, Any]]] = []
        for event in self.events:
            if event["job_id"] != job_id:
                continue
            if event["what"] in ("start", "callback"):
                runs.append([])
            runs[-1].append(event)
        return runs

    def starts(self, job_id: str) -> list[dict[str, Any]]:
        """One event for each time that a job's function was called."""
        return [event for event in self.events if event["job_id"] == job_id and event["what"] == "start"]

    def family(self, way: str) -> list[str]:
        """The jobs of a way, and those that they enqueued in turn."""
        ids = list(self.calls[way].ids)
        for job_id in ids:
            ids += dict.fromkeys(
                event["job_id"] for event in self.events if event.get("lineage", (None, None))[1] == job_id
            )
        return ids

    def index(self, job_id: str, what: str) -> int:
        """Where among all events the first one of this kind stands."""
        return next(
            i for i, event in enumerate(self.events) if (event["job_id"], event["what"]) == (job_id, what)
        )


def read_end(job_id: str, connection: Redis) -> End:
    key = Job.key_for(job_id)
    raw = connection.hgetall(key)
    if not raw:
        return End(JobStatus.FINISHED, None, "", {}, -2)
    job = ContextJob.fetch(job_id, connection=connection)
    latest = job.latest_result()
    exc_info = "" if latest is None else latest.exc_string or ""
    return End(job.get_status(), job.return_value(), exc_info, raw, connection.ttl(key))
