"""What the demo's shop writes down about its jobs: in Redis, under keys of the demo's own.

The witness of the demo, of either host: it knows what a job saw also if that job failed, how often contexts
were torn down and with which exception, and whether a job could see anything of the job before it. May
import redis and :data:`ctxjobs.current_job`; knows no host, no queue, and decides nothing.
"""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from redis import Redis

from ctxjobs import current_job

#: Lists: what the views saw, the newest first; for each job, its executions and the ends of their contexts.
VIEWS_KEY: Final = "ctxjobs-demo:views"
RUNS_KEY: Final = "ctxjobs-demo:runs:"
TEARDOWNS_KEY: Final = "ctxjobs-demo:teardowns:"
#: Records live as long as somebody may look at them; RQ keeps a job's result for 500 seconds.
KEEP_S: Final = 500
KEEP_VIEWS: Final = 1_000

#: What a view or a job saw: tenant, user, locale and so on, by name.
Seen = dict[str, Any]

_former_job: ContextVar[str | None] = ContextVar("ctxjobs-demo.former_job", default=None)


@dataclass(frozen=True, slots=True)
class View:
    """One request that enqueued a job.

    Attributes:
        function: Dotted name of the job's function.
        seen: What the view saw, and the job's id.
        sent: What the client had sent of it; empty where nobody knows.
    """

    function: str
    seen: Seen
    sent: Seen = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a job.

    Attributes:
        seen: What it saw.
        leaks: What it could see of the job before it in the same process.
        root: Id of the first job of its chain; None if it is that.
        parent: Id of the job that enqueued it; None if a view did.
    """

    seen: Seen
    leaks: list[str]
    root: str | None
    parent: str | None


class Journal:
    """The records of one app.

    Args:
        url: Redis; the connection is made when it is first used, so never before a fork.
    """

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url)
        self._open: list[str] = []  # jobs of this process whose contexts are not torn down yet

    def write_view(self, function: str, seen: Seen) -> None:
        """Record that a view saw *seen* when it enqueued a job of *function*."""
        self._append(VIEWS_KEY, asdict(View(function, seen)))
        self._redis.ltrim(VIEWS_KEY, -KEEP_VIEWS, -1)

    def write(self, seen: Seen, g: Any) -> None:
        """If a job is running, record that it saw *seen*, and what it could see of the job before it.

        Args:
            seen: What it saw.
            g: The host's ``g``.
        """
        if current_job:
            job_id, lineage = current_job.id, current_job.snapshot.lineage
            run = Run(seen, self._find_leaks(g), lineage.root, lineage.parent)
            self._append(RUNS_KEY + job_id, asdict(run))
            self._leave_marks(job_id, g)

    def _find_leaks(self, g: Any) -> list[str]:
        leaks = [f"the contexts of job {job_id} are still pushed" for job_id in self._open]
        if former := g.get("_former_job"):
            leaks.append(f"g is that of job {former}")
        if former := _former_job.get():
            leaks.append(f"a context variable is that of job {former}")
        return leaks

    def _leave_marks(self, job_id: str, g: Any) -> None:
        self._open.append(job_id)
        g._former_job = job_id  # noqa: SLF001 - with an underscore: no capture policy takes it by default
        _former_job.set(job_id)

    def close_context(self, error: BaseException | None) -> None:
        """The app's teardown function: if a job is ending, record that, and its exception."""
        if current_job:
            self._append(TEARDOWNS_KEY + current_job.id, None if error is None else type(error).__name__)
            self._open = [job_id for job_id in self._open if job_id != current_job.id]

    def views(self, count: int) -> list[View]:
        """The newest *count* views, the newest first."""
        return [View(**record) for record in reversed(self._read(VIEWS_KEY, -count))]

    def runs(self, job_id: str) -> list[Run]:
        """The executions of a job, the first one first."""
        return [Run(**record) for record in self._read(RUNS_KEY + job_id)]

    def teardowns(self, job_id: str) -> list[str | None]:
        """For each time that the job's contexts were torn down: the name of its exception, or None."""
        return self._read(TEARDOWNS_KEY + job_id)

    def _append(self, key: str, record: Any) -> None:
        with self._redis.pipeline() as pipe:
            pipe.rpush(key, json.dumps(record))
            pipe.expire(key, KEEP_S)
            pipe.execute()

    def _read(self, key: str, start: int = 0) -> list[Any]:
        return [json.loads(record) for record in self._redis.lrange(key, start, -1)]
