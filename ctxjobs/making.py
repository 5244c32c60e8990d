"""RQ's Job with an envelope, made by the caller: its call, its snapshot, its seal.

The envelope is one more field of RQ's own job hash, written by the command that writes the job. Reading it
is :mod:`ctxjobs.admission`, running the job :mod:`ctxjobs.rqjob`. May import the floors of propagation, of
writing and of RQ's compatibility; knows no worker, and runs nothing.

Freeze once: the snapshot is taken in the caller's ``enqueue*`` (``create`` and ``make`` run there and nowhere
else; ``Queue._enqueue_job`` runs in the worker, too). A retry, repeat or requeue keeps the envelope that the
job was born with, byte for byte (Sidekiq shipped that bug: sidekiq#5090).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar, cast

from blinker import Signal
from rq import Queue

from ctxjobs import codec, rqcompat
from ctxjobs.admission import binding_of, field_text
from ctxjobs.envelope import NO_DIGEST, Binding, digest, seal
from ctxjobs.functions import check_call, check_callback, find_function
from ctxjobs.indexkeys import index_keys
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs.propagation import Prepared, prepare_for
from ctxjobs.propagators import meta_for
from ctxjobs.registry import RegisteredFunction, registry
from ctxjobs.rqcompat import enqueueing
from ctxjobs.serializer import ContextSerializer, dump_call
from ctxjobs.snapshot import Snapshot
from ctxjobs.writing import WritableJob

_J = TypeVar("_J", bound="MadeJob")

#: Sent with each job that is made here, when it is written for the first time: it is being enqueued.
job_sealed: Final = Signal()


class MadeJob(WritableJob):
    """RQ's Job with the snapshot of whoever enqueues it.

    Attributes:
        prepared: What was captured for a job that was made here; None for one that was read from Redis.
    """

    prepared: Prepared | None = None

    @classmethod
    def create(  # type: ignore[override]  # RQ's twenty options travel on as they are
        cls: type[_J], func: Any, args: Any = None, kwargs: Any = None, **options: Any
    ) -> _J:
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
        function, data = _checked_call(func, args or (), kwargs or {})
        for name in ("on_success", "on_failure", "on_stopped"):
            check_callback(name, options.get(name))
        codec.encode(options.get("meta"), "meta")
        # RQ's default description prints every argument into its logs.
        options["description"] = options.get("description") or function.path
        options["serializer"] = None  # ours is set below; to ask whether one is one takes RQ 13 us
        job = cast("_J", super().create(function.path, args=args, kwargs=kwargs, **options))
        job.complete(function, args or (), kwargs or {}, data)
        return job

    @classmethod
    def make(
        cls: type[_J], queue: Queue, func: Any, args: Any, kwargs: Any, options: Mapping[str, Any]
    ) -> _J:
        """As :meth:`create`, for *queue*, and with options that are :func:`enqueueing.is_plain`."""
        function, data = _checked_call(func, args or (), kwargs or {})
        if meta := options.get("meta"):
            codec.encode(meta, "meta")
        job = enqueueing.new_job(cls, queue, options)
        job.description = job.description or function.path
        job.complete(function, args or (), kwargs or {}, data)
        return job

    def complete(self, function: RegisteredFunction, args: Any, kwargs: Any, data: bytes) -> None:
        """Give a job that RQ has made its call, which is also there as *data*, and its snapshot."""
        rqcompat.set_call(self, function.path, args, kwargs, data)
        self.serializer = ContextSerializer
        self.prepared = prepared = prepare_for(function)
        self.is_new = True
        if prepared.snapshot.propagators and (own_meta := meta_for(prepared.snapshot)):
            self.meta = {**self.meta, **own_meta}
        if prepared.app.memory is not None:
            self.connection = prepared.app.memory

    # --- written ----------------------------------------------------------------------------

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """The fields that RQ writes, with the envelope among them."""
        fields = super().to_dict(include_meta=include_meta, include_result=include_result)
        if self.refusal is not None:
            return fields
        if self.prepared is not None and self.sealed is None:
            binding = binding_of(self.id, fields, rqcompat.stored_call(self))
            self._seal(self.prepared, binding, field_text(fields.get("enqueued_at")))
        if self.sealed is not None:
            fields[ENVELOPE_FIELD] = self.sealed
        return fields

    def new_fields(self) -> list[Any]:
        """What :meth:`to_dict` says of a job that was made here; of most, in a third of its time."""
        plain = enqueueing.plain_fields(self) if type(self).to_dict is MadeJob.to_dict else None
        if plain is None or self.prepared is None:
            fields = self.to_dict()
            return [ENVELOPE_FIELD, fields.pop(ENVELOPE_FIELD), *chain.from_iterable(fields.items())]
        named, data, created_at, enqueued_at = plain
        if self.sealed is None:
            binding = Binding(self.id, created_at, self.origin, digest(data), ("", "", ""), NO_DIGEST)
            self._seal(self.prepared, binding, enqueued_at)
        return [ENVELOPE_FIELD, self.sealed, *named]

    def _seal(self, prepared: Prepared, binding: Binding, enqueued_at: str) -> None:
        app = prepared.app
        self.sealed = seal(
            prepared.encoded,
            app_id=app.id,
            function=str(self.func_name),
            binding=binding,
            keyring=app.keyring,
            max_age_s=prepared.max_age_s,
            due_at=self.due_at,
            enqueued_at=enqueued_at,
        )
        if job_sealed.receivers:
            job_sealed.send(self)

    @property
    def snapshot(self) -> Snapshot | None:
        """What this job was enqueued in; None if it is refused or plain."""
        if self.envelope is not None:
            return self.envelope.snapshot
        return self.prepared.snapshot if self.prepared is not None else None

    @property
    def index_keys(self) -> Sequence[str]:
        """The keys of the index that this job has an entry in; a refused or plain job has none."""
        if self.prepared is not None:
            return self.prepared.index_keys
        if (snapshot := self.snapshot) is None:
            return ()
        app = registry.apps[snapshot.app_id]
        return index_keys(app.id, app.settings.index, snapshot)


def _checked_call(func: Any, args: Any, kwargs: Any) -> tuple[RegisteredFunction, bytes]:
    """The job function that *func* is, and the call of it, checked and encoded."""
    function = find_function(func)
    check_call(function, args, kwargs)
    return function, dump_call(function.path, args, kwargs, function.parameters)
