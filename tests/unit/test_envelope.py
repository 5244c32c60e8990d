"""The envelope: whatever is changed about it or about its job, it is refused, and says why."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.values import json_shaped

from ctxjobs.envelope import CLOCK_LEEWAY_S, Binding, Envelope, Keyring, digest, seal, unseal
from ctxjobs.errors import (
    BadSignatureError,
    EnvelopeExpiredError,
    EnvelopeMismatchError,
    JobRefusedError,
    UnknownAppError,
    WireVersionError,
)
from ctxjobs.snapshot import Snapshot

KEYS = Keyring(["secret"])
BINDING = Binding(
    job_id="j1",
    created_at="2026-01-01T00:00:00.000000Z",
    queue="default",
    data_digest=digest(b"data"),
    callbacks=("shop.done", "", ""),
    webhooks_digest=digest(b""),
)
CHANGED: dict[str, Any] = {
    "job_id": "j2",
    "created_at": "2026-01-01T00:00:00.000001Z",
    "queue": "other",
    "data_digest": digest(b"other"),
    "callbacks": ("shop.done", "os.abort", ""),
    "webhooks_digest": digest(b"[]"),
}
SNAPSHOT = Snapshot("shop", g={"tenant": "acme"})


def make(*, app_id: str = "shop", keyring: Keyring = KEYS, **options: Any) -> bytes:
    snapshot = options.pop("snapshot", SNAPSHOT.to_bytes(10_000))
    return seal(snapshot, app_id=app_id, function="shop.f", binding=BINDING, keyring=keyring, **options)


def read(envelope: bytes, *, binding: Binding = BINDING, **keyrings: Keyring) -> Envelope:
    return unseal(envelope, binding=binding, keyrings=keyrings or {"shop": KEYS})


def test_an_envelope_comes_back() -> None:
    """What was sealed for a job is what that job's envelope says."""
    envelope = read(make())
    assert (envelope.app_id, envelope.function, envelope.snapshot) == ("shop", "shop.f", SNAPSHOT)
    assert envelope.expires_at is None
    assert abs(envelope.issued_at - time.time()) < 10


# --- Belongs to one job ---------------------------------------------------------------------


@pytest.mark.parametrize("keys", [["k"], ["new", "old"], [b"\0" * 64], ["ä" * 100]], ids=repr)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 5000])
def test_a_signature_is_that_of_itsdangerous(keys: list[str | bytes], size: int) -> None:
    """The short way of signing writes what itsdangerous' signer writes."""
    ring = Keyring(keys)
    assert ring.sign(b"m" * size) == ring._signer.sign(b"m" * size)


def test_every_field_of_a_binding_is_tried() -> None:
    """The list below names each field."""
    assert list(CHANGED) == list(Binding.__struct_fields__)


@pytest.mark.parametrize("name", CHANGED)
def test_a_job_that_differs_in_one_field_is_refused(name: str) -> None:
    """An envelope that is moved to another job, or whose job is changed, is refused."""
    what = name.removesuffix("_digest").replace("_", " ")
    with pytest.raises(EnvelopeMismatchError, match=f"signed for another {what}"):
        read(make(), binding=replace(BINDING, **{name: CHANGED[name]}))


def test_an_envelope_does_not_move_to_another_app_with_the_same_key() -> None:
    """Two apps that share a secret key do not share their jobs."""
    foreign = seal(b"{}", app_id="shop", function="f", binding=BINDING, keyring=KEYS)
    forged = foreign.replace(b"1:shop:", b"1:blog:", 1)
    with pytest.raises(BadSignatureError):
        read(forged, blog=KEYS, shop=KEYS)


def test_the_digest_of_an_argument_is_not_shown() -> None:
    """A reason names a digest's field alone: it ends up in logs."""
    with pytest.raises(EnvelopeMismatchError) as caught:
        read(make(), binding=replace(BINDING, data_digest=digest(b"other")))
    assert digest(b"other") not in str(caught.value)


# --- Signed ---------------------------------------------------------------------------------


SEALED = make()


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16, 32, 64, 128, 255])
def test_any_flipped_byte_is_refused(bits: int) -> None:
    """Each byte of an envelope, by no other exception; but one signature has several spellings in base64."""
    for at in range(len(SEALED)):
        envelope = bytearray(SEALED)
        envelope[at] ^= bits
        try:
            opened = read(bytes(envelope))
        except JobRefusedError:
            continue
        assert at == len(SEALED) - 1
        assert repr(opened) == repr(read(SEALED))


def test_any_part_of_an_envelope_is_refused() -> None:
    """Cut off after any byte, or before any byte but the first."""
    for at in range(len(SEALED)):
        for part in (SEALED[:at], SEALED[at + 1 :]):
            with pytest.raises(JobRefusedError):
                read(part)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(SEALED)), st.binary(min_size=1, max_size=20) | st.sampled_from([SEALED, b".", b"1:"])
)
def test_an_envelope_with_anything_put_in_is_refused(at: int, more: bytes) -> None:
    """In front, in the middle or at the end; but a few letters after the signature change nothing of it."""
    try:
        opened = read(SEALED[:at] + more + SEALED[at:])
    except JobRefusedError:
        return
    assert at > SEALED.rindex(b".")
    assert repr(opened) == repr(read(SEALED))


SIGNED_FIELDS = json.loads(KEYS.verify(SEALED).split(b":", 3)[3])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | json_shaped.map(json.dumps).map(str.encode))
def test_anything_else_that_the_right_key_has_signed_is_refused(payload: bytes) -> None:
    """A release to come, or whoever has the key, may sign another shape: one kind of error comes out."""
    with pytest.raises(WireVersionError, match="is signed, and does not read here"):
        read(KEYS.sign(b"1:shop:01234567:" + payload))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SIGNED_FIELDS)), json_shaped)
def test_a_signed_field_of_another_shape_is_refused(name: str, value: Any) -> None:
    """Each field of the payload is checked, also where the signature holds."""
    assume(value != SIGNED_FIELDS[name] and name != "function" and not is_time(name, value))
    try:
        read(KEYS.sign(b"1:shop:01234567:" + json.dumps({**SIGNED_FIELDS, name: value}).encode()))
    except JobRefusedError:
        return
    assert name == "snapshot"


def is_time(name: str, value: Any) -> bool:
    return name in ("issued_at", "expires_at") and (value is None or type(value) in (int, float))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda rest: b"1:shop:01234567:" + rest))
def test_any_other_bytes_are_refused(envelope: bytes) -> None:
    """Whatever lies in the field, the job is refused; no other exception comes out."""
    with pytest.raises(JobRefusedError):
        read(envelope)


def test_nothing_is_decoded_before_the_signature_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A payload without a valid signature is never parsed."""
    monkeypatch.setattr("ctxjobs.codec.loads", lambda *args: pytest.fail("it was parsed"))
    with pytest.raises(BadSignatureError):
        read(SEALED, shop=Keyring(["other"]))


def test_a_fallback_key_verifies() -> None:
    """After a rotation the old key still opens what it signed."""
    assert read(make(), shop=Keyring(["new", "secret"])).function == "shop.f"


def test_the_first_key_signs() -> None:
    """After a rotation the new key signs, so that the old one can go."""
    assert read(make(keyring=Keyring(["new", "secret"])), shop=Keyring(["new"])).function == "shop.f"


def test_a_wrong_key_names_both_key_ids() -> None:
    """Whose key is whose can be told from the message, which shows no key."""
    other = Keyring(["other"])
    with pytest.raises(BadSignatureError) as caught:
        read(make(), shop=other)
    text = str(caught.value)
    assert f"(key id {KEYS.key_id}) is not signed by app 'shop' (key id {other.key_id})" in text
    assert "SECRET_KEY_FALLBACKS" in text
    assert "secret" not in text.replace("secret keys", "")


def test_the_id_of_a_key_is_stable_and_tells_keys_apart() -> None:
    """One key has one id, as str and as bytes; two keys have two."""
    assert Keyring(["a"]).key_id == Keyring([b"a"]).key_id == Keyring(["a", "b"]).key_id
    assert Keyring(["a"]).key_id != Keyring(["b"]).key_id


# --- App and version ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keyrings", "loaded"), [({"blog": KEYS, "admin": KEYS}, "admin, blog"), ({"": KEYS}, "")]
)
def test_an_unknown_app_names_those_that_are_loaded(keyrings: dict[str, Keyring], loaded: str) -> None:
    """The message names the app that is missing, and the ones that are there."""
    with pytest.raises(UnknownAppError, match=f"belongs to app 'shop'; the apps loaded here are: {loaded}"):
        unseal(make(), binding=BINDING, keyrings=keyrings)


def test_no_app_at_all_is_said() -> None:
    """A process without apps says so."""
    with pytest.raises(UnknownAppError, match="the apps loaded here are: none"):
        unseal(make(), binding=BINDING, keyrings={})


@pytest.mark.parametrize("envelope", [b"2:shop:01234567:{}", b"2:{anything at all}", b"0:x", b"9999:"])
def test_another_wire_version_is_told_apart(envelope: bytes) -> None:
    """An envelope of another release is not called tampered, whatever follows its version."""
    with pytest.raises(
        WireVersionError, match=f"wire version {int(envelope.split(b':')[0])}, this ctxjobs reads"
    ):
        read(envelope)


def test_another_snapshot_version_is_told_apart() -> None:
    """A snapshot of another release inside of a valid envelope is a question of version, too."""
    with pytest.raises(WireVersionError, match="version 9, this release reads 1"):
        read(make(snapshot=b'{"v":9}'))


# --- Time -----------------------------------------------------------------------------------


@pytest.mark.parametrize("late_s", [-3600.0, CLOCK_LEEWAY_S - 10])
def test_a_job_within_its_age_and_the_leeway_opens(late_s: float) -> None:
    """A job may be late by its age and by what clocks may differ."""
    assert read(make(max_age_s=5.0, due_at=time.time() - 5.0 - late_s)).expires_at is not None


def test_an_expired_job_is_refused() -> None:
    """Past that it is refused, with the seconds since."""
    with pytest.raises(EnvelopeExpiredError, match=r"it expired 7\d s ago.*CTXJOBS_MAX_AGE_S"):
        read(make(max_age_s=5.0, due_at=time.time() - 5.0 - CLOCK_LEEWAY_S - 10))


def test_age_counts_from_the_time_when_a_job_is_due() -> None:
    """A job for next week, signed today, lives until next week and its age after that."""
    next_week = time.time() + 7 * 86400
    assert read(make(max_age_s=5.0, due_at=next_week)).expires_at == next_week + 5.0


@pytest.mark.parametrize(("ahead_s", "refused"), [(CLOCK_LEEWAY_S - 10, False), (CLOCK_LEEWAY_S + 10, True)])
def test_a_job_from_the_future_is_refused(
    monkeypatch: pytest.MonkeyPatch, ahead_s: float, refused: bool
) -> None:
    """A clock may be ahead by the leeway, no more."""
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr("ctxjobs.envelope.time.time", lambda: now + ahead_s)
        envelope = make()
    if not refused:
        assert read(envelope).issued_at == now + ahead_s
        return
    with pytest.raises(EnvelopeExpiredError, match=r"signed \d+ s in the future"):
        read(envelope)
