"""Refused jobs: what is wrong with them, and that nothing of them runs (real Redis, real worker)."""

from __future__ import annotations

import pickle
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import redis
import rq
from rq import Callback, Retry
from rq.registry import FailedJobRegistry
from rq.webhook import Webhook
from support import depot
from support.working import fields_of, status, why_failed, work

from ctxjobs import App
from ctxjobs.keys import ENVELOPE_FIELD
from ctxjobs_worker.worker import Worker


class Bomb:
    """Says that it ran when it is unpickled."""

    def __init__(self, url: str, job_id: str) -> None:
        self.line = f"import redis; redis.Redis.from_url({url!r}).rpush('ran', 'bomb {job_id}')"

    def __reduce__(self) -> Any:
        return exec, (self.line,)


@dataclass(frozen=True)
class Victim:
    """The job that a test changes in Redis."""

    connection: redis.Redis
    url: str
    id: str

    def set(self, **fields: Any) -> None:
        self.connection.hset(f"rq:job:{self.id}", mapping=fields)

    def remove(self, *names: str) -> None:
        self.connection.hdel(f"rq:job:{self.id}", *names)

    def get(self, name: str) -> bytes:
        return fields_of(self.connection, self.id)[name]

    def bomb(self) -> bytes:
        return pickle.dumps(Bomb(self.url, self.id))


# --- What is changed, and what the reason says ----------------------------------------------


def set_fields(**fields: Any) -> Callable[[Victim], None]:
    return lambda victim: victim.set(**fields)


def edit_envelope(edit: Callable[[bytes], bytes]) -> Callable[[Victim], None]:
    return lambda victim: victim.set(**{ENVELOPE_FIELD: edit(victim.get(ENVELOPE_FIELD))})


def copy_envelope(victim: Victim) -> None:
    other = depot.note.options(queue="elsewhere").enqueue("other")
    victim.set(**{ENVELOPE_FIELD: fields_of(victim.connection, other.id)[ENVELOPE_FIELD]})


def set_data(function: str) -> Callable[[Victim], None]:
    return lambda victim: victim.set(
        data=zlib.compress(pickle.dumps((function, None, [f"run {victim.id}"], {})))
    )


def bomb_in(field: str, *removed: str) -> Callable[[Victim], None]:
    return lambda victim: (victim.set(**{field: victim.bomb()}), victim.remove("nothing", *removed))[0]


def another_webhook(victim: Victim) -> None:
    victim.set(webhooks=victim.get("webhooks").replace(b"/hook", b"/stolen"))


UNREADABLE = "do not read as RQ writes them"
CHANGES: dict[str, tuple[Callable[[Victim], None], str]] = {
    "data": (set_data("support.depot.note"), "signed for another data"),
    "data-bomb": (bomb_in("data"), "signed for another data"),
    "data-huge": (set_fields(data=zlib.compress(bytes(17 << 20))), "it has more than 16777216 bytes"),
    "data-gone": (lambda victim: victim.remove("data"), "signed for another data"),
    "envelope": (edit_envelope(lambda envelope: envelope[:-3] + b"AAA"), "is not signed by app 'depot'"),
    "envelope-copied": (copy_envelope, "signed for another job id"),
    "envelope-app": (edit_envelope(lambda e: e.replace(b"depot", b"depart", 1)), "belongs to app 'depart'"),
    "envelope-newer": (
        edit_envelope(lambda envelope: b"2" + envelope[1:]),
        "its envelope has wire version 2",
    ),
    "envelope-newest": (set_fields(**{ENVELOPE_FIELD: b"3:{}"}), "its envelope has wire version 3"),
    "envelope-garbage": (edit_envelope(lambda envelope: b"\xff\x00"), "not one that ctxjobs writes"),
    "envelope-empty": (edit_envelope(lambda envelope: b""), "not one that ctxjobs writes"),
    "envelope-gone": (lambda victim: victim.remove(ENVELOPE_FIELD), "its job has no envelope"),
    "plain-data-bomb": (bomb_in("data", ENVELOPE_FIELD), "it has no envelope"),
    "plain-meta-bomb": (bomb_in("meta", ENVELOPE_FIELD), "its job has no envelope"),
    "success-callback": (set_fields(success_callback_name="os.abort"), "signed for another callbacks"),
    "failure-callback": (set_fields(failure_callback_name="os.abort"), "signed for another callbacks"),
    "stopped-callback": (set_fields(stopped_callback_name="os.abort"), "signed for another callbacks"),
    "webhooks": (another_webhook, "signed for another webhooks"),
    "origin": (set_fields(origin="elsewhere"), "signed for another queue"),
    "created-at": (set_fields(created_at="2020-01-01T00:00:00.000000Z"), "signed for another created at"),
    "created-at-garbage": (set_fields(created_at="yesterday"), "signed for another created at"),
    "origin-garbage": (set_fields(origin=b"\xff"), "signed for another queue"),
    "several-garbage": (
        set_fields(status="weird", timeout=b"\xff", origin=b"\xff"),
        "signed for another queue",
    ),
    "timeout-huge": (set_fields(timeout="9" * 30), UNREADABLE),
    "failure-ttl-huge": (set_fields(failure_ttl="9" * 30), UNREADABLE),
    "callback-timeout-huge": (set_fields(failure_callback_timeout="9" * 30), UNREADABLE),
    "retry-intervals-no-numbers": (set_fields(retry_intervals='["x"]'), UNREADABLE),
    "repeat-intervals-no-list": (set_fields(repeat_intervals="7"), UNREADABLE),
    "retries-left": (set_fields(retries_left="x"), UNREADABLE),
    "status": (set_fields(status="weird"), UNREADABLE),
    "timeout": (set_fields(timeout="abc"), UNREADABLE),
    "dependency-ids-no-list": (set_fields(dependency_ids="7"), UNREADABLE),
    "dependency-ids": (set_fields(dependency_ids="{"), UNREADABLE),
    "retry-intervals": (set_fields(retry_intervals=b"\xff"), UNREADABLE),
}


# --- One worker meets them all --------------------------------------------------------------


@dataclass(frozen=True)
class Scene:
    """What is left after one worker met every changed job, and a healthy one after each."""

    ran: list[str]
    failed: list[str]
    reasons: dict[str, str]
    statuses: dict[str, str]
    dependents: dict[str, str]
    hooks: list[str]
    before: dict[str, dict[str, bytes]]
    after: dict[str, dict[str, bytes]]

    def ran_for(self, job_id: str) -> list[str]:
        return [line for line in self.ran if line.endswith(f" {job_id}")]


@pytest.fixture(scope="module")
def scene(redis_url: str) -> Iterator[Scene]:
    with redis.Redis.from_url(redis_url) as connection, web_server() as (address, hooks):
        connection.flushall()
        depot.create_app(redis_url=redis_url)
        for job_id in ("unchanged", *CHANGES):
            enqueue_all(job_id, address)
        for job_id, (change, _) in CHANGES.items():
            change(Victim(connection, redis_url, job_id))
        before = {job_id: fields_of(connection, job_id) for job_id in CHANGES}
        work(connection, worker_class=Worker)
        yield Scene(
            ran=depot.ran(connection),
            failed=FailedJobRegistry("default", connection=connection).get_job_ids(),
            reasons={job_id: why_failed(connection, job_id) for job_id in CHANGES},
            statuses={job_id: status(connection, job_id) for job_id in CHANGES},
            dependents={job_id: status(connection, f"after-{job_id}") for job_id in ("unchanged", *CHANGES)},
            hooks=hooks,
            before=before,
            after={job_id: fields_of(connection, job_id) for job_id in CHANGES},
        )


def enqueue_all(job_id: str, address: str) -> None:
    """A job with everything that a job may have, one that waits for it, and a healthy one."""
    callback = Callback(depot.on_any)
    options: Any = {
        "retry": Retry(max=2),
        "on_success": callback,
        "on_failure": callback,
        "meta": {"step": 1},
    }
    hook = Webhook(f"{address}/hook?{job_id}", "failed")
    job = depot.fail.options(job_id=job_id, webhooks=[hook], **options).enqueue(f"run {job_id}")
    waits_for = rq.job.Dependency(job, allow_failure=True)
    depot.note.options(job_id=f"after-{job_id}", depends_on=waits_for).enqueue(f"dependent {job_id}")
    depot.note.enqueue(f"healthy {job_id}")


@contextmanager
def web_server() -> Iterator[tuple[str, list[str]]]:
    """A web server: its address, and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()
        thread.join()


every_change = pytest.mark.parametrize("job_id", CHANGES)


def test_an_unchanged_job_does_all_that_the_refused_ones_must_not(scene: Scene) -> None:
    """Unchanged, the job runs, retries, calls back, calls its webhook and releases its dependent."""
    expected = ["run"] * 3 + ["callback"] * 3 + ["healthy", "dependent"]
    assert sorted(line.split()[0] for line in scene.ran_for("unchanged")) == sorted(expected)
    assert scene.dependents["unchanged"] == "finished"
    assert scene.hooks == ["/hook?unchanged"]


@every_change
def test_nothing_of_a_refused_job_runs_and_the_worker_goes_on(scene: Scene, job_id: str) -> None:
    """No function, callback, pickle or retry of a refused job runs; the job behind it does."""
    assert scene.ran_for(job_id) == [f"healthy {job_id}"]


@every_change
def test_a_refused_job_fails_with_the_reason(scene: Scene, job_id: str) -> None:
    """A refused job is in the failed registry of the queue where it was found, with the reason."""
    assert (scene.statuses[job_id], scene.failed.count(job_id)) == ("failed", 1)
    assert f"Job {job_id} is refused: " in scene.reasons[job_id]
    assert CHANGES[job_id][1] in scene.reasons[job_id]


@every_change
def test_the_dependents_of_a_refused_job_stay_deferred(scene: Scene, job_id: str) -> None:
    """A refused job releases no dependent, not even one that allows failures."""
    assert scene.dependents[job_id] == "deferred"


@every_change
def test_a_refused_job_calls_no_webhook(scene: Scene, job_id: str) -> None:
    """Neither its own webhook nor one that was put there is called."""
    assert [path for path in scene.hooks if path.endswith(job_id)] == []


@every_change
def test_a_refused_job_keeps_its_bytes(scene: Scene, job_id: str) -> None:
    """What decides about a job, and what it would do, is byte for byte what it was."""
    where_it_is = {"status", "ended_at", "started_at", "worker_name", "last_heartbeat", "exc_info"}
    before, after = scene.before[job_id], scene.after[job_id]
    assert {name: after.get(name) for name in before.keys() - where_it_is} == {
        name: before[name] for name in before.keys() - where_it_is
    }


# --- Jobs that wait for each other ----------------------------------------------------------


@pytest.fixture
def connection(redis_url: str, redis_connection: redis.Redis) -> redis.Redis:
    """An empty Redis, with the app ``depot`` bound to it."""
    depot.create_app(redis_url=redis_url)
    return redis_connection


@pytest.mark.parametrize("fields", [{"data": b""}, {"dependency_ids": "{"}], ids=["data", "ids"])
def test_a_changed_dependent_does_not_fail_its_parent(
    connection: redis.Redis, fields: dict[str, Any]
) -> None:
    """A parent whose dependent cannot be read finishes, and releases its other dependent."""
    parent = depot.note.enqueue("parent")
    for job_id in ("changed", "sound"):
        depot.note.options(depends_on=parent, job_id=job_id).enqueue(job_id)
    connection.hset("rq:job:changed", mapping=fields)
    work(connection)
    assert (status(connection, parent.id), status(connection, "sound")) == ("finished", "finished")


@pytest.fixture
def annex(redis_url: str) -> Iterator[App]:
    """A second app."""
    yield depot.create_app(redis_url=redis_url, CTXJOBS_APP_ID="annex")
    depot.forget("annex")


@pytest.mark.parametrize("parent", [depot.note, depot.fail], ids=["finished", "failed"])
def test_a_dependent_of_another_app_is_released(
    redis_url: str, connection: redis.Redis, annex: App, parent: Any
) -> None:
    """A worker that does not know a dependent's app puts it on its queue, where its own worker runs it."""
    with depot.create_app(redis_url=redis_url).app_context():
        first = parent.enqueue("first")
    with annex.app_context():
        waits_for = rq.job.Dependency(first, allow_failure=True)
        depot.note.options(queue="annex", depends_on=waits_for, job_id="second").enqueue("second")
    depot.forget("annex")
    work(connection)
    depot.create_app(redis_url=redis_url, CTXJOBS_APP_ID="annex")
    work(connection, queue="annex")
    assert (depot.ran(connection), status(connection, "second")) == (["first", "second"], "finished")
