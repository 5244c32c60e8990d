"""One execution of a job, as RQ 2.12 has it: begun, performed, and told of as RQ would write it.

For the worker, which does all of this without RQ's round trips. Touches what RQ calls private, as the rest of
this package. May import rq; knows no script and no connection.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any, Final

from rq import worker_registration
from rq.defaults import DEFAULT_FAILURE_TTL, UNSERIALIZABLE_RETURN_VALUE_PAYLOAD
from rq.job import Job, JobStatus
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.utils import now
from rq.worker import BaseWorker

from ctxjobs.rqcompat import execute, running
from ctxjobs.rqcompat.enqueueing import utc_text
from ctxjobs.rqcompat.reading import empty_job

#: What RQ's loop calls on its way through one job, and ours does not: where one of these is not RQ's own any
#: more, somebody has given it a meaning, and RQ's loop has to run.
_WORKER_HOOKS: Final = (
    "check_for_suspension",
    "cleanup_execution",
    "dequeue_job_and_maintain_ttl",
    "execute_job",
    "fork_work_horse",
    "get_current_job",
    "get_heartbeat_ttl",
    "handle_execution_ended",
    "handle_job_failure",
    "handle_job_retry",
    "handle_job_success",
    "heartbeat",
    "increment_failed_job_count",
    "increment_successful_job_count",
    "increment_total_working_time",
    "main_work_horse",
    "maintain_heartbeats",
    "monitor_work_horse",
    "prepare_execution",
    "prepare_job_execution",
    "reorder_queues",
    "set_current_job_id",
    "set_current_job_working_time",
    "set_state",
    "setup_work_horse_signals",
    "work",
)
_JOB_HOOKS: Final = (
    "_execute",
    "_handle_failure",
    "_handle_success",
    "cleanup",
    "fetch",
    "fetch_many",
    "heartbeat",
    "prepare_for_execution",
    "refresh",
    "save",
    "set_status",
    "to_dict",
)
_QUEUE_HOOKS: Final = ("dequeue_any", "lmove", "lpop", "pop_job_id", "run_job", "run_sync")


def _as_rq_has_them(cls: type[Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: _plain(getattr(cls, name)) for name in names}


def _plain(method: Any) -> Any:
    return getattr(method, "__func__", method)


#: RQ's own, whatever somebody has put around it by the time that a worker starts.
_PERFORM_JOB: Final = BaseWorker.perform_job
_PERFORM: Final = Job.perform

_RQ_JOB: Final = _as_rq_has_them(Job, _JOB_HOOKS)
_RQ_QUEUE: Final = _as_rq_has_them(Queue, _QUEUE_HOOKS)


def hooks_of(worker_class: type[Any]) -> dict[str, Any]:
    """RQ's hooks, as *worker_class* has them when this is called: what it overrides is no override later."""
    return _as_rq_has_them(worker_class, _WORKER_HOOKS)


def overridden_hooks(worker: Any, hooks: dict[str, Any]) -> list[str]:
    """Names of what *worker*, its job class or its queues do in another way than RQ.

    Args:
        worker: An instance.
        hooks: What :func:`hooks_of` returned for our class.
    """
    names = _changed(worker, hooks) + _changed(worker.queue_class, _RQ_QUEUE)
    names += _changed(worker.job_class, _RQ_JOB)
    return names + [name for queue in worker.queues for name in _changed(queue, _RQ_QUEUE)]


def performs_in_its_own_way(worker: Any) -> bool:
    """Whether somebody has put something around the way in which RQ performs a job."""
    return _plain(worker.perform_job) is not _PERFORM_JOB or worker.job_class.perform is not _PERFORM


def _changed(holder: Any, hooks: dict[str, Any]) -> list[str]:
    name_of = getattr(holder, "__name__", type(holder).__name__)
    return [
        f"{name_of}.{name}" for name, method in hooks.items() if _plain(getattr(holder, name)) is not method
    ]


# --- begin and perform --------------------------------------------------------------------------


def read_job(
    job_class: type[Job], job_id: str, fields: dict[bytes, bytes], connection: Any, serializer: Any
) -> Job:
    """The job with these *fields*, as ``Job.fetch`` would return it.

    Raises:
        Exception: Whatever RQ says of fields that it cannot read.
    """
    job = empty_job(job_class, job_id, connection, serializer)
    job.restore(fields)
    return job


def register_again(worker: Any) -> None:
    """Write what RQ knows of a worker, which has lost it: with Redis, or because it was taken for dead."""
    with worker.connection.pipeline() as pipeline:
        pipeline.delete(worker.key)
        pipeline.hset(worker.key, mapping=worker.serialize())
        worker_registration.register(worker, pipeline)
        pipeline.expire(worker.key, worker.worker_ttl + 60)
        pipeline.execute()


def clean_registries(worker: Any) -> None:
    """Clean up the registries of a worker's queues as RQ does, by the clock of Redis.

    Jobs are entered by that. By its own, a machine whose clock is ahead would fail what others run.
    """
    for queue in worker.queues:
        if not queue.acquire_maintenance_lock():
            continue
        worker.log.info("Worker %s: cleaning registries for queue: %s", worker.name, queue.name)
        seconds, _ = worker.connection.time()
        for registry in (FinishedJobRegistry, StartedJobRegistry, FailedJobRegistry):
            registry(queue=queue).cleanup(seconds, worker._exc_handlers)
        worker_registration.clean_worker_registry(queue)
        queue.intermediate_queue.cleanup(worker, queue)
        queue.release_maintenance_lock()
    worker.last_cleaned_at = now()


def begin(job: Job, worker_name: str, at: datetime) -> None:
    """Note on *job* that it starts; RQ writes the same into its hash."""
    job.worker_name = worker_name
    job.started_at = job.last_heartbeat = at
    job._status = JobStatus.STARTED


def end(job: Job, at: datetime, *, succeeded: bool) -> None:
    """Note on *job* that it has ended."""
    job.ended_at = job.last_heartbeat = at
    job._status = JobStatus.FINISHED if succeeded else JobStatus.FAILED


def perform(job: Job, run: Callable[[Job], Any] = execute) -> Any:
    """Run the function of *job*, as ``Job.perform`` does but for its round trip.

    Args:
        job: The job.
        run: Runs it.

    Returns:
        What *run* returned.
    """
    with running(job):
        job._result = result = run(job)
    return result


def result_of(job: Job) -> Any:
    """What the function of *job* has returned, in this process."""
    return job._result


@dataclass(frozen=True, slots=True)
class Dumped:
    """A value that another process has dumped.

    Attributes:
        data: What the job's serializer has made of it there.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class _Dumping:
    """A serializer that takes what was dumped already as it is.

    Attributes:
        inner: The job's own, for all else.
    """

    inner: Any

    def dumps(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return value.data if isinstance(value, Dumped) else self.inner.dumps(value, *args, **kwargs)

    def loads(self, *args: Any, **kwargs: Any) -> Any:
        return self.inner.loads(*args, **kwargs)


def has_returned(job: Job, ending: Ending) -> None:
    """Note on *job* what its function has returned in another process, which says *ending* of it."""
    told = dict(zip(ending.result[::2], ending.result[1::2], strict=True))
    if "return_value" in told:
        job._result = Dumped(b64decode(told["return_value"]))
        job.serializer = _Dumping(job.serializer)


def why_failed(ending: Ending) -> str:
    """The traceback in *ending*; empty if there is none."""
    told = dict(zip(ending.result[::2], ending.result[1::2], strict=True))
    return zlib.decompress(b64decode(told["exc_string"])).decode() if "exc_string" in told else ""


def stopped_job(worker: Any) -> str | None:
    """Id of the job that *worker* was told to stop; RQ's handlers forget it when they begin to write that."""
    stopped: str | None = worker._stopped_job_id
    return stopped


def set_stopped_job(worker: Any, job_id: str | None) -> None:
    """Let RQ's handlers end this job as stopped: not as failed, without a retry, and without dependents."""
    worker._stopped_job_id = job_id


#: What RQ writes of a job when it ends; a function may have changed it, on the job that RQ says is running.
_kept: Final[Callable[[Job], tuple[Any, ...]]] = attrgetter(
    "created_at", "enqueued_at", "origin", "description", "timeout", "result_ttl", "failure_ttl", "ttl",
    "group_id", "retries_left", "retry_intervals", "repeats_left", "repeat_intervals", "number_of_retries",
    "enqueue_at_front", "enqueue_at_front_on_retry", "allow_dependency_failures", "_data", "_dependency_ids",
    "_success_callback_name", "_failure_callback_name", "_stopped_callback_name", "_success_callback_timeout",
    "_failure_callback_timeout", "_stopped_callback_timeout",
)  # fmt: skip


def kept_attributes(job: Job) -> tuple[Any, ...]:
    """What RQ writes of *job* when it ends, besides that it did."""
    return _kept(job)


def has_success_callback(job: Job) -> bool:
    """Whether something is to be called when *job* has succeeded."""
    return bool(job._success_callback_name)


def has_failure_callback(job: Job) -> bool:
    """Whether something is to be called when *job* has failed."""
    return bool(job._failure_callback_name)


# --- tell -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends, in RQ's words: what to write, and for how long.

    Attributes:
        fields: Of its hash, flat.
        result: Of its result, flat.
        keep_s: How long the job is kept, in seconds; -1 means for ever.
        keep_result_s: How long the result is kept, in seconds; -1 means for ever, None as long as it is now.
        score: What to add to now for its score in the registry; as text, the score itself.
        has_dependencies: Whether it had dependencies.
        ran_s: For how long it ran, in seconds.
    """

    fields: tuple[Any, ...]
    result: tuple[Any, ...]
    keep_s: int
    keep_result_s: int | None
    score: int | str
    has_dependencies: bool
    ran_s: float


def success(job: Job, default_result_ttl: int, execution_id: str, began: str, value: Any) -> Ending | None:
    """How *job* ends that has returned *value*; None if only RQ's own code can end it.

    Args:
        job: The job.
        default_result_ttl: The worker's.
        execution_id: Id of the execution.
        began: When it was taken, in seconds since the epoch.
        value: What it returned.
    """
    ttl = job.get_result_ttl(default_result_ttl)
    if ttl == 0 or job.repeats_left or job.webhooks:
        return None
    returned = () if value is None else ("return_value", b64encode(_dumped(job, value)).decode())
    result = _result(job, Result.Type.SUCCESSFUL, returned, execution_id, began)
    score = ttl if ttl >= 0 else "+inf"
    return Ending(_fields(job), result, ttl, ttl, score, bool(job._dependency_ids), _ran_s(job))


def failure(job: Job, execution_id: str, began: str, exc_string: str) -> Ending | None:
    """How *job* ends that has raised; None if only RQ's own code can end it.

    Args:
        job: The job.
        execution_id: Id of the execution.
        began: When it was taken, in seconds since the epoch.
        exc_string: The traceback.
    """
    if job.should_retry or job.webhooks or job.failure_ttl == 0:
        return None
    ttl = DEFAULT_FAILURE_TTL if job.failure_ttl is None else job.failure_ttl
    told = ("exc_string", b64encode(zlib.compress(exc_string.encode())).decode())
    result = _result(job, Result.Type.FAILED, told, execution_id, began)
    score = ttl if ttl >= 0 else str(ttl)
    has_dependencies = bool(job._dependency_ids)
    return Ending(_fields(job), result, ttl, job.failure_ttl, score, has_dependencies, _ran_s(job))


def _ran_s(job: Job) -> float:
    return (job.ended_at - job.started_at).total_seconds()  # type: ignore[operator]  # it has ended


def _fields(job: Job) -> tuple[Any, ...]:
    return (
        "status", job._status.value,
        "started_at", utc_text(job.started_at),  # type: ignore[arg-type]  # it has begun
        "ended_at", utc_text(job.ended_at),  # type: ignore[arg-type]  # it has ended
        "last_heartbeat", utc_text(job.last_heartbeat),  # type: ignore[arg-type]  # as above
        "worker_name", job.worker_name,
    )  # fmt: skip


def _result(
    job: Job, type_: Result.Type, more: tuple[Any, ...], execution_id: str, began: str
) -> tuple[Any, ...]:
    ended = repr(job.ended_at.timestamp())  # type: ignore[union-attr]  # it has ended
    return (
        "type", str(type_.value), "worker_name", job.worker_name, *more, "execution_id", execution_id,
        "execution_started_at", began, "execution_ended_at", ended,
    )  # fmt: skip


def _dumped(job: Job, value: Any) -> bytes:
    try:
        dumped: bytes = job.serializer.dumps(value)
    except Exception:  # noqa: BLE001 - as RQ: whatever a serializer raises
        dumped = job.serializer.dumps(UNSERIALIZABLE_RETURN_VALUE_PAYLOAD)
    return dumped
