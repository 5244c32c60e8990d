"""Enqueue in one round trip: what crosses the wire, and what is there if it does not get across."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any, Final

import flask
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Callback
from rq.exceptions import DuplicateJobError
from rq.job import Job
from support import family
from support.family import in_request, leaf
from support.redis_proxy import RedisProxy
from support.working import status, work

from ctxjobs import ContextJob, Queue, sending, writing
from ctxjobs.embedded import EmbeddedRedis
from ctxjobs.errors import ArgumentsError, PartlyEnqueuedError, RedisUnavailableError
from ctxjobs.registry import registry

LATER: Final = datetime(2040, 1, 1, tzinfo=timezone.utc)
QUEUE: Final = "rq:queue:default"

WAYS: Final[dict[str, Callable[[], Any]]] = {
    "enqueue": lambda: leaf.enqueue("a"),
    "enqueue_at": lambda: leaf.enqueue_at(LATER, "a"),
    "enqueue_in": lambda: leaf.enqueue_in(60, "a"),
    "at the front": lambda: leaf.options(at_front=True).enqueue("a"),
    "unique": lambda: leaf.options(job_id="one", unique=True).enqueue("a"),
    "unique, later": lambda: leaf.options(job_id="one", unique=True).enqueue_in(60, "a"),
    "with a ttl": lambda: leaf.options(ttl=60).enqueue("a"),
    "with a callback": lambda: leaf.options(on_success=Callback("shop.tell")).enqueue("a"),
    "queue": lambda: family.jobs.queue().enqueue(leaf, "a"),
    "many": lambda: leaf.enqueue_many([("a",), ("b",), ("c",)]),
}


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    family.jobs._apps.clear()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[EmbeddedRedis]:
    """A Redis that no other test uses, because its settings are changed."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def own_connection(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(own_redis.url) as connection:
        connection.flushall()
        connection.config_set("maxmemory", 0)
        yield connection


@pytest.fixture
def app(own_connection: redis.Redis, own_redis: EmbeddedRedis) -> flask.Flask:
    return family.create_app(CTXJOBS_REDIS_URL=own_redis.url)


@pytest.fixture
def proxy(own_redis: EmbeddedRedis) -> Iterator[RedisProxy]:
    with RedisProxy(own_redis.socket_path) as running:
        yield running


def ids(connection: redis.Redis, key: str = QUEUE) -> list[str]:
    return [one.decode() for one in connection.lrange(key, 0, -1)]


# --- What crosses the wire -------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_one_round_trip(own_connection: redis.Redis, proxy: RedisProxy, way: str) -> None:
    """Job, envelope, push and index cross the wire together, and nothing else does."""
    app = family.create_app(CTXJOBS_REDIS_URL=proxy.url)
    in_request(app, leaf.enqueue)  # the first one connects, and brings the script
    own_connection.flushdb()
    proxy.requests.clear()
    in_request(app, WAYS[way], request="r-1", tenant="t", user="7")
    assert [request.count(b"EVALSHA") for request in proxy.requests] == [1]
    assert {key.split(b":")[3] for key in own_connection.keys("ctxjobs:index:*")} == {
        b"request",
        b"tenant",
        b"user",
    }


def test_many_take_few_round_trips(own_connection: redis.Redis, app: flask.Flask) -> None:
    """Each call of the script writes 500 jobs; all are there, in their order."""
    own_connection.config_resetstat()
    made = in_request(app, lambda: leaf.enqueue_many((str(n),) for n in range(1200)), tenant="t")
    assert own_connection.info("commandstats")["cmdstat_evalsha"]["calls"] == 3
    assert ids(own_connection) == [job.id for job in made]
    assert [job.args for job in made] == [(str(n),) for n in range(1200)]


def test_large_jobs_take_more_round_trips(own_connection: redis.Redis, app: flask.Flask) -> None:
    """No call of the script has more than 1 MiB of jobs; a job that is larger goes alone."""
    own_connection.config_resetstat()
    sizes = [400_000, 400_000, 400_000, 10, 2_000_000, 10]
    noise = [random.Random(size).randbytes(size) for size in sizes]  # which does not compress
    made = in_request(app, lambda: leaf.enqueue_many([(part,) for part in noise]))
    assert own_connection.info("commandstats")["cmdstat_evalsha"]["calls"] == 4
    assert ids(own_connection) == [job.id for job in made]


def test_none_of_many_if_one_cannot_be_made(own_connection: redis.Redis, app: flask.Flask) -> None:
    """All jobs are made before the first is written, also of a generator."""

    def calls() -> Iterator[tuple[str, ...]]:
        yield from ((str(n),) for n in range(700))
        yield ("one", "too many")

    with pytest.raises(ArgumentsError):
        in_request(app, lambda: leaf.enqueue_many(calls()))
    assert own_connection.keys("*") == []


def test_the_script_is_sent_again_when_redis_has_forgotten_it(
    own_connection: redis.Redis, app: flask.Flask
) -> None:
    """After SCRIPT FLUSH, or a restart, the job is enqueued, once."""
    in_request(app, leaf.enqueue)
    own_connection.script_flush()
    job = in_request(app, leaf.enqueue)
    assert ids(own_connection)[1:] == [job.id]


# --- A full Redis ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_full_redis_refuses_all_of_it(own_connection: redis.Redis, app: flask.Flask, way: str) -> None:
    """Where Redis has no memory left, enqueue raises, and nothing of the job is there."""
    own_connection.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="used memory > 'maxmemory'"):
        in_request(app, WAYS[way], request="r-1", tenant="t")
    assert own_connection.keys("*") == []
    own_connection.config_set("maxmemory", 0)
    in_request(app, WAYS[way], request="r-1", tenant="t")
    assert own_connection.keys("rq:job:*")


# --- An answer that is lost ------------------------------------------------------------------


@pytest.fixture
def patient(own_connection: redis.Redis, proxy: RedisProxy, app: flask.Flask) -> Iterator[Queue]:
    """A queue whose client sends again what has got no answer; the first answer is lost."""
    retry = {"retry": Retry(NoBackoff(), 3), "retry_on_error": [redis.ConnectionError]}
    with redis.Redis(port=proxy.port, **retry) as client:
        client.script_load(writing._SCRIPT)
        proxy.lose = lambda number: number == 1
        yield Queue(connection=client)


def test_a_lost_answer_enqueues_no_job_twice(
    own_connection: redis.Redis, app: flask.Flask, patient: Queue, proxy: RedisProxy
) -> None:
    """The client sends the script again, and it sees that it was run."""
    job = in_request(app, lambda: patient.enqueue(leaf, "a"), tenant="t")
    assert sum(b"EVALSHA" in request for request in proxy.requests) == 2
    assert ids(own_connection) == [job.id]


def test_a_lost_answer_is_no_duplicate(own_connection: redis.Redis, app: flask.Flask, patient: Queue) -> None:
    """A unique job is not taken for one that was there before it; another one of its id is."""
    job = in_request(app, lambda: patient.enqueue(leaf, "a", job_id="one", unique=True))
    assert ids(own_connection) == [job.id]
    with pytest.raises(DuplicateJobError):
        in_request(app, lambda: patient.enqueue(leaf, "b", job_id="one", unique=True))


def test_a_job_that_is_enqueued_twice_stands_there_twice(
    own_connection: redis.Redis, app: flask.Flask, patient: Queue, proxy: RedisProxy
) -> None:
    """What is enqueued on purpose once more is no answer that was lost."""
    proxy.lose = lambda number: False
    job = in_request(app, lambda: patient.enqueue(leaf, "a"))
    patient.enqueue_job(job)
    assert ids(own_connection) == [job.id, job.id]


def test_a_caller_that_tries_again(own_connection: redis.Redis, proxy: RedisProxy) -> None:
    """Who gets an error for an answer that was lost, and enqueues the same job again, has it there once."""
    app = family.create_app(CTXJOBS_REDIS_URL=proxy.url)
    queue = family.jobs.queue()
    job = in_request(app, lambda: queue.create_job(leaf, ("a",)))
    proxy.lose = lambda number: True
    with pytest.raises(redis.ConnectionError):
        queue.enqueue_job(job)
    proxy.lose = lambda number: False
    queue.enqueue_job(job)
    assert ids(own_connection) == [job.id]


def test_a_job_that_was_there_before_is_not_sent_again(
    own_connection: redis.Redis, proxy: RedisProxy
) -> None:
    """Of a job that is enqueued once more nothing tells whether it was; that is for the caller to decide."""
    app = family.create_app(CTXJOBS_REDIS_URL=proxy.url)
    job = in_request(app, leaf.enqueue)
    proxy.lose = lambda number: True
    with pytest.raises(redis.ConnectionError):
        family.jobs.queue().enqueue_job(job)
    assert ids(own_connection) == [job.id, job.id]


def test_tracing_libraries_see_the_command(
    own_connection: redis.Redis, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody has wrapped redis-py's ``execute_command``, the script goes through it."""
    seen = []
    execute = redis.Redis.execute_command

    def traced(self: redis.Redis, *args: Any, **options: Any) -> Any:
        seen.append(args[0])
        return execute(self, *args, **options)

    monkeypatch.setattr(redis.Redis, "execute_command", traced)
    job = in_request(app, leaf.enqueue)
    again = in_request(app, lambda: family.jobs.queue().enqueue_job(job))
    assert "EVALSHA" in seen
    assert ids(own_connection) == [job.id, again.id]


def test_redis_fails_after_some_of_many(
    own_connection: redis.Redis, app: flask.Flask, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says how many jobs are enqueued for sure; the others can be, each of them once."""
    monkeypatch.setattr(writing, "MAX_JOBS", 5)
    proxied = family.create_app(CTXJOBS_REDIS_URL=proxy.url)
    own_connection.script_load(writing._SCRIPT)
    proxy.lose = lambda number: number > 1
    with pytest.raises(PartlyEnqueuedError) as caught:
        in_request(proxied, lambda: leaf.enqueue_many((str(n),) for n in range(12)), tenant="t")
    error = caught.value
    assert (error.enqueued, len(error.jobs)) == (5, 12)
    assert "5 of 12 jobs are enqueued" in str(error)
    assert own_connection.llen(QUEUE) == 10  # those of the second call are there; its answer is lost
    proxy.lose = lambda number: False
    in_request(proxied, lambda: family.jobs.queue().enqueue_jobs(error.jobs[error.enqueued :]))
    assert ids(own_connection) == [job.id for job in error.jobs]


def test_redis_fails_before_any_of_many(own_connection: redis.Redis, proxy: RedisProxy) -> None:
    """If not even the first jobs are enqueued, the error is that of one job."""
    app = family.create_app(CTXJOBS_REDIS_URL=proxy.url)
    proxy.lose = lambda number: True
    with pytest.raises(RedisUnavailableError):
        in_request(app, lambda: leaf.enqueue_many((str(n),) for n in range(1200)))


# --- Connections -----------------------------------------------------------------------------


def test_a_connection_that_redis_has_just_closed(own_connection: redis.Redis, app: flask.Flask) -> None:
    """A job is enqueued over another one."""
    in_request(app, leaf.enqueue)
    own_connection.client_kill_filter(_type="normal", skipme=True)
    in_request(app, leaf.enqueue)
    assert own_connection.llen(QUEUE) == 2


def test_a_connection_that_redis_has_closed_meanwhile(
    own_connection: redis.Redis, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was idle is looked at before it is used, because not every command may be sent again."""
    monkeypatch.setattr(sending, "_FRESH_S", 0.0)
    job = in_request(app, leaf.enqueue)
    own_connection.client_kill_filter(_type="normal", skipme=True)
    family.jobs.queue().enqueue_job(job)
    assert ids(own_connection) == [job.id, job.id]


def test_a_redis_that_is_gone(app: flask.Flask) -> None:
    """Where Redis is gone after a job was enqueued, the next one says so."""
    with EmbeddedRedis() as server:
        gone = family.create_app(CTXJOBS_REDIS_URL=server.url)
        in_request(gone, leaf.enqueue)
    with pytest.raises(RedisUnavailableError):
        in_request(gone, leaf.enqueue)


def test_an_answer_goes_to_whoever_has_asked(
    own_connection: redis.Redis, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a wait is broken off, as by Ctrl-C, the next one does not get the answer to it."""
    in_request(app, leaf.options(job_id="one", unique=True).enqueue)

    def interrupted(self: Any, **_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(redis.connection.AbstractConnection, "read_response", interrupted)
        with pytest.raises(KeyboardInterrupt):
            in_request(app, leaf.enqueue)
    with pytest.raises(DuplicateJobError):
        in_request(app, leaf.options(job_id="one", unique=True).enqueue)


def test_a_forked_process_connects_by_itself(own_connection: redis.Redis, app: flask.Flask) -> None:
    """It does not use the connection of its parent, which goes on using it."""

    def connections() -> int:
        return int(own_connection.info("stats")["total_connections_received"])

    in_request(app, leaf.enqueue)
    before = connections()
    child = os.fork()
    if child == 0:
        in_request(app, leaf.enqueue)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    in_request(app, leaf.enqueue)
    assert (connections(), own_connection.llen(QUEUE)) == (before + 1, 3)


def test_a_client_with_a_limit_keeps_to_it(own_redis: EmbeddedRedis, own_connection: redis.Redis) -> None:
    """A URL that says how many connections there may be gets no more of them."""
    app = family.create_app(CTXJOBS_REDIS_URL=f"{own_redis.url}?max_connections=1")
    before = own_connection.info("clients")["connected_clients"]
    job = in_request(app, leaf.enqueue)
    assert job.get_status() == "queued"
    assert own_connection.info("clients")["connected_clients"] == before + 1


def test_jobs_that_are_enqueued_so_are_run(own_connection: redis.Redis, app: flask.Flask) -> None:
    """A worker runs them, and RQ's own Job reads their results."""
    made = in_request(app, lambda: leaf.enqueue_many([("a",), ("b",)]), tenant="t")
    work(own_connection, system_app="family")
    assert {status(own_connection, job.id) for job in made} == {"finished"}
    results = [Job.fetch(job.id, connection=own_connection).return_value() for job in made]
    assert results == ["a", "b"]
    assert isinstance(made[0], ContextJob)
