"""What is read from Redis may run, or is refused: RQ's Job, verified before anything of it is decoded.

Also what ties an envelope to its job, which has to be the same when it is signed. May import the floors of
RQ's compatibility and of the registry; makes no jobs, and runs none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rq.exceptions import NoSuchJobError
from rq.job import Job

from ctxjobs import rqcompat
from ctxjobs.envelope import NO_DIGEST, Binding, Envelope, digest, unseal
from ctxjobs.errors import DecodeError, EnvelopeMismatchError, JobRefusedError, PlainJobError
from ctxjobs.keys import ENVELOPE_FIELD, OWN_FIELDS
from ctxjobs.references import Noting
from ctxjobs.registry import registry
from ctxjobs.rqcompat import reading
from ctxjobs.serializer import ContextSerializer, bounded_inflate, load_call


class CheckedJob(Job):
    """RQ's Job; one that does not verify is refused, and RQ finds nothing of it to run.

    Attributes:
        envelope: The verified envelope; None for a job that was made here, and for a refused one.
        refusal: Why this job must not run; None if it may.
        sealed: The envelope as it stands in Redis; None for a job that has none yet.
    """

    envelope: Envelope | None = None
    refusal: JobRefusedError | None = None
    sealed: bytes | None = None
    _refers = False  # whether an argument holds a reference
    _enqueued_at: str = ""

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Take over what Redis holds; verify the envelope before anything of it is decoded.

        A job that does not verify is marked as refused: nothing of it is decoded, and RQ finds no
        callback, webhook, retry or dependent of it to run.
        """
        fields = rqcompat.job_fields(raw_data)
        try:
            self._restore_checked(self._admit(fields))
        except NoSuchJobError:
            raise
        except JobRefusedError as refusal:
            self._restore_refused(fields, refusal)
        except Exception as exc:  # noqa: BLE001 - whatever RQ says of a field that it cannot read
            reason = f"its fields do not read as RQ writes them ({type(exc).__name__}: {str(exc)[:200]})"
            self._restore_refused(fields, EnvelopeMismatchError(self.id, reason, "Enqueue it again."))

    def _admit(self, fields: dict[str, bytes]) -> dict[str, bytes]:
        """Check that this job may run; the fields to restore it from."""
        if ENVELOPE_FIELD not in fields:
            self.admit_plain(fields)
            return fields
        self.envelope, data = open_envelope(self.id, fields)
        self.sealed = fields[ENVELOPE_FIELD]
        self._enqueued_at = field_text(fields.get("enqueued_at"))
        self.serializer = ContextSerializer
        return {**fields, "data": data}

    def admit_plain(self, fields: Mapping[str, bytes]) -> None:
        """Decide about a job without an envelope. A library never runs one; a worker may be told to.

        Raises:
            PlainJobError: It must not run.
        """
        raise _without_envelope(self.id)

    def _restore_checked(self, fields: dict[str, bytes]) -> None:
        if not reading.restore(self, fields, OWN_FIELDS):
            super().restore(fields)
            rqcompat.check_fields(self)

    def _restore_refused(self, fields: Mapping[str, bytes], refusal: JobRefusedError) -> None:
        self.serializer = ContextSerializer
        neutral = {name: value for name, value in fields.items() if name in rqcompat.NEUTRAL_FIELDS}
        try:
            self._restore_checked({**neutral, "data": b""})
        except Exception:  # noqa: BLE001 - one of these does not read either: the queue's name is enough
            super().restore({"origin": field_text(fields.get("origin")), "data": b""})
        self._refuse(refusal)

    def check_queue(self, name: str) -> None:
        """Refuse to run out of another queue than the one that this job was signed for.

        A refused job fails in the queue in which it was found, whatever its hash says.

        Args:
            name: The queue in which a worker has found it.
        """
        if self.envelope is not None and self.origin != name:
            reason = f"its envelope was signed for another queue ({self.origin!r}, found in {name!r})"
            advice = "Somebody put it there in Redis; 'rq requeue' puts it back."
            self._refuse(EnvelopeMismatchError(self.id, reason, advice))
        if self.refusal is not None:
            self.origin = name

    def _refuse(self, refusal: JobRefusedError) -> None:
        self.refusal = refusal
        self.envelope = None
        rqcompat.set_call(self, "(refused)", (), {}, b"")
        rqcompat.neutralise(self)

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """The fields that RQ writes; of a refused job the neutral ones."""
        fields: dict[str, Any] = super().to_dict(include_meta=include_meta, include_result=include_result)
        if self.refusal is None:
            return fields
        # What the envelope binds stays as it is: a job that is repaired verifies again.
        written = rqcompat.NEUTRAL_FIELDS - {*_BOUND_FIELDS}
        return {name: value for name, value in fields.items() if name in written}

    @property
    def dependents_key(self) -> str:
        """RQ's key of the jobs that wait for this one; a refused job releases none."""
        key: str = super().dependents_key
        return key + ":refused" if self.refusal is not None else key

    def _deserialize_data(self) -> None:
        if self.sealed is None:
            rqcompat.evaluate_plain_call(self)
            return
        data = rqcompat.stored_call(self)
        decode = Noting()
        name, _, args, kwargs = load_call(data, decode)
        self._refers = decode.met
        rqcompat.set_call(self, name, args, kwargs, data)


def open_envelope(
    job_id: str, fields: Mapping[str, bytes], at: float | None = None
) -> tuple[Envelope, bytes]:
    """Verify the envelope among the *fields* of a job.

    Args:
        job_id: The job's id.
        fields: Its hash.
        at: For which time to ask whether it is too old, in seconds since the epoch; None means now.

    Returns:
        The envelope, and the decompressed call.

    Raises:
        JobRefusedError: It does not verify.
    """
    if ENVELOPE_FIELD not in fields:
        raise _without_envelope(job_id)
    data = _inflate(job_id, fields.get("data", b""))
    binding = binding_of(job_id, fields, data)
    return unseal(fields[ENVELOPE_FIELD], binding=binding, keyrings=registry.keyrings(), at=at), data


def _without_envelope(job_id: str) -> PlainJobError:
    return PlainJobError(
        job_id,
        "it has no envelope: plain RQ or an older release of the app enqueued it",
        "Enqueue it through ctxjobs, run it with a stock 'rq worker', or let this worker run plain jobs "
        "by the name of their function: '--allow-plain PATTERN'.",
    )


def _inflate(job_id: str, data: bytes) -> bytes:
    try:
        return bounded_inflate(data)
    except DecodeError as exc:
        raise EnvelopeMismatchError(job_id, str(exc), "Enqueue it again from the app.") from exc


def binding_of(job_id: str, fields: Mapping[str, Any], data: bytes) -> Binding:
    """What ties an envelope to the job with these *fields*."""
    created_at, queue, success, failure, stopped, webhooks = [
        field_text(value) if value else "" for value in map(fields.get, _BOUND_FIELDS)
    ]
    return Binding(
        job_id,
        created_at,
        queue,
        digest(data),
        (success, failure, stopped),
        digest(webhooks.encode()) if webhooks else NO_DIGEST,
    )


_BOUND_FIELDS = (
    "created_at",
    "origin",
    "success_callback_name",
    "failure_callback_name",
    "stopped_callback_name",
    "webhooks",
)


def field_text(value: Any) -> str:
    """The *value* of a field as text, whether RQ is about to write it or Redis returned it."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
