"""What somebody with write access to Redis may try, against a worker of its own: real Redis, one child.

``tests/redis/test_refusal.py`` changes one field at a time, in every way; here envelopes are flipped,
swapped, replayed and signed with the wrong keys, and files tell what was imported or unpickled on the way.
"""

from __future__ import annotations

import os
import pickle
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import redis
from rq import Callback
from rq.webhook import Webhook
from support import depot, tripwire
from support.waiting import wait_until
from support.worker_process import run_worker
from support.working import fields_of, status, why_failed

from ctxjobs import Capture
from ctxjobs.envelope import Keyring
from ctxjobs.keys import ENVELOPE_FIELD

APPS = (
    *("--app", "support.depot:create_app(SECRET_KEY='k1', SECRET_KEY_FALLBACKS=['k0'])"),
    *("--app", "support.depot:create_app(SECRET_KEY='k2', CTXJOBS_APP_ID='annex')"),
)
ON_ANY = Callback(depot.on_any)


class FileBomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@dataclass(frozen=True)
class Attacker:
    """Somebody who can write to Redis, and the web processes whose jobs they attack.

    Attributes:
        connection: Redis.
        url: Its URL.
        folder: Where the marks of what must not run would be.
    """

    connection: redis.Redis
    url: str
    folder: Path

    @property
    def unpickled(self) -> Path:
        return self.folder / "unpickled"

    @property
    def imported(self) -> Path:
        return self.folder / "imported"

    def enqueue(
        self, job_id: str, *, job: Any = depot.note, key: str = "k1", app_id: str = "depot", **options: Any
    ) -> None:
        app = depot.create_app(redis_url=self.url, SECRET_KEY=key, CTXJOBS_APP_ID=app_id)
        args = (job_id,) if job is depot.note else ()
        with app.app_context():
            job.options(**{"job_id": job_id, "on_failure": ON_ANY, **options}).enqueue(*args)

    def enqueue_rich(self, job_id: str) -> None:
        """A job that differs from the plain one in every field that an envelope binds."""
        hook = Webhook("http://127.0.0.1:9/hook", "failed")
        callbacks = {"on_success": ON_ANY, "on_failure": None, "on_stopped": ON_ANY}
        self.enqueue(job_id, queue="other", webhooks=[hook], **callbacks)

    def fields(self, job_id: str) -> dict[str, bytes]:
        return fields_of(self.connection, job_id)

    def set(self, job_id: str, **fields: Any) -> None:
        self.connection.hset(f"rq:job:{job_id}", mapping=fields)

    def edit(self, job_id: str, change: Callable[[bytes], bytes]) -> None:
        self.set(job_id, ctxjobs=change(self.fields(job_id)[ENVELOPE_FIELD]))

    def take(self, job_id: str) -> None:
        self.connection.lrem("rq:queue:default", 0, job_id)

    def push(self, queue: str, job_id: str) -> None:
        self.connection.rpush(f"rq:queue:{queue}", job_id)


# --- Attacks: each makes its job, and changes it ---------------------------------------------

FLIPS = 40
SWAPPED = (
    *("created_at", "origin", "data", ENVELOPE_FIELD, "webhooks"),
    *("success_callback_name", "failure_callback_name", "stopped_callback_name"),
)
Attack = Callable[[Attacker, str], None]


def on_envelope(change: Callable[[bytes], bytes], **options: Any) -> Attack:
    def attack(by: Attacker, job_id: str) -> None:
        by.enqueue(job_id, **options)
        by.edit(job_id, change)

    return attack


def flip(number: int) -> Attack:
    def change(envelope: bytes) -> bytes:
        at = len(envelope) * number // FLIPS
        return envelope[:at] + bytes([envelope[at] ^ 1]) + envelope[at + 1 :]

    return on_envelope(change)


def swap(field: str) -> Attack:
    def attack(by: Attacker, job_id: str) -> None:
        by.enqueue(job_id)
        by.enqueue_rich(f"{job_id}-2")
        one, other = (by.fields(name).get(field, b"") for name in (job_id, f"{job_id}-2"))
        assert one != other
        by.set(job_id, **{field: other})
        by.set(f"{job_id}-2", **{field: one})

    return attack


def on_fields(**fields: Any) -> Attack:
    def attack(by: Attacker, job_id: str) -> None:
        by.enqueue(job_id)
        by.set(job_id, **fields)

    return attack


def call_of(function: object, argument: object = "x") -> bytes:
    return zlib.compress(pickle.dumps((function, None, [argument], {})))


def on_data(make: Callable[[Attacker], bytes]) -> Attack:
    def attack(by: Attacker, job_id: str) -> None:
        by.enqueue(job_id)
        by.set(job_id, data=make(by))

    return attack


def in_other_queue(by: Attacker, job_id: str) -> None:
    by.enqueue(job_id)
    by.take(job_id)
    by.push("other", job_id)


def as_another_job(by: Attacker, job_id: str) -> None:
    """The whole job once more, in another queue, with other arguments."""
    by.enqueue("source")
    by.set(job_id, **{**by.fields("source"), "origin": "other", "data": call_of("support.depot.note")})
    by.push("other", job_id)


def recreated(by: Attacker, job_id: str) -> None:
    """What a job of the same id once was, on the job that has the id now."""
    by.enqueue(job_id)
    old = by.fields(job_id)
    by.take(job_id)
    by.connection.delete(f"rq:job:{job_id}")
    by.enqueue(job_id)
    by.set(job_id, **{name: old[name] for name in ("data", ENVELOPE_FIELD)})


def from_the_future(by: Attacker, job_id: str) -> None:
    now = by.connection.time()[0]
    with patch("ctxjobs.envelope.time", SimpleNamespace(time=lambda: now + 3600.0)):
        by.enqueue(job_id)


def under_another_app_id(by: Attacker, job_id: str) -> None:
    """A job of the app ``annex``, rightly signed, handed in as one of ``depot``."""
    by.enqueue(job_id, key="k2", app_id="annex")
    by.edit(job_id, lambda envelope: envelope.replace(b"1:annex:", b"1:depot:", 1))


def signed_by_another_app(by: Attacker, job_id: str) -> None:
    """A job of ``depot``, signed by somebody who has the key of ``annex`` and says so in the plain header."""
    by.enqueue(job_id)

    def sign(envelope: bytes) -> bytes:
        message = Keyring(["k1"]).verify(envelope)
        return Keyring(["k2"]).sign(message.replace(b"1:depot:", b"1:annex:", 1))

    by.edit(job_id, sign)


FORGED = "is not signed by app 'depot'"
ATTACKS: dict[str, tuple[Attack, str]] = {
    **{f"flip-{number}": (flip(number), "") for number in range(FLIPS)},
    **{f"swap-{field}": (swap(field), "signed for another") for field in SWAPPED},
    "in-other-queue": (in_other_queue, "signed for another queue ('default', found in 'other')"),
    "as-another-job": (as_another_job, "signed for another job id"),
    "recreated": (recreated, "signed for another created at"),
    "removed-key": (lambda by, job_id: by.enqueue(job_id, key="k9"), FORGED),
    "expired": (lambda by, job_id: by.enqueue(job_id, capture=Capture(max_age_s=-61)), "it expired"),
    "from-the-future": (from_the_future, "s in the future"),
    "foreign-app": (on_envelope(lambda e: e.replace(b"depot", b"depart", 1)), "belongs to app 'depart'"),
    "under-another-app-id": (under_another_app_id, FORGED),
    "signed-by-another-app": (signed_by_another_app, "signed for another app ('depot', found 'annex')"),
    "unsigned": (on_envelope(lambda envelope: envelope[: envelope.rindex(b".")]), FORGED),
    "without-signature": (on_envelope(lambda envelope: envelope[: envelope.rindex(b".") + 1]), FORGED),
    "another-function": (on_data(lambda by: call_of("support.tripwire.spring")), "signed for another data"),
    "a-bomb": (
        on_data(lambda by: call_of("support.depot.note", FileBomb(by.unpickled))),
        "another data",
    ),
    "another-callback": (on_fields(success_callback_name="support.tripwire.spring"), "another callbacks"),
}
#: What each job's reason has to say; a swap has two victims.
REASONS = {
    **{job_id: reason for job_id, (_, reason) in ATTACKS.items()},
    **{f"swap-{field}-2": "signed for another" for field in SWAPPED},
}


# --- One worker meets them all ---------------------------------------------------------------


@pytest.fixture(scope="module")
def tried(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    """All was tried, between two jobs that say which process runs them; the worker is still there."""
    folder = tmp_path_factory.mktemp("tampering")
    with redis.Redis.from_url(redis_url) as connection, pytest.MonkeyPatch.context() as environment:
        # A child that another test killed while it waited for a job would still be given one.
        wait_until(lambda: connection.info("clients")["blocked_clients"] == 0, what="no client waits")
        connection.flushall()
        by = Attacker(connection, redis_url, folder)
        by.enqueue("first", job=depot.pids)
        for job_id, (attack, _) in ATTACKS.items():
            attack(by, job_id)
        by.enqueue("fallback-key", key="k0")
        for field in ("meta", "result"):
            on_fields(**{field: pickle.dumps(FileBomb(by.unpickled))})(by, f"bomb-in-{field}")
        environment.setenv("TRIPWIRE", str(by.imported))
        by.enqueue("last", job=depot.pids, queue="other")
        with run_worker(folder / "log", "default", "other", app=APPS, redis_url=redis_url) as worker:
            wait_until(lambda: status(connection, "last") == "finished", timeout_s=30, what="the last job")
            yield by
            worker.stop()
            assert worker.exit_code() == 0
        depot.forget("annex")


@pytest.mark.parametrize("job_id", REASONS)
def test_the_job_is_refused_with_the_reason(tried: Attacker, job_id: str) -> None:
    """It is failed, and RQ's result says why; neither its function nor its callback has run."""
    why = why_failed(tried.connection, job_id)
    assert status(tried.connection, job_id) == "failed"
    assert f"Job {job_id} is refused: " in why
    assert REASONS[job_id] in why
    assert [line for line in depot.ran(tried.connection) if line.endswith(job_id)] == []


def test_one_child_met_them_all(tried: Attacker) -> None:
    """The process that ran the first job ran the last one: no attack has ended it."""
    first, *_, last = depot.ran(tried.connection)
    assert first == last


def test_a_job_signed_with_a_fallback_key_runs(tried: Attacker) -> None:
    """The old key of a rotation still verifies, in the same worker that refuses a removed one."""
    assert status(tried.connection, "fallback-key") == "finished"
    assert "fallback-key" in depot.ran(tried.connection)


@pytest.mark.parametrize("field", ["meta", "result"])
def test_what_is_not_signed_is_not_unpickled_either(tried: Attacker, field: str) -> None:
    """A job whose ``meta`` or result was replaced by a pickle that runs a command runs, without that."""
    assert status(tried.connection, f"bomb-in-{field}") == "finished"
    assert not tried.unpickled.exists()


def test_nothing_was_imported_on_the_way(tried: Attacker) -> None:
    """No module that a forged job or callback names was imported; by a sound job, the same module is."""
    assert not tried.imported.exists()
    tried.enqueue("sound", job=tripwire.spring)
    wait_until(lambda: status(tried.connection, "sound") == "finished", what="the sound job")
    assert tried.imported.exists()
