"""Jobs that were made here are written into Redis by one script, in one round trip.

RQ's own Queue takes two transactions for each. What is in Redis afterwards is the same, key for key and field
for field. What RQ does with jobs that it has read from there stays RQ's: retries, repeats, requeues; so do
jobs that wait for others, and what goes into a pipeline of the caller's. May import RQ's Queue and the floors
of checked and indexed jobs and of RQ's compatibility; knows no contexts and no inline mode.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final, TypeAlias

from redis import RedisError
from redis.exceptions import NoScriptError
from rq import Queue
from rq.exceptions import DuplicateJobError
from rq.job import Job
from rq.queue import EnqueueData
from rq.registry import ScheduledJobRegistry

from ctxjobs import rqcompat
from ctxjobs.admission import CheckedJob
from ctxjobs.errors import PartlyEnqueuedError
from ctxjobs.indexing import LEEWAY_S, IndexedJob
from ctxjobs.rqcompat import enqueueing
from ctxjobs.sending import send

#: The most that one call of the script writes: some 5 ms of Redis' time, in which it does nothing else.
MAX_JOBS: Final = 500
MAX_BYTES: Final = 1024 * 1024

_SCRIPT: Final = files("ctxjobs").joinpath("scripts/enqueue.lua").read_text("utf-8")
_SHA: Final = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
#: One call in so many also removes what is over from its keys of the index: each one would cost 5 us.
_CLEANS_ONE_IN: Final = 16


class WritableJob(CheckedJob, IndexedJob):
    """RQ's Job, as far as it is written here when it is new.

    Attributes:
        is_written: Whether Redis has said that the script has written it; None if it was not told to.
    """

    is_written: bool | None = None

    def new_fields(self) -> list[Any]:
        """Names and values of its fields, one after the other, the envelope first; without empty ones."""
        raise NotImplementedError


#: Jobs, each with what :meth:`WritableJob.new_fields` said.
_Batch: TypeAlias = list[tuple[WritableJob, list[Any]]]


class WritingQueue(Queue):
    """RQ's Queue; jobs that were made here are written in one round trip."""

    def enqueue_job(
        self, job: Any, pipeline: Any = None, at_front: bool = False, unique: bool = False
    ) -> Any:
        """As RQ's."""
        if pipeline is not None or not _is_writable(job, unique):
            return super().enqueue_job(job, pipeline=pipeline, at_front=at_front, unique=unique)
        enqueueing.note_enqueued(self, job)
        doubt, is_async = _doubt(job), self.is_async
        push = ("LPUSH" if at_front else "RPUSH") if is_async else ""
        self._write_one(job, push, doubt, unique)
        return job if is_async else self.run_sync(job)

    def schedule_job(self, job: Any, datetime: Any, pipeline: Any = None, unique: bool = False) -> Any:
        """As RQ's, in one step."""
        if pipeline is None and _is_writable(job, unique):
            enqueueing.note_scheduled(job)
            self._write_one(job, "ZADD", _doubt(job), unique, int(datetime.timestamp()))
        elif unique:
            super().schedule_job(job, datetime, pipeline=pipeline, unique=True)
        else:
            rqcompat.schedule(self, job, datetime, pipeline)
        return job

    def enqueue_many(
        self, job_datas: Iterable[Any], pipeline: Any = None, group_id: str | None = None
    ) -> list[Job]:
        """As RQ's; without a *pipeline*, in as many round trips as it takes.

        Raises:
            PartlyEnqueuedError: As for :meth:`enqueue_jobs`.
        """
        datas = list(job_datas)
        if pipeline is not None:
            return super().enqueue_many(datas, pipeline=pipeline, group_id=group_id)
        made = [(self._made(data, group_id), data.at_front) for data in datas if not data.depends_on]
        self._enqueue_all(made)
        waiting = [data for data in datas if data.depends_on]
        later = super().enqueue_many(waiting, group_id=group_id) if waiting else []
        return [*(job for job, _ in made), *later]

    def enqueue_jobs(self, jobs: Iterable[Any], at_front: bool = False) -> list[Any]:
        """Enqueue what ``create_job`` has made, any number of jobs, in as many round trips as it takes.

        Args:
            jobs: The jobs, none of which waits for another. All of them are made before the first is written.
            at_front: As for ``enqueue_job``.

        Raises:
            PartlyEnqueuedError: Redis has failed in between; says which jobs are enqueued.
            redis.RedisError: Redis has failed at the first of them.
        """
        made = [(job, at_front) for job in jobs]
        self._enqueue_all(made)
        return [job for job, _ in made]

    def _made(self, data: EnqueueData, group_id: str | None) -> Any:
        options = data._asdict()
        del options["at_front"]
        return self.create_job(**options, group_id=group_id)

    def _enqueue_all(self, jobs: Sequence[tuple[Any, bool]]) -> None:
        if not self.is_async or not all(_is_writable(job) for job, _ in jobs):
            for job, at_front in jobs:
                self.enqueue_job(job, at_front=at_front)
            return
        done = 0
        try:
            for batch, at_front, doubt in self._batches(jobs):
                self._write_many(batch, "LPUSH" if at_front else "RPUSH", doubt)
                done += len(batch)
        except RedisError as exc:
            if done == 0:
                raise
            raise PartlyEnqueuedError([job for job, _ in jobs], done, str(exc)) from exc

    def _batches(self, jobs: Iterable[tuple[Any, bool]]) -> Iterator[tuple[_Batch, bool, int | None]]:
        """What one call of the script writes; whether it goes to the front; whether that is in doubt."""
        batch: _Batch = []
        size, front = 0, False
        doubt: int | None = 0
        for job, at_front in jobs:
            its_doubt = _doubt(job)
            enqueueing.note_enqueued(self, job)
            fields = job.new_fields()
            its_size = sum([len(part) for part in fields if type(part) is bytes])
            # A job that may be there is a call of its own: the script asks for the first job alone.
            is_other = at_front != front or doubt != 0 or its_doubt != 0
            if batch and (is_other or len(batch) == MAX_JOBS or size + its_size > MAX_BYTES):
                yield batch, front, doubt
                batch, size = [], 0
            batch.append((job, fields))
            size, front, doubt = size + its_size, at_front, its_doubt
        if batch:
            yield batch, front, doubt

    def _write_one(
        self, job: WritableJob, push: str, doubt: int | None, unique: bool, due_s: int | None = None
    ) -> None:
        """Write one job. Measured: as a batch of one, what is done here would take a third longer."""
        fields, now = job.new_fields(), time.time()
        job_id, ttl, index_keys, queue_key = job.id, job.ttl, job.index_keys, self.key
        expiring = (job.key, job.dependents_key, job.dependencies_key) if ttl else ()
        place = queue_key if due_s is None else ScheduledJobRegistry.key_template.format(self.name)
        pushed: tuple[Any, ...] = () if not push else (job_id,) if due_s is None else (due_s, job_id)
        keys = (self.redis_queues_keys, queue_key, job.key_for(job_id), *expiring, place, *index_keys)
        over = int(now) - LEEWAY_S if int(now * 1000) % _CLEANS_ONE_IN == 0 else ""
        head = ("unique" if unique else "", doubt or 0, push, 1, len(expiring), over, int(now))
        arguments = [*head, len(fields), *fields, *([ttl] * len(expiring)), len(pushed), *pushed]
        if index_keys:
            until = job.waits_until(now)
            arguments += (len(index_keys), until, 2, until, job.member)
        job.is_written = False
        if self._run(keys, arguments, doubt) == 0:
            raise DuplicateJobError(f"Job with ID '{job_id}' already exists")
        job.is_written = True

    def _write_many(self, batch: _Batch, push: str, doubt: int | None) -> None:
        now, queue_key = time.time(), self.key
        keys: list[Any] = [self.redis_queues_keys, queue_key]
        written: list[Any] = []
        expiring: list[Any] = []
        entries: dict[Sequence[str], list[Any]] = {}
        for job, fields in batch:
            job.is_written = False
            keys.append(job.key)
            written += (len(fields), *fields)
            if job.ttl:
                expiring += [(key, job.ttl) for key in (job.key, job.dependents_key, job.dependencies_key)]
            if index_keys := job.index_keys:
                entries.setdefault(index_keys, []).extend((job.waits_until(now), job.member))
        keys += [*(key for key, _ in expiring), queue_key]
        written += (ttl for _, ttl in expiring)
        written += (len(batch), *(job.id for job, _ in batch))
        for index_keys, made in entries.items():
            keys += index_keys
            written += (len(index_keys), max(made[::2]), len(made), *made)
        head = ("", doubt or 0, push, len(batch), len(expiring), int(now) - LEEWAY_S, int(now))
        self._run(keys, [*head, *written], doubt)
        for job, _ in batch:
            job.is_written = True

    def _run(self, keys: Sequence[Any], arguments: Sequence[Any], doubt: int | None) -> Any:
        """Call the script; it says itself what its keys and arguments are."""
        command = ["EVALSHA", _SHA, len(keys), *keys, *arguments]
        where = None if doubt is None else 4 + len(keys)
        try:
            return send(self.connection, command, where)
        except NoScriptError:  # Redis was restarted, or told to forget its scripts
            return send(self.connection, ["EVAL", _SCRIPT, *command[2:]], where)


def _doubt(job: WritableJob) -> int | None:
    """Whether *job* may be there by an earlier try: 1 or 0; None if it is there and is enqueued once more."""
    if job.is_written is False:
        return 1
    return None if job.sealed is not None else 0


def _is_writable(job: Any, unique: bool = False) -> bool:
    """Whether the script can write *job*, and does what RQ would."""
    return (
        isinstance(job, WritableJob)
        and job.is_new
        and enqueueing.is_ready(job)
        and (not unique or enqueueing.has_id(job))
    )
