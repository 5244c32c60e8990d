"""RQ's Job with an envelope, run; and RQ's Queue that makes such jobs.

How a job is made is :mod:`ctxjobs.making`, how it is verified :mod:`ctxjobs.admission`. May import the floors
of propagation and of RQ's compatibility; knows no worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

from rq.job import Job, Retry

from ctxjobs import codec, rqcompat
from ctxjobs.audit import audited, record
from ctxjobs.errors import EnvelopeMismatchError, JobDroppedError, JobRefusedError
from ctxjobs.functions import import_function
from ctxjobs.inline import InlineQueue
from ctxjobs.making import MadeJob
from ctxjobs.propagation import Phase, run_job
from ctxjobs.references import load
from ctxjobs.registry import RegisteredFunction, registry
from ctxjobs.rqcompat import enqueueing
from ctxjobs.running import Delivery, JobPart
from ctxjobs.serializer import load_call
from ctxjobs.snapshot import Snapshot

rqcompat.register_types()

_log = logging.getLogger("ctxjobs")


class ContextJob(MadeJob):
    """RQ's Job; runs inside the contexts it was enqueued in, or not at all.

    Attributes:
        leaks: What it left behind when it ran, in sentences.
    """

    leaks: Sequence[str] = ()
    _part: JobPart = "function"

    @property
    def delivery(self) -> Delivery:
        """How this job came to run, and what of it runs now."""
        first = self.envelope is None or self.envelope.enqueued_at == self._enqueued_at != ""
        function = str(self.func_name)
        return Delivery(function, self.origin, self._part, first, self.retries_left or 0)

    def perform(self) -> Any:
        """What RQ calls to run this job: the result, or the job's exception."""
        self.connection.persist(self.key)
        with rqcompat.running(self):
            self._result = self.run()
        return self._result

    def run(self) -> Any:
        """Run the function inside the job's contexts, and tear these down.

        Returns:
            What the function returned.

        Raises:
            JobRefusedError: The job must not run, or its function is not known here.
            ReferenceGoneError, UnknownModelError: A model that it refers to cannot be loaded.
            TeardownError: The function returned, and teardown functions raised.
        """
        snapshot = self.snapshot
        if self.refusal is not None:
            raise self.refusal
        if snapshot is None:
            return self.execute_plain()
        function = self._resolve()
        return self._run_in(snapshot, "function", lambda: checked_result(self._call(function, snapshot)))

    def _call(self, function: RegisteredFunction, snapshot: Snapshot) -> Any:
        """Call the function, inside the contexts: its references are loaded there."""
        args, kwargs = self.args, self.kwargs
        if self._refers:
            app = registry.apps[snapshot.app_id].host.app
            _, _, args, kwargs = load_call(rqcompat.stored_call(self), partial(load, app=app))
        return function.func(*args, **kwargs)

    def _run_in(self, snapshot: Snapshot, part: JobPart, call: Callable[[], Any]) -> Any:
        self._part = part
        reads = None if self.snapshot is None else audited(snapshot, self.id)  # a plain job has no policy
        try:
            return run_job(self, snapshot, call, reads, self.begin_phase)
        except JobDroppedError as dropped:
            _log.warning("job %s: %s", self.id, dropped)
            return None
        finally:
            if reads is not None:
                record(
                    self.connection, snapshot.app_id, str(self.func_name), reads, is_run=part == "function"
                )

    def begin_phase(self, phase: Phase) -> None:
        """The function or a callback begins, its contexts being there, or their teardown does."""

    def execute_plain(self) -> Any:
        """Run the function as RQ does."""
        return rqcompat.execute(self)

    def _resolve(self) -> RegisteredFunction:
        name = str(self.func_name)
        try:
            if self.envelope is not None and self.envelope.function != name:
                raise EnvelopeMismatchError(
                    self.id,
                    f"its envelope was signed for {self.envelope.function}, not {name}",
                    "Enqueue it again from the app.",
                )
            return import_function(self.id, name)
        except JobRefusedError as refusal:
            self._refuse(refusal)
            raise

    @property
    def success_callback(self) -> Any:
        """RQ's success callback; it runs in contexts restored afresh."""
        return self._in_contexts(super().success_callback, "on_success")

    @property
    def failure_callback(self) -> Any:
        """RQ's failure callback; it runs in contexts restored afresh."""
        return self._in_contexts(super().failure_callback, "on_failure")

    @property
    def stopped_callback(self) -> Any:
        """RQ's stopped callback; it runs in contexts restored afresh."""
        return self._in_contexts(super().stopped_callback, "on_stopped")

    def _in_contexts(self, callback: Any, part: JobPart) -> Any:
        snapshot = self.snapshot
        if callback is None or snapshot is None:
            return callback
        return lambda *args: self._run_in(snapshot, part, lambda: callback(*args))


class Queue(InlineQueue):
    """RQ's Queue; what it enqueues captures its context.

    Args:
        name: The queue's name.
        kwargs: As for RQ's ``Queue``; ``connection`` is required.
    """

    job_class: type[Job] = ContextJob

    def create_job(self, func: Any, args: Any = None, kwargs: Any = None, *more: Any, **options: Any) -> Any:
        """As RQ's."""
        cls: Any = self.job_class
        if more or not _is_made_here(cls) or not enqueueing.is_plain(options):
            return super().create_job(func, args, kwargs, *more, **options)
        return cls.make(self, func, args, kwargs, options)

    def schedule_job(self, job: Any, datetime: Any, pipeline: Any = None, unique: bool = False) -> Any:
        """As RQ's, in one step; a job that is due later expires later."""
        if isinstance(job, ContextJob):
            job.due_at = datetime.timestamp()
        return super().schedule_job(job, datetime, pipeline=pipeline, unique=unique)


@lru_cache(maxsize=64)
def _is_made_here(cls: type[Job]) -> bool:
    """Whether jobs of *cls* are made by nothing but RQ's own ``__init__`` and our ``create``."""
    make = [getattr(one.create, "__func__", None) for one in (cls, ContextJob)]
    return issubclass(cls, ContextJob) and cls.__init__ is Job.__init__ and make[0] is make[1]


def checked_result(result: Any) -> Any:
    """*result*, if it can be stored; called inside the contexts, where lazy values still resolve.

    Raises:
        UnencodableValueError: It cannot be stored: a generator, a proxy, a lazy string, an object.
    """
    if hasattr(result, "__await__"):
        return _checked_later(result)
    if not isinstance(result, Retry):
        codec.encode(result, "result")
    return result


async def _checked_later(awaitable: Any) -> Any:
    return checked_result(await awaitable)
