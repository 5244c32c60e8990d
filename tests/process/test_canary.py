"""A captured secret is shown nowhere: secrets are planted, all goes wrong that can, all that is said is read.

The web app in this process and the workers in theirs log at DEBUG. A job's own exception may say what the job
wants; the jobs here do not.
"""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from support import canary_app
from support.both_hosts import WEBS
from support.canary_app import CANARY, JOBS, MISTAKES, POLICY, PROPAGATOR, REQUEST
from support.matrix.workers import run_process
from support.worker_process import run_worker
from support.working import fields_of, status

from ctxjobs import Override
from ctxjobs.propagators import base
from ctxjobs.registry import registry

#: Jobs that are changed in Redis; each is ``fine`` otherwise.
TAMPERED = {
    "flipped": lambda fields: {"ctxjobs": fields["ctxjobs"].replace(CANARY.encode(), b"OTHERS", 1)},
    "swapped": lambda fields: {"data": fields["data"][:-1]},
    "late": lambda fields: {"created_at": "2020-01-01T00:00:00.000000Z"},
    "garbled": lambda fields: {"timeout": "soon", "meta": b"\x80" + CANARY.encode()},
}
#: Jobs that fail, all but ``garbled``: RQ cannot read what stands there, either.
REQUEUED = ("broken", "missing", "unstorable", "flipped", "swapped", "late")
SOURCES = ("web", "worker", "stock worker", "rq", "reprs", "results", "keys", "fields")


@dataclass
class Scene:
    """All that was said, by where it was said, and what became of the jobs."""

    said: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    envelopes: bytes = b""
    fine: Any = None


@pytest.fixture(scope="module", params=WEBS)
def scene(request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: Any) -> Iterator[Scene]:
    host, folder, scene = request.param, tmp_path_factory.mktemp("canary"), Scene()
    with redis.Redis.from_url(redis_url) as connection, pytest.MonkeyPatch.context() as patch:
        connection.flushall()
        patch.setenv("CTXJOBS_REDIS_URL", redis_url)
        patch.setattr(registry, "apps", {})
        patch.setattr(base, "_propagators", {PROPAGATOR.name: PROPAGATOR})
        with logged() as log:
            app = canary_app.create_app(host)
            visit(app)
        scene.said["web"] = log.getvalue()
        scene.envelopes = b"".join(fields_of(connection, name)["ctxjobs"] for name in JOBS)
        for job_id, change in TAMPERED.items():
            connection.hset(f"rq:job:{job_id}", mapping=change(fields_of(connection, job_id)))
        scene.said["reprs"] = reprs(app)
        scene.said["worker"] = work(folder / "log", host, redis_url)
        scene.statuses = {name: status(connection, name) for name in (*JOBS, *TAMPERED)}
        scene.fine = Job("fine", connection=connection).latest_result().return_value
        scene.said["rq"] = ask_rq(redis_url)
        scene.said["stock worker"] = work_as_rq_does(host, redis_url)
        scene.said["results"] = results(connection)
        scene.said["keys"] = repr(list(connection.scan_iter("*")))
        scene.said["fields"] = repr([shown_fields(connection, name) for name in (*JOBS, *TAMPERED)])
        yield scene


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """What is logged in this process, on every level, tracebacks included."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel("DEBUG")
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def visit(app: Any) -> None:
    """Enqueue everything, and make every mistake."""
    client = app.test_client()
    for name, job_id in (*((name, name) for name in JOBS), *(("fine", job_id) for job_id in TAMPERED)):
        assert client.open(f"/enqueue/{name}/{job_id}", **REQUEST).text == "enqueued"
    for name in MISTAKES:
        assert client.open(f"/mistake/{name}", **REQUEST).status_code == 500, name


def reprs(app: Any) -> str:
    """What our objects show of themselves."""
    extension = app.extensions["ctxjobs"]
    jobs = [extension.queue().fetch_job(name) for name in (*JOBS, *TAMPERED)]
    objects: list[Any] = [extension, registry, POLICY, Override(g={"token": CANARY}), PROPAGATOR]
    for job in jobs:
        objects += [job, job.description, job.envelope, job.snapshot, job.refusal, job.meta]
    prepared = app.extensions["prepared"]
    objects += [prepared, prepared.app.settings, prepared.app.keyring]
    return "\n".join(f"{one!r} {one}" for one in objects)


def work(log_path: Path, host: str, redis_url: str) -> str:
    """What our worker says, and its web of processes."""
    spec = ("--app", f"support.canary_app:serve({host!r})")
    options = ("--burst", "--logging-level", "DEBUG")
    with run_worker(log_path, *options, app=spec, redis_url=redis_url) as worker:
        assert worker.exit_code(timeout_s=30) == 0, worker.log
    return worker.log


def ask_rq(redis_url: str) -> str:
    """What RQ's own commands say."""
    said = ""
    for command in (["info"], ["requeue", "--queue", "default", *REQUEUED]):
        line = [sys.executable, "-m", "rq.cli", *command, "--url", redis_url]
        done = subprocess.run(line, check=True, capture_output=True, text=True, timeout=30)
        said += done.stdout + done.stderr
    return said


def work_as_rq_does(host: str, redis_url: str) -> str:
    """What a stock worker says about the requeued jobs."""
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--verbose"]
    command += ["--worker-class=rq.SimpleWorker", "--url", redis_url, "default"]
    return run_process(command, redis_url, CTXJOBS_APP=f"support.canary_app:serve({host!r})")


def results(connection: redis.Redis) -> str:
    """Tracebacks and outcomes, as RQ keeps them."""
    failed = FailedJobRegistry(queue=Queue(connection=connection)).get_job_ids()
    assert {*failed} >= {"broken", "missing", *TAMPERED} - {"flipped"}
    all_of_them = (
        result for name in (*JOBS, *TAMPERED) for result in Job(name, connection=connection).results()
    )
    return "\n".join(f"{result.exc_string} {result.return_value!r}" for result in all_of_them)


def shown_fields(connection: redis.Redis, name: str) -> dict[str, bytes]:
    """What tools show of a job's hash: all but the context, the call, and ``meta``, which was changed."""
    fields = fields_of(connection, name)
    return {name: value for name, value in fields.items() if name not in ("ctxjobs", "data", "meta")}


@pytest.mark.parametrize("source", SOURCES)
def test_no_secret_is_shown(scene: Scene, source: str) -> None:
    """Not one, in no line."""
    assert [line for line in scene.said[source].splitlines() if CANARY in line] == []


def test_the_secrets_did_travel(scene: Scene) -> None:
    """The job that goes well has all nine, and they lie in Redis: there was something to show."""
    assert scene.fine == 9
    assert scene.envelopes.count(CANARY.encode()) >= 9


def test_everything_was_said_that_should_be(scene: Scene) -> None:
    """What went wrong is told, in full, by its type and its name: there was something to read."""
    for name in ("UnencodableValueError", "ValueLimitError", "SnapshotTooLargeError", "ArgumentsError"):
        assert name in scene.said["web"]
    for name in ("NotCapturedAttributeError", "BadSignatureError", "EnvelopeMismatchError", "g.skipped"):
        assert name in scene.said["worker"]
    assert scene.statuses == {
        **dict.fromkeys([*TAMPERED, "broken", "missing", "unstorable"], "failed"),
        **dict.fromkeys(["fine", "dropped"], "finished"),
    }
