"""Envelope: a snapshot and the job it belongs to, signed, as bytes.

``<wire version>:<app id>:<key id>:<payload>.<signature>``. The first three are plain text, so that
the right key is found without decoding anything; all of it is signed. The payload (JSON) repeats
what a job must not differ in: a signed envelope that is moved to another job, queue, function or
arguments is refused.

Works on plain values; knows no RQ and no framework. May import the floors of the codec and the
snapshot.

The signature is itsdangerous' (HMAC-SHA256); binding it to the job answers a measured hole: a blob
with a valid signature, copied to another job, ran there.
"""

from __future__ import annotations

import hashlib
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from operator import attrgetter
from typing import Any, Final

import msgspec
from itsdangerous import BadSignature, Signer

from ctxjobs import codec
from ctxjobs.errors import (
    BadSignatureError,
    DecodeError,
    EnvelopeExpiredError,
    EnvelopeMismatchError,
    UnknownAppError,
    WireVersionError,
)
from ctxjobs.snapshot import WIRE_VERSION, Snapshot

#: How far the clocks of two machines may differ.
CLOCK_LEEWAY_S: Final = 60.0
#: What an app id may look like: it stands in the envelope's plain text.
APP_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")

_HEADER: Final = re.compile(rb"(\d{1,4}):(?:([A-Za-z0-9_.-]{1,100}):([0-9a-f]{8}):)?")
_SALT: Final = b"ctxjobs.envelope"
_TAMPERED: Final = (
    "Somebody changed it in Redis, or the web process and the worker have different secret keys: after a "
    "change of SECRET_KEY keep the old one in SECRET_KEY_FALLBACKS until the queues have drained."
)
_OTHER_RELEASE: Final = (
    "'rq requeue' it once a worker runs the ctxjobs release that wrote it; till then it stays as it is."
)


class Binding(msgspec.Struct, frozen=True):
    """What ties an envelope to one job; each value as it stands in Redis.

    Attributes:
        job_id: The job's id.
        created_at: When the job was made, as RQ writes it.
        queue: Name of its queue (RQ's ``origin``).
        data_digest: :func:`digest` of the decompressed call.
        callbacks: Names of the success, failure and stopped callbacks; empty where there is none.
        webhooks_digest: :func:`digest` of its webhooks.
    """

    job_id: str
    created_at: str
    queue: str
    data_digest: str
    callbacks: tuple[str, str, str]
    webhooks_digest: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope that was verified.

    Attributes:
        app_id: The app whose key signed it.
        function: Dotted name of the job's function.
        snapshot: What the job was enqueued in.
        issued_at: When it was signed, in seconds since the epoch.
        expires_at: From when it is too old, in seconds since the epoch; None means never.
        enqueued_at: When the job was put on its queue for the first time, as RQ writes it; empty if it had to
            wait before that.
    """

    app_id: str
    function: str
    snapshot: Snapshot
    issued_at: float
    expires_at: float | None
    enqueued_at: str = ""


class Keyring:
    """An app's keys: the first signs, all verify.

    Args:
        keys: Secret keys, the current one first.
    """

    __slots__ = ("_inner", "_outer", "_signer", "key_id")

    def __init__(self, keys: Sequence[str | bytes]) -> None:
        # itsdangerous signs with the last of its keys and verifies with all of them.
        oldest_first = [_as_bytes(key) for key in reversed(keys)]
        signer = Signer(oldest_first, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)
        # Derived once: the signer would derive them for every signature.
        derived = [signer.derive_key(key) for key in oldest_first]
        self._signer = Signer(derived, key_derivation="none", digest_method=hashlib.sha256)
        block = derived[-1].ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        self.key_id = digest(signer.derive_key())[:8]

    def sign(self, message: bytes) -> bytes:
        """*message* with its signature."""
        return message + b"." + self._signature(message)

    def verify(self, signed: bytes) -> bytes:
        """The message in *signed*.

        Raises:
            itsdangerous.BadSignature: No key of this ring signed it.
        """
        message, _, signature = signed.rpartition(b".")
        if compare_digest(signature, self._signature(message)):
            return message
        return self._signer.unsign(signed)

    def _signature(self, message: bytes) -> bytes:
        """That of itsdangerous' signer with the current key, in a third of its time."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return urlsafe_b64encode(outer.digest())[:43]


def _as_bytes(key: str | bytes) -> bytes:
    return key.encode() if isinstance(key, str) else key


def digest(data: bytes) -> str:
    """SHA-256 of *data*, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


#: Of nothing, which is what most jobs have for webhooks.
NO_DIGEST: Final = digest(b"")


def seal(
    snapshot: bytes,
    *,
    app_id: str,
    function: str,
    binding: Binding,
    keyring: Keyring,
    max_age_s: float | None = None,
    due_at: float | None = None,
    enqueued_at: str = "",
) -> bytes:
    """Sign *snapshot* for the job that *binding* describes.

    Args:
        snapshot: An encoded snapshot (:meth:`Snapshot.to_bytes`).
        app_id: The app whose key signs.
        function: Dotted name of the job's function.
        binding: What the job must not differ in later.
        keyring: The app's keys.
        max_age_s: Seconds after which the job, once due, is too old; None means never.
        due_at: When the job is due, in seconds since the epoch; None means now.
        enqueued_at: When it is put on its queue, as RQ writes it; empty if it has to wait.

    Returns:
        The envelope.
    """
    now = time.time()
    expires_at = None if max_age_s is None else (due_at or now) + max_age_s
    payload = _Payload(
        app_id,
        function,
        now,
        expires_at,
        msgspec.Raw(snapshot),
        binding.job_id,
        binding.created_at,
        binding.queue,
        binding.data_digest,
        binding.callbacks,
        binding.webhooks_digest,
        enqueued_at,
    )
    header = f"{WIRE_VERSION}:{app_id}:{keyring.key_id}:".encode()
    return keyring.sign(header + _write_payload(payload))


def unseal(
    envelope: bytes, *, binding: Binding, keyrings: Mapping[str, Keyring], at: float | None = None
) -> Envelope:
    """Verify *envelope* for the job that *binding* describes, then decode it.

    Args:
        envelope: What :func:`seal` returned.
        binding: The job as it stands in Redis now.
        keyrings: Keys by app id, of the apps in this process.
        at: For which time to ask whether it is too old, in seconds since the epoch; None means now.

    Raises:
        WireVersionError: Another version of ctxjobs wrote it.
        UnknownAppError: No app of its id is in *keyrings*.
        BadSignatureError: It is not signed by its app, or not an envelope.
        EnvelopeMismatchError: It belongs to another job, or this job was changed.
        EnvelopeExpiredError: It is too old, or comes from the future.
    """
    app_id, key_id, header_end = _read_header(envelope, binding.job_id)
    keyring = keyrings.get(app_id)
    if keyring is None:
        loaded = ", ".join(sorted(keyrings)) or "none"
        raise UnknownAppError(
            binding.job_id,
            f"it belongs to app {app_id!r}; the apps loaded here are: {loaded}",
            "Start this worker with '--app' for that app too, or set the same CTXJOBS_APP_ID on both sides.",
        )
    try:
        signed = keyring.verify(envelope)
    except BadSignature as exc:
        reason = f"its envelope (key id {key_id}) is not signed by app {app_id!r} (key id {keyring.key_id})"
        raise BadSignatureError(binding.job_id, reason, _TAMPERED) from exc
    return _open(signed[header_end:], app_id, binding, time.time() if at is None else at)


def _read_header(envelope: bytes, job_id: str) -> tuple[str, str, int]:
    """App id, key id, and where the header ends."""
    match = _HEADER.match(envelope)
    if match and int(match[1]) != WIRE_VERSION:
        raise WireVersionError(
            job_id,
            f"its envelope has wire version {int(match[1])}, this ctxjobs reads version {WIRE_VERSION}",
            _OTHER_RELEASE,
        )
    if match is None or match[2] is None:
        raise BadSignatureError(job_id, "its envelope is not one that ctxjobs writes", _TAMPERED)
    return match[2].decode(), match[3].decode(), match.end()


class _Payload(msgspec.Struct, omit_defaults=True):
    """What :func:`seal` signs, by name; a name that a later release adds is passed over."""

    app: str
    function: str
    issued_at: float
    expires_at: float | None
    snapshot: msgspec.Raw
    job_id: str
    created_at: str
    queue: str
    data_digest: str
    callbacks: tuple[str, str, str]
    webhooks_digest: str
    enqueued_at: str = ""


_read_payload = msgspec.json.Decoder(_Payload).decode
_write_payload = msgspec.json.Encoder().encode


def _open(payload: bytes, app_id: str, binding: Binding, at: float) -> Envelope:
    """Decode a payload whose signature was verified."""
    try:
        signed = _read_payload(payload)
        _check_binding(signed, app_id, binding)
        _check_time(binding.job_id, at, signed.issued_at, signed.expires_at)
        snapshot = Snapshot.from_primitive(codec.loads(bytes(signed.snapshot), len(payload)))
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        what = f"{exc.path}: {exc.reason}" if isinstance(exc, DecodeError) else str(exc)
        reason = f"its envelope is signed, and does not read here ({what})"
        raise WireVersionError(binding.job_id, reason, _OTHER_RELEASE) from exc
    return Envelope(
        app_id, signed.function, snapshot, signed.issued_at, signed.expires_at, signed.enqueued_at
    )


_bound = attrgetter(*Binding.__struct_fields__)


def _check_binding(signed: _Payload, app_id: str, binding: Binding) -> None:
    if signed.app == app_id and _bound(signed) == _bound(binding):
        return
    for name, found in {"app": app_id, **msgspec.structs.asdict(binding)}.items():
        bound = getattr(signed, name)
        if bound != found:
            raise _mismatch(binding.job_id, name, bound, found)


def _mismatch(job_id: str, name: str, bound: Any, found: Any) -> EnvelopeMismatchError:
    what = name.removesuffix("_digest").replace("_", " ")
    shown = "" if name.endswith("_digest") else f" ({_short(bound)}, found {_short(found)})"
    return EnvelopeMismatchError(
        job_id,
        f"its envelope was signed for another {what}{shown}",
        "The job was changed or copied in Redis. To run it elsewhere, enqueue it again from the app.",
    )


def _short(value: Any) -> str:
    """*value* for a message: what lies in Redis may be of any length."""
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _check_time(job_id: str, now: float, issued_at: float, expires_at: float | None) -> None:
    if issued_at > now + CLOCK_LEEWAY_S:
        raise EnvelopeExpiredError(
            job_id, f"it was signed {issued_at - now:.0f} s in the future", "Set the machines' clocks."
        )
    if expires_at is not None and now > expires_at + CLOCK_LEEWAY_S:
        raise EnvelopeExpiredError(
            job_id,
            f"it expired {now - expires_at:.0f} s ago",
            "Raise CTXJOBS_MAX_AGE_S, or enqueue it again from the app.",
        )
