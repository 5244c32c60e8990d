"""``@job``: a function that can be enqueued, and stays a function.

The public way to enqueue, over RQ's Queue. May import the floors of RQ's jobs and of the stock
worker; knows no worker of ours and no CLI.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypedDict, TypeVar, cast, overload

from rq import Callback, Repeat, Retry
from rq.group import Group
from rq.job import Dependency, Job, JobStatus

from ctxjobs import rqcompat
from ctxjobs.connection import translated
from ctxjobs.coroutines import mark_coroutine_function
from ctxjobs.errors import ConfigError, NotAJobError
from ctxjobs.functions import call_arguments, positional_counts
from ctxjobs.override import Override
from ctxjobs.policy import CaptureChoice
from ctxjobs.propagation import Prepared, current_job, prepare, prepared_with
from ctxjobs.registry import BoundApp, registry
from ctxjobs.rqjob import ContextJob, Queue
from ctxjobs.stock import run_stored, stored_job
from ctxjobs.timing import After, queue_for

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import Pipeline
    from rq.webhook import Webhook
    from typing_extensions import ParamSpec, Unpack

    P = ParamSpec("P")
else:  # Python 3.10 has ParamSpec; nothing at run time reads Unpack
    from typing import ParamSpec

    P = ParamSpec("P")

R_co = TypeVar("R_co", covariant=True)


class Options(TypedDict, total=False):
    """How a job is enqueued; names and units are RQ's, but for the first four."""

    queue: str
    capture: CaptureChoice
    context: Override
    after: After
    timeout: int | str | None
    result_ttl: int | None
    ttl: int | None
    failure_ttl: int | None
    description: str | None
    depends_on: Dependency | Job | str | list[Dependency | Job | str] | None
    job_id: str | None
    at_front: bool
    meta: dict[str, Any] | None
    retry: Retry | None
    repeat: Repeat | None
    on_success: Callback | None
    on_failure: Callback | None
    on_stopped: Callback | None
    webhooks: list[Webhook] | None
    pipeline: Pipeline | None
    unique: bool
    group: Group | None


class Enqueuer(Generic[P]):
    """A job function with the options that its jobs are enqueued with.

    Args:
        path: The function's dotted name.
        apps: The apps that it is bound to, a live mapping; None for an unbound job.
        options: How its jobs are enqueued.
        connection: Redis; None means that of the app.
    """

    def __init__(
        self,
        path: str,
        apps: Mapping[str, BoundApp] | None,
        options: Options,
        connection: Redis | None = None,
    ) -> None:
        self._path = path
        self._apps = apps
        self._options = options
        self._connection = connection
        # What RQ's create_job takes, and what its enqueue_job takes.
        self._making: dict[str, Any] = {
            name: value for name, value in options.items() if name not in _OF_NO_JOB
        }
        self._pushing: dict[str, Any] = {name: value for name, value in options.items() if name in _OF_A_PUSH}

    def options(self, **options: Unpack[Options]) -> Enqueuer[P]:
        """The same job, enqueued with other options.

        Args:
            options: ``queue`` (its name); ``capture``, a :class:`~ctxjobs.Capture` in place of the app's, or
                a function that makes one of the app's and is called once for each; ``context``, an
                :class:`~ctxjobs.Override`: values in place of what is captured; and ``after``, when it is
                pushed: ``"now"``, ``"commit"`` or ``"response"``. All others are RQ's, with RQ's names,
                units and defaults.
        """
        return Enqueuer(self._path, self._apps, {**self._options, **options}, self._connection)

    def through(self, app: BoundApp, connection: Redis | None) -> Enqueuer[P]:
        """The same job, on another Redis than its app's; one that is bound to no app is one of *app*."""
        apps = {app.id: app} if self._apps is None else self._apps
        return Enqueuer(self._path, apps, self._options, connection)

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """Capture the context, and put one job on its queue.

        Args:
            args: The function's positional arguments.
            kwargs: The function's keyword arguments.

        Returns:
            RQ's Job. One that waits for a commit or a response has its id, and is not in Redis yet.

        Raises:
            UnencodableValueError: An argument, or a value that the policy names, does not encode.
            UnboundJobError: No app's context is active, and the job is not bound to an app.
            SnapshotTooLargeError: The context takes more bytes than allowed.
            RedisUnavailableError: Redis does not answer; the job was not enqueued.
            ConfigError: It is to wait for a commit or a response, and there is none to wait for here.
        """
        if self._options.get("group") is not None:
            return self._push([(args, kwargs)])[0]
        prepared = self.prepare()
        with prepared_with(prepared), translated(prepared.app):
            queue = self._queue(prepared.app)
            job: ContextJob = queue.create_job(self._path, args, kwargs, **self._making)
            queue.enqueue_job(job, **self._pushing)
            return job

    def enqueue_in(self, time_delta: timedelta | float, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """As :meth:`enqueue`, for later.

        Args:
            time_delta: A timedelta, or seconds from now.
            args: The function's positional arguments.
            kwargs: The function's keyword arguments.
        """
        delta = time_delta if isinstance(time_delta, timedelta) else timedelta(seconds=time_delta)
        return self.enqueue_at(datetime.now(timezone.utc) + delta, *args, **kwargs)

    def enqueue_at(self, datetime: datetime, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """As :meth:`enqueue`, for a point in time.

        Args:
            datetime: When; without a time zone, it is this machine's local time.
            args: The function's positional arguments.
            kwargs: The function's keyword arguments.
        """
        if self._options.get("group") is not None:
            raise ConfigError("options(group=...)", "a group takes enqueue and enqueue_many only, as in RQ.")
        prepared, pushing = self.prepare(), dict(self._pushing)
        with prepared_with(prepared), translated(prepared.app):
            queue = self._queue(prepared.app)
            job = queue.create_job(self._path, args, kwargs, status=JobStatus.SCHEDULED, **self._making)
            if pushing.pop("at_front", False):
                job.enqueue_at_front = True
            return cast("ContextJob", queue.schedule_job(job, datetime, **pushing))

    def enqueue_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[ContextJob]:
        """Capture the context once, and put one job for each of *calls* on the queue, in their order.

        Args:
            calls: For each job its positional arguments as a tuple, or its keyword arguments as a mapping.
                There may be any number of them; if one of the jobs cannot be made, none is enqueued.

        Returns:
            RQ's Jobs.

        Raises:
            PartlyEnqueuedError: Redis has failed after some of the jobs were enqueued; says which.
            RedisUnavailableError: Redis does not answer; no job was enqueued.
        """
        return self._push(call_arguments(call) for call in calls)

    def _push(self, calls: Iterable[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[ContextJob]:
        group, pipeline = self._options.get("group"), self._options.get("pipeline")
        if self._options.get("unique"):
            raise ConfigError("options(unique=True)", "many jobs and groups cannot be unique (as in RQ).")
        prepared, at_front = self.prepare(), self._options.get("at_front", False)
        with prepared_with(prepared), translated(prepared.app):
            queue, making = self._queue(prepared.app), self._making
            if group is None and pipeline is None and not making.get("depends_on"):
                made = (queue.create_job(self._path, args, kwargs, **making) for args, kwargs in calls)
                return queue.enqueue_jobs(made, at_front)
            making = {**making, "at_front": at_front}
            data = [queue.prepare_data(self._path, args, kwargs, **making) for args, kwargs in calls]
            if not data:
                return []
            if group is None:
                return cast("list[ContextJob]", queue.enqueue_many(data, pipeline=pipeline))
            return cast("list[ContextJob]", group.enqueue_many(queue, data, pipeline=pipeline))

    def prepare(self) -> Prepared:
        """Capture for one job."""
        return prepare(self._apps, self._options.get("capture"), self._path, self._options.get("context"))

    def _queue(self, app: BoundApp) -> Queue:
        name = self._options.get("queue") or app.settings.queue
        return queue_for(app, name, self._options, self._connection)


#: Options that are not one job's own.
_OF_A_PUSH: Final = frozenset({"at_front", "pipeline", "unique"})
_OF_NO_JOB: Final = _OF_A_PUSH | {"queue", "capture", "context", "group", "after"}


class JobFunction(Protocol[P, R_co]):
    """What ``@job`` returns, as type checkers see it: the function, and ways to enqueue it.

    Attributes:
        path: Its dotted name.
        func: The function itself.
        parameters: Names of its positional parameters.
        signature: What it takes.
        positional: How many arguments it takes where all of them are positional.
    """

    path: str
    func: Callable[..., Any]
    parameters: tuple[str, ...]
    signature: inspect.Signature
    positional: range
    __name__: str
    __qualname__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function, here and now."""
        ...

    def options(self, **options: Unpack[Options]) -> Enqueuer[P]:
        """See :meth:`Enqueuer.options`."""
        ...

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """See :meth:`Enqueuer.enqueue`."""
        ...

    def enqueue_in(self, time_delta: timedelta | float, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """See :meth:`Enqueuer.enqueue_in`."""
        ...

    def enqueue_at(self, datetime: datetime, *args: P.args, **kwargs: P.kwargs) -> ContextJob:
        """See :meth:`Enqueuer.enqueue_at`."""
        ...

    def enqueue_many(self, calls: Iterable[tuple[Any, ...] | Mapping[str, Any]]) -> list[ContextJob]:
        """See :meth:`Enqueuer.enqueue_many`."""
        ...

    def prepare(self) -> Prepared:
        """See :meth:`Enqueuer.prepare`."""
        ...


@overload
def job(func: Callable[P, R_co], /) -> JobFunction[P, R_co]: ...


@overload
def job(**options: Unpack[Options]) -> Callable[[Callable[P, R_co]], JobFunction[P, R_co]]: ...


def job(func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a job, for whichever app's context is active when it is enqueued.

    Args:
        func: A function on the level of its module.
        options: As for :meth:`Enqueuer.options`; they hold for all of its jobs.

    Returns:
        The function, which can be called as before, with ``enqueue``, ``enqueue_in``, ``enqueue_at``,
        ``enqueue_many`` and ``options``.

    Raises:
        NotAJobError: A worker could not find the function, or could not run it inside its contexts.
    """
    return decorate(None, func, options)


def decorate(
    apps: Mapping[str, BoundApp] | None, func: Callable[..., Any] | None, options: Mapping[str, Any]
) -> Any:
    """What ``job`` does, for a function that is bound to *apps*."""
    if func is None:
        return lambda func: decorate(apps, func, options)
    if reason := rqcompat.why_not_importable(func):
        advice = "Put @job on a module-level function that returns its result, and pass it an id."
        raise NotAJobError(f"{func.__module__}.{getattr(func, '__qualname__', func)}", reason, advice)
    return _wrap(func, Enqueuer(f"{func.__module__}.{func.__qualname__}", apps, cast("Options", options)))


def _wrap(func: Callable[..., Any], enqueuer: Enqueuer[Any]) -> Any:
    path = f"{func.__module__}.{func.__qualname__}"

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stored = None if current_job else stored_job(path)
        return func(*args, **kwargs) if stored is None else run_stored(stored)

    if inspect.iscoroutinefunction(func):
        mark_coroutine_function(wrapper)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(func)
    vars(wrapper).update(
        path=path,
        func=func,
        signature=signature,
        positional=positional_counts(signature),
        parameters=tuple(name for name, each in signature.parameters.items() if each.kind in kinds),
        prepare=enqueuer.prepare,
        options=enqueuer.options,
        enqueue=enqueuer.enqueue,
        enqueue_in=enqueuer.enqueue_in,
        enqueue_at=enqueuer.enqueue_at,
        enqueue_many=enqueuer.enqueue_many,
    )
    registry.functions[path] = cast("JobFunction[Any, Any]", wrapper)
    return wrapper
