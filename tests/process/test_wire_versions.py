"""A worker that meets jobs of a newer wire version, and the upgrade: real worker, stock ``rq requeue``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import redis
from rq import Retry
from rq.registry import FailedJobRegistry
from support import depot
from support.waiting import wait_until
from support.worker_process import run_worker
from support.working import fields_of, status, why_failed

from ctxjobs import g
from ctxjobs.envelope import Keyring
from ctxjobs.keys import ENVELOPE_FIELD

#: What a worker writes about a run of a job.
OF_THE_RUN = {"status", "started_at", "ended_at", "worker_name", "last_heartbeat"}


def newer_envelope(envelope: bytes) -> bytes:
    """Of another layout altogether, but for the number in front."""
    return b"2:\x00 whatever follows in a later release"


def newer_snapshot(envelope: bytes) -> bytes:
    """This envelope, rightly signed, around a snapshot of a later release."""
    keyring = Keyring(["k1"])
    newer = keyring.verify(envelope).replace(b'"snapshot":{"v":1,', b'"snapshot":{"v":2,', 1)
    return keyring.sign(newer)


NEWER: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "envelope": (newer_envelope, "its envelope has wire version 2, this ctxjobs reads version 1"),
    "snapshot": (newer_snapshot, "version 2, this release reads 1"),
}


@dataclass(frozen=True)
class Upgrade:
    """What there was of each job, by its kind: as it was written, once refused, after the upgrade."""

    written: dict[str, dict[str, bytes]]
    refused: dict[str, dict[str, bytes]]
    reasons: dict[str, str]
    failed: list[str]
    run: list[str]


@pytest.fixture(scope="module")
def upgrade(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgrade]:
    """A worker refuses the jobs; then they are such as it reads, and a stock ``rq requeue`` is enough."""
    log = tmp_path_factory.mktemp("versions") / "log"
    with redis.Redis.from_url(redis_url) as connection:
        # A child that another test killed while it waited for a job would still be given one.
        wait_until(lambda: connection.info("clients")["blocked_clients"] == 0, what="no client waits")
        connection.flushall()
        sound = {kind: enqueue(connection, redis_url, kind) for kind in NEWER}
        written = {kind: fields_of(connection, kind) for kind in NEWER}
        with run_worker(log, redis_url=redis_url) as worker:
            wait_until(lambda: {status(connection, kind) for kind in NEWER} == {"failed"}, what="refusals")
            refused = {kind: fields_of(connection, kind) for kind in NEWER}
            reasons = {kind: why_failed(connection, kind) for kind in NEWER}
            failed = FailedJobRegistry("default", connection=connection).get_job_ids()
            for kind in NEWER:
                connection.hset(f"rq:job:{kind}", ENVELOPE_FIELD, sound[kind])
            command = [sys.executable, "-m", "rq.cli", "requeue", "--url", redis_url, "--all"]
            subprocess.run([*command, "--queue", "default"], check=True, capture_output=True, timeout=30)
            wait_until(lambda: len(depot.ran(connection)) == len(NEWER), what="the jobs to run")
            worker.stop()
            assert worker.exit_code() == 0
        yield Upgrade(written, refused, reasons, failed, depot.ran(connection))


def enqueue(connection: redis.Redis, redis_url: str, kind: str) -> bytes:
    """Put a job of a newer release into the queue; the envelope that this release would have written."""
    with depot.create_app(redis_url=redis_url).app_context():
        g.tenant = kind
        depot.note_g.options(job_id=kind, meta={"a": 1}, retry=Retry(max=2)).enqueue()
    envelope = fields_of(connection, kind)[ENVELOPE_FIELD]
    newer = NEWER[kind][0](envelope)
    assert newer != envelope
    connection.hset(f"rq:job:{kind}", ENVELOPE_FIELD, newer)
    return envelope


@pytest.mark.parametrize("kind", NEWER)
def test_a_newer_job_is_refused_with_both_versions(upgrade: Upgrade, kind: str) -> None:
    """It is in the failed registry; the reason names its version and ours."""
    assert kind in upgrade.failed
    assert f"WireVersionError: Job {kind} is refused: " in upgrade.reasons[kind]
    assert NEWER[kind][1] in upgrade.reasons[kind]


@pytest.mark.parametrize("kind", NEWER)
def test_a_newer_job_keeps_its_bytes(upgrade: Upgrade, kind: str) -> None:
    """Nothing of it is written but when and where it was refused: who can read it gets it whole."""
    written, refused = upgrade.written[kind], upgrade.refused[kind]
    assert refused.keys() == written.keys()
    assert {name: refused[name] for name in refused.keys() - OF_THE_RUN} == {
        name: written[name] for name in written.keys() - OF_THE_RUN
    }


def test_after_the_upgrade_a_requeue_runs_them(upgrade: Upgrade) -> None:
    """Each runs once, in its context."""
    assert sorted(upgrade.run) == sorted(NEWER)
