"""RQ's internals: the only place that touches what RQ calls private.

Everything here is a fact about RQ 2.12; when RQ changes one, this package changes, and the scripts of the
worker. What only a worker needs is in ``execution``. May import rq and the floors of the codec and the
serializer.
"""

from __future__ import annotations

import inspect
import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from rq import cron_job_registry
from rq.defaults import DEFAULT_CRON_JOB_HISTORY_LIMIT, DEFAULT_CRON_JOB_HISTORY_TTL
from rq.job import UNEVALUATED, Job, JobStatus, Retry
from rq.job import _job_stack as _untyped_job_stack

from ctxjobs import codec
from ctxjobs.errors import DecodeError
from ctxjobs.serializer import bounded_inflate

if TYPE_CHECKING:
    from redis.client import Pipeline
    from rq import Queue
    from rq.cron import CronJob, CronScheduler

_job_stack: Any = _untyped_job_stack

#: What RQ reads from a job hash when it restores a refused job: the facts about where the job is and what
#: it waits for, nothing that is decoded, imported or run.
NEUTRAL_FIELDS: Final = frozenset(
    {
        "created_at", "origin", "description", "enqueued_at", "started_at", "ended_at", "last_heartbeat",
        "worker_name", "status", "timeout", "ttl", "result_ttl", "failure_ttl", "exc_info", "group_id",
        "allow_dependency_failures", "enqueue_at_front",
    }
)  # fmt: skip
_NAMES: Final = {
    name.encode(): name
    for name in (
        *NEUTRAL_FIELDS, "data", "success_callback_name", "failure_callback_name", "stopped_callback_name"
    )
}  # fmt: skip
#: Longest duration that a job may name: about 68 years. RQ ends its worker over a longer one.
MAX_DURATION_S: Final = 2**31 - 1


def register_types() -> None:
    """Teach the codec the one RQ type that a job may return: ``Retry``."""
    codec.register_type(
        Retry,
        "rq.Retry",
        lambda retry: {"max": retry.max, "intervals": retry.intervals, "front": retry.enqueue_at_front},
        lambda data: Retry(data["max"], data["intervals"], data["front"]),
    )


def job_fields(raw: dict[Any, Any]) -> dict[str, bytes]:
    """A job hash as Redis returned it, with text as keys; without a traceback that would inflate to GiB."""
    fields = {_NAMES.get(key) or _text(key): value for key, value in raw.items()}
    if traceback := fields.get("exc_info"):
        try:
            bounded_inflate(traceback)
        except DecodeError:
            del fields["exc_info"]
    return fields


def _text(key: Any) -> str:
    return key.decode(errors="replace") if isinstance(key, bytes) else key


@contextmanager
def running(job: Job) -> Iterator[None]:
    """Inside this block RQ's ``get_current_job()`` is *job*.

    RQ pops its stack inside an ``assert``: under ``python -O`` it never does, and a process that runs
    many jobs would keep the first one for ever.
    """
    _job_stack.push(job)
    try:
        yield
    finally:
        _job_stack.pop()


def running_job() -> Job | None:
    """The job that RQ itself says is running in this thread."""
    return cast("Job | None", _job_stack.top)


def check_fields(job: Job) -> None:
    """Check what RQ computes with outside of any ``try``, so that a bad value would end the worker.

    Raises:
        ValueError: A timeout, lifetime or interval of *job* is no number of seconds, or its dependencies
            are no list of ids.
    """
    if type(job._dependency_ids) is not list or not all(type(one) is str for one in job._dependency_ids):
        raise ValueError("its dependencies are no list of ids")
    callbacks = (job.success_callback_timeout, job.failure_callback_timeout, job.stopped_callback_timeout)
    intervals = (*(job.retry_intervals or ()), *(job.repeat_intervals or ()))
    for seconds in (job.timeout, job.ttl, job.result_ttl, job.failure_ttl, *callbacks, *intervals):
        if not (seconds is None or (isinstance(seconds, int | float) and -1 <= seconds <= MAX_DURATION_S)):
            raise ValueError(f"{seconds!r} is no number of seconds")


def set_call(job: Job, function: str, args: Any, kwargs: Any, data: bytes) -> None:
    """Give *job* its call, both as values and as the bytes that stand for them in Redis."""
    job._func_name, job._instance, job._args, job._kwargs = function, None, args, kwargs
    job._data = data


def execute(job: Job) -> Any:
    """Run the function of *job* as RQ does, coroutine functions included."""
    return Job._execute(job)


def evaluate_plain_call(job: Job) -> None:
    """Let RQ decode the call of a plain job, with RQ's serializer."""
    cast("Any", Job._deserialize_data)(job)


def stored_call(job: Job) -> bytes:
    """The bytes that stand for the call of *job* in Redis."""
    return job.data


def plain_function(data: bytes) -> str:
    """Dotted name of the function that a plain RQ job calls; builds, imports and calls nothing.

    Args:
        data: The field ``data`` of its hash.

    Returns:
        The name; empty if *data* is no pickled call.
    """
    try:
        call = _InertUnpickler(io.BytesIO(bounded_inflate(data))).load()
        function, _, _, _ = call
        return function if type(call) is tuple and type(function) is str else ""
    except Exception:  # noqa: BLE001 - whatever a broken pickle raises: it names no function
        return ""


class _Inert:
    """Stands for every object that a pickle would build."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, item: Any) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> _Inert:
        return self


class _InertUnpickler(pickle._Unpickler):
    """Builds lists, tuples, texts and numbers, and no dicts and sets: keys can be chosen to collide.

    The standard library's own in Python: the one in C makes room for as much as a number in the data says.
    """

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.SETITEM[0]: lambda self: self.stack.__delitem__(slice(-2, None)),
        pickle.SETITEMS[0]: lambda self: self.pop_mark(),
        pickle.ADDITEMS[0]: lambda self: self.pop_mark(),
        pickle.DICT[0]: lambda self: self.append(_Inert(self.pop_mark())),
        pickle.FROZENSET[0]: lambda self: self.append(_Inert(self.pop_mark())),
        pickle.BYTEARRAY8[0]: lambda self: self.append(self.read(int.from_bytes(self.read(8), "little"))),
    }

    def find_class(self, module: str, name: str) -> Any:
        return _Inert


def neutralise(job: Job) -> None:
    """Take from *job* everything that RQ would run, retry or release on its behalf."""
    job._success_callback_name = job._failure_callback_name = job._stopped_callback_name = None
    job._success_callback = job._failure_callback = job._stopped_callback = UNEVALUATED
    job._success_callback_timeout = job._failure_callback_timeout = job._stopped_callback_timeout = None
    job.webhooks = []
    job.retries_left = job.repeats_left = None
    job._dependency_ids = [job.id]  # RQ watches these keys when a parent ends, and it cannot watch none


def schedule(queue: Queue, job: Job, when: datetime, pipeline: Pipeline | None) -> None:
    """Write *job* and put it on the schedule of *queue*, in one transaction.

    RQ's own ``schedule_job`` adds the id to the schedule first and by itself: a scheduler that runs in
    between finds an id without a job, and drops it.
    """
    pipe = queue.connection.pipeline() if pipeline is None else pipeline
    pipe.sadd(queue.redis_queues_keys, queue.key)
    queue._persist_job(job, pipe, status=JobStatus.SCHEDULED)
    pipe.zadd(queue.scheduled_job_registry.key, {job.id: int(when.timestamp())})
    if pipeline is None:
        pipe.execute()


def replace_last(scheduler: CronScheduler, cron_job: CronJob) -> None:
    """Put *cron_job* in the place of the one that was registered last."""
    scheduler._cron_jobs[-1] = cron_job


def record_cron_run(cron_job: CronJob, job: Job, pipeline: Pipeline) -> None:
    """Write what RQ's cron writes about the *job* that it has enqueued for *cron_job*."""
    enqueued_at = cast("datetime", job.enqueued_at).timestamp()
    pipeline.zadd(cron_job.job_history_key, {job.id: enqueued_at})
    pipeline.zremrangebyrank(cron_job.job_history_key, 0, -(DEFAULT_CRON_JOB_HISTORY_LIMIT + 1))
    pipeline.expire(cron_job.job_history_key, DEFAULT_CRON_JOB_HISTORY_TTL)
    cron_job_registry.add(cron_job.name, pipeline, enqueue_timestamp=enqueued_at)


def why_not_importable(func: Callable[..., Any]) -> str | None:
    """Why a worker could not find *func* by its dotted name; None if it can."""
    if not inspect.isfunction(func):
        return f"it is a {type(func).__name__}, and a worker finds jobs by the name of a function"
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        return "it is a generator function, whose body would run after its contexts are gone"
    if func.__name__ == "<lambda>":
        return "it is a lambda, which has no name to be found by"
    if "<locals>" in func.__qualname__:
        return "it is defined inside another function, where a worker cannot find it"
    if "." in func.__qualname__:
        return "it is defined in a class"
    return None


def import_path(path: str) -> Any:
    """The object with the dotted name *path*, imported if it has to be.

    Raises:
        Exception: Whatever the module raises; ImportError and AttributeError where there is none.
    """
    module_name, _, name = path.rpartition(".")
    module = sys.modules.get(module_name) or import_module(module_name)
    return getattr(module, name)
