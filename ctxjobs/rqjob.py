"""RQ's Job with an envelope, made and run; and RQ's Queue that makes such jobs.

The envelope is one more field of RQ's own job hash, written by the command that writes the job; reading it is
:mod:`ctxjobs.admission`. May import the floors of propagation and RQ's compatibility; knows no worker.

Freeze once: the snapshot is taken in the caller's ``enqueue*`` (``ContextJob.create`` runs there and
nowhere else; ``Queue._enqueue_job`` runs in the worker, too). A retry, repeat or requeue keeps the
envelope that the job was born with, byte for byte (Sidekiq shipped that bug: sidekiq#5090).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, cast

from blinker import Signal
from rq.job import Job, Retry

from ctxjobs import codec, rqcompat
from ctxjobs.admission import CheckedJob, binding_of, field_text
from ctxjobs.audit import audited, record
from ctxjobs.envelope import seal
from ctxjobs.errors import EnvelopeMismatchError, JobDroppedError, JobRefusedError
from ctxjobs.functions import check_call, check_callback, find_function, import_function
from ctxjobs.indexing import IndexedJob, index_keys
from ctxjobs.inline import InlineQueue
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs.propagation import Phase, Prepared, prepare_for, run_job
from ctxjobs.propagators import meta_for
from ctxjobs.references import load
from ctxjobs.registry import RegisteredFunction, registry
from ctxjobs.running import Delivery, JobPart
from ctxjobs.serializer import ContextSerializer, dump_call, load_call
from ctxjobs.snapshot import Snapshot

rqcompat.register_types()

_log = logging.getLogger("ctxjobs")


#: Sent with each job that is made here, when it is written for the first time: it is being enqueued.
job_sealed: Final = Signal()


class ContextJob(CheckedJob, IndexedJob):
    """RQ's Job; runs inside the contexts it was enqueued in, or not at all.

    Attributes:
        prepared: What was captured for a job that was made here; None for one that was read from Redis.
        leaks: What it left behind when it ran, in sentences.
    """

    prepared: Prepared | None = None
    leaks: Sequence[str] = ()
    _part: JobPart = "function"

    # --- made by the caller ---------------------------------------------------------------

    @classmethod
    def create(  # type: ignore[override]  # RQ's twenty options travel on as they are
        cls, func: Any, args: Any = None, kwargs: Any = None, **options: Any
    ) -> ContextJob:
        """Make a job of *func*, and take its snapshot now.

        Args:
            func: A function under ``@job``, or its dotted name.
            args: Its positional arguments, a tuple or list.
            kwargs: Its keyword arguments.
            options: As for RQ's ``Job.create``.

        Raises:
            NotAJobError: *func* is no job function, or a worker could not find a callback.
            ArgumentsError: *func* does not take these arguments.
            UnencodableValueError: An argument, or a value that the policy names, does not encode.
            UnboundJobError, SnapshotTooLargeError, HopLimitError: See :func:`ctxjobs.capture`.
        """
        function = find_function(func)
        check_call(function, args or (), kwargs or {})
        for name in ("on_success", "on_failure", "on_stopped"):
            check_callback(name, options.get(name))
        data = dump_call(function.path, tuple(args or ()), dict(kwargs or {}), function.parameters)
        codec.encode(options.get("meta"), "meta")
        # RQ's default description prints every argument into its logs.
        options["description"] = options.get("description") or function.path
        job = cast("ContextJob", super().create(function.path, args=args, kwargs=kwargs, **options))
        rqcompat.set_call(job, function.path, args or (), kwargs or {}, data)
        job.serializer = ContextSerializer
        job.prepared = prepared = prepare_for(function)
        if own_meta := meta_for(prepared.snapshot):
            job.meta = {**job.meta, **own_meta}
        if prepared.app.memory is not None:
            job.connection = prepared.app.memory
        return job

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """The fields that RQ writes, with the envelope among them."""
        fields = super().to_dict(include_meta=include_meta, include_result=include_result)
        if self.refusal is not None:
            return fields
        if self.prepared is not None and self._sealed is None:
            self._sealed = self._seal(self.prepared, fields)
            job_sealed.send(self)
        if self._sealed is not None:
            fields[ENVELOPE_FIELD] = self._sealed
        return fields

    def _seal(self, prepared: Prepared, fields: Mapping[str, Any]) -> bytes:
        return seal(
            prepared.encoded,
            app_id=prepared.app.id,
            function=str(self.func_name),
            binding=binding_of(self.id, fields, rqcompat.stored_call(self)),
            keyring=prepared.app.keyring,
            max_age_s=prepared.max_age_s,
            due_at=self.due_at,
            enqueued_at=field_text(fields.get("enqueued_at")),
        )

    @property
    def snapshot(self) -> Snapshot | None:
        """What this job was enqueued in; None if it is refused or plain."""
        if self.envelope is not None:
            return self.envelope.snapshot
        return self.prepared.snapshot if self.prepared is not None else None

    @property
    def is_new(self) -> bool:
        """Whether the job was made here, and not read from Redis."""
        return self.prepared is not None

    @property
    def index_keys(self) -> Sequence[str]:
        """The keys of the index that this job has an entry in; a refused or plain job has none."""
        snapshot = self.snapshot
        if snapshot is None:
            return ()
        app = registry.apps[snapshot.app_id] if self.prepared is None else self.prepared.app
        return index_keys(app.id, app.settings.index, snapshot)

    @property
    def delivery(self) -> Delivery:
        """How this job came to run, and what of it runs now."""
        first = self.envelope is None or self.envelope.enqueued_at == self._enqueued_at != ""
        function = str(self.func_name)
        return Delivery(function, self.origin, self._part, first, self.retries_left or 0)

    # --- run ------------------------------------------------------------------------------

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

    def schedule_job(self, job: Any, datetime: Any, pipeline: Any = None, unique: bool = False) -> Any:
        """As RQ's, in one transaction; a job that is due later expires later."""
        if isinstance(job, ContextJob):
            job.due_at = datetime.timestamp()
        scheduled = super().schedule_job(job, datetime, pipeline=pipeline, unique=unique)
        return _indexed(scheduled) if unique else scheduled

    def _enqueue_job(
        self, job: Any, pipeline: Any = None, at_front: bool = False, unique: bool = False
    ) -> Any:
        enqueued = super()._enqueue_job(job, pipeline=pipeline, at_front=at_front, unique=unique)
        return _indexed(enqueued) if unique else enqueued


def _indexed(job: Any) -> Any:
    """*job*, which a script of RQ's has written, with its entries in the index."""
    if isinstance(job, ContextJob):
        job.keep_waiting()
    return job


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
