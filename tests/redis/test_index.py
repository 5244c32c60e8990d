"""The index in Redis: written with each job, whichever way it is enqueued, and gone with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import flask
import pytest
import redis
from redis.connection import AbstractConnection
from rq import Retry
from rq.group import Group
from rq.registry import FailedJobRegistry
from support import family
from support.family import branch, fail, in_request, leaf
from support.waiting import wait_until
from support.working import status, work

from ctxjobs import ContextJob, Override
from ctxjobs.inspection import find_jobs
from ctxjobs.keys import INDEX_PREFIX
from ctxjobs.registry import registry

YEAR_S = 365 * 86_400
DAY_S = 86_400


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    family.jobs._apps.clear()


@pytest.fixture
def app(redis_connection: redis.Redis, redis_url: str) -> flask.Flask:
    return family.create_app(CTXJOBS_REDIS_URL=redis_url)


def keys(connection: redis.Redis, kind: str = "") -> list[str]:
    """The keys of the index, of one kind or of all."""
    found = [key.decode() for key in connection.keys(f"{INDEX_PREFIX}*")]
    return [key for key in found if not kind or key.split(":")[3] == kind]


def kept_s(connection: redis.Redis, job_id: str) -> float:
    """For how many seconds the index keeps a job of tenant ``t``; the only one."""
    [key] = keys(connection, "tenant")
    [(member, until)] = connection.zrange(key, 0, -1, withscores=True)
    assert member.decode().endswith(f":{job_id}")
    assert abs(connection.ttl(key) - (until - time.time())) < 5  # the key goes with its last member
    return until - time.time()


# --- Every way to enqueue --------------------------------------------------------------------

SOON = timedelta(seconds=60)
WAYS: dict[str, Callable[[redis.Redis], Any]] = {
    "enqueue": lambda _: leaf.enqueue(),
    "enqueue_in": lambda _: leaf.enqueue_in(60),
    "enqueue_at": lambda _: leaf.enqueue_at(datetime.now(timezone.utc) + SOON),
    "enqueue_many": lambda _: leaf.enqueue_many([("a",), ("b",)]),
    "many that wait for another": lambda _: leaf.options(depends_on="first").enqueue_many([("a",), ("b",)]),
    "one that waits for another": lambda _: leaf.options(depends_on="first").enqueue(),
    "unique": lambda _: leaf.options(job_id="one", unique=True).enqueue(),
    "unique, later": lambda _: leaf.options(job_id="one", unique=True).enqueue_in(60),
    "group": lambda r: leaf.options(group=Group.create(r)).enqueue_many([("a",), ("b",)]),
    "queue": lambda _: family.jobs.queue().enqueue(leaf),
    "queue, synchronous": lambda r: type(family.jobs.queue())("s", connection=r, is_async=False).enqueue(
        leaf
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_enqueue_is_indexed(redis_connection: redis.Redis, app: flask.Flask, way: str) -> None:
    """Each job is found by its request, its tenant and its user."""
    leaf.options(job_id="first").enqueue()
    enqueue = WAYS[way]
    found = in_request(app, lambda: enqueue(redis_connection), request="r-1", tenant="t", user="7")
    ids = sorted(job.id for job in (found if isinstance(found, list) else [found]))
    for asked in ({"request": "r-1"}, {"tenant": "t"}, {"user": "7"}):
        assert sorted(row.id for row in find_jobs(app, **asked)) == ids


def test_a_pipeline_of_the_caller_carries_the_index(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """Until it is executed, neither the job nor its entries are there."""
    with redis_connection.pipeline() as pipeline:
        in_request(app, leaf.options(pipeline=pipeline).enqueue, tenant="t")
        assert not keys(redis_connection)
        pipeline.execute()
    assert len(find_jobs(app, tenant="t")) == 1


def test_a_job_costs_no_more_round_trips(
    redis_connection: redis.Redis, app: flask.Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One enqueue is as many exchanges with Redis with the index as without it."""

    def exchanges(**config: Any) -> int:
        one = family.create_app(CTXJOBS_REDIS_URL=app.config["CTXJOBS_REDIS_URL"], **config)
        in_request(one, leaf.enqueue, tenant="t")  # the first one asks for the server's version
        sent: list[Any] = []
        send = AbstractConnection.send_packed_command
        with monkeypatch.context() as patch:
            patch.setattr(
                AbstractConnection,
                "send_packed_command",
                lambda self, *args, **kwargs: (sent.append(1), send(self, *args, **kwargs))[1],
            )
            in_request(one, leaf.enqueue, tenant="t")
        return len(sent)

    assert exchanges() == exchanges(CTXJOBS_INDEX=False) > 0


# --- What is indexed -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "asked"),
    [
        ("acme", "acme"),
        (7, 7),
        (7, "7"),
        (UUID(int=5), UUID(int=5)),
        (UUID(int=5), str(UUID(int=5))),
        ("ä" * 3000, "ä" * 3000),
    ],
    ids=["str", "int", "int as str", "UUID", "UUID as str", "long"],
)
def test_values_that_are_looked_up(
    redis_connection: redis.Redis, app: flask.Flask, tenant: Any, asked: Any
) -> None:
    """Text, numbers and UUIDs are found by themselves and by their text."""
    job = in_request(app, leaf.enqueue, tenant=tenant)
    assert [row.id for row in find_jobs(app, tenant=asked)] == [job.id]


@pytest.mark.parametrize("tenant", [["acme"], {"id": 1}, 1.5, True, ""], ids=repr)
def test_values_that_are_not(redis_connection: redis.Redis, app: flask.Flask, tenant: Any) -> None:
    """What is no id is not indexed, and the job is enqueued all the same."""
    in_request(app, leaf.enqueue, tenant=tenant)
    assert not keys(redis_connection, "tenant")


def test_names_of_keys_tell_no_value(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """An address of a user is in no name of a key, and names are short."""
    in_request(app, leaf.enqueue, request="r" * 128, tenant="acme", user="jo@example.org")
    found = keys(redis_connection)
    assert len(found) == 3
    assert not [key for key in found if "example" in key or "acme" in key or "rrr" in key or len(key) > 80]


def test_another_place_for_the_tenant(redis_connection: redis.Redis, redis_url: str) -> None:
    """CTXJOBS_INDEX says where the tenant is, and leaves the other kinds as they are."""
    app = family.create_app(CTXJOBS_REDIS_URL=redis_url, CTXJOBS_INDEX={"tenant": "g.org", "user": None})

    def enqueue() -> ContextJob:
        flask.g.org = 12
        return leaf.enqueue()

    job = in_request(app, enqueue, request="r-1", tenant="acme", user="7")
    assert sorted(key.split(":")[3] for key in keys(redis_connection)) == ["request", "tenant"]
    assert [row.id for row in find_jobs(app, tenant=12)] == [job.id]


def test_an_override_is_indexed(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """A job for somebody else is that user's and that tenant's."""
    other = leaf.options(context=Override(user="8", g={"tenant": "globex"}))
    job = in_request(app, other.enqueue, tenant="acme", user="7")
    assert [row.id for row in find_jobs(app, user="8", tenant="globex")] == [job.id]
    assert find_jobs(app, user="7") == find_jobs(app, tenant="acme") == []


def test_nobody_is_no_user(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """The job of an anonymous user is not indexed by user."""
    in_request(app, leaf.enqueue, tenant="acme")
    assert not keys(redis_connection, "user")


def test_no_index(redis_connection: redis.Redis, redis_url: str) -> None:
    """CTXJOBS_INDEX=False writes nothing."""
    app = family.create_app(CTXJOBS_REDIS_URL=redis_url, CTXJOBS_INDEX=False)
    in_request(app, leaf.enqueue, request="r-1", tenant="acme", user="7")
    work(redis_connection, system_app="family")
    assert not keys(redis_connection)


# --- As long as the job ----------------------------------------------------------------------


@pytest.fixture
def enqueue(app: flask.Flask) -> Callable[..., ContextJob]:
    """Enqueue a job of tenant ``t``, outside of any request."""

    def enqueue_with(function: Any = leaf, **options: Any) -> ContextJob:
        with app.app_context():
            flask.g.tenant = "t"
            job: ContextJob = function.options(**options).enqueue()
        return job

    return enqueue_with


@pytest.mark.parametrize(
    ("options", "expected_s"),
    [({}, YEAR_S + DAY_S), ({"ttl": 600}, 600 + DAY_S)],
    ids=["no ttl", "ttl"],
)
def test_kept_while_it_waits(
    redis_connection: redis.Redis, enqueue: Callable[..., ContextJob], options: Any, expected_s: float
) -> None:
    """A job is in the index for as long as it may wait, and a day more."""
    job = enqueue(**options)
    assert kept_s(redis_connection, job.id) == pytest.approx(expected_s, abs=70)


def test_kept_until_it_is_due(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """The time of a job that is due later begins then."""
    with app.app_context():
        flask.g.tenant = "t"
        job = leaf.options(ttl=600).enqueue_in(30 * DAY_S)
    assert kept_s(redis_connection, job.id) == pytest.approx(31 * DAY_S + 600, abs=70)


@pytest.mark.parametrize(
    ("function", "options", "expected_s"),
    [
        (leaf, {}, 500),
        (leaf, {"result_ttl": 90}, 90),
        (leaf, {"result_ttl": -1}, 2**31),
        (fail, {}, YEAR_S),
        (fail, {"failure_ttl": 90}, 90),
    ],
    ids=["finished", "result_ttl", "kept for ever", "failed", "failure_ttl"],
)
def test_kept_after_its_end(
    redis_connection: redis.Redis,
    enqueue: Callable[..., ContextJob],
    function: Any,
    options: Any,
    expected_s: float,
) -> None:
    """A job that has ended is in the index for as long as RQ keeps it."""
    job = enqueue(function, **options)
    work(redis_connection, system_app="family")
    assert kept_s(redis_connection, job.id) == pytest.approx(expected_s, abs=70)


def test_a_retry_waits_again(redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]) -> None:
    """A job that has failed and will be tried again is kept as one that waits."""
    job = enqueue(fail, failure_ttl=90, retry=Retry(max=1, interval=3600))
    work(redis_connection, system_app="family")
    assert status(redis_connection, job.id) == "scheduled"
    assert kept_s(redis_connection, job.id) > YEAR_S


def test_a_requeued_job_waits_again(
    redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]
) -> None:
    """A failed job that is requeued is kept as one that waits."""
    job = enqueue(fail, failure_ttl=90)
    work(redis_connection, system_app="family")
    FailedJobRegistry(connection=redis_connection, job_class=ContextJob).requeue(job.id)
    assert kept_s(redis_connection, job.id) > YEAR_S


def test_a_result_that_is_not_kept(redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]) -> None:
    """With result_ttl=0 the job is gone at its end, and with it the key."""
    enqueue(result_ttl=0)
    assert keys(redis_connection, "tenant")
    work(redis_connection, system_app="family")
    assert not keys(redis_connection)


def test_a_deleted_job(redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]) -> None:
    """delete() takes the job out of the index, whoever has fetched it."""
    ContextJob.fetch(enqueue().id, redis_connection).delete()
    assert not keys(redis_connection)


def test_a_long_kept_job_is_not_lost_over_a_short_one(
    redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]
) -> None:
    """The key lives as long as the job that is kept longest."""
    enqueue(fail)
    enqueue(leaf, result_ttl=90)
    work(redis_connection, system_app="family")
    [key] = keys(redis_connection, "tenant")
    assert redis_connection.zcard(key) == 2
    assert redis_connection.ttl(key) == pytest.approx(YEAR_S, abs=70)


def test_what_is_over_is_removed(redis_connection: redis.Redis, enqueue: Callable[..., ContextJob]) -> None:
    """Members whose time is over go with one of the next jobs, so that a busy tenant's key does not grow."""
    enqueue(result_ttl=90)
    [key] = keys(redis_connection, "tenant")
    redis_connection.zadd(key, {"1:long-gone": time.time() - 120})
    wait_until(
        lambda: enqueue() and redis_connection.zscore(key, "1:long-gone") is None,
        timeout_s=60.0,
        what="what is over is removed",
    )


def test_a_long_kept_job_among_many(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """Of jobs that are enqueued together, the one that may wait longest says how long their key lives."""
    queue = family.jobs.queue()
    datas = [queue.prepare_data(leaf, ("a",), ttl=ttl) for ttl in (60, 3 * DAY_S, 120)]
    in_request(app, lambda: queue.enqueue_many(datas), tenant="t", request="r")
    assert redis_connection.ttl(keys(redis_connection, "tenant")[0]) == pytest.approx(4 * DAY_S, abs=180)


def test_many_jobs_always_remove_what_is_over(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """What is over goes with every call that enqueues many jobs."""
    in_request(app, leaf.enqueue, tenant="t")
    [key] = keys(redis_connection, "tenant")
    redis_connection.zadd(key, {"1:long-gone": time.time() - 120})
    in_request(app, lambda: leaf.enqueue_many([("a",), ("b",)]), tenant="t")
    assert redis_connection.zscore(key, "1:long-gone") is None


def test_nested_jobs_are_kept_too(redis_connection: redis.Redis, app: flask.Flask) -> None:
    """Jobs that jobs enqueue are indexed under their root, and kept as long as they live."""
    with app.app_context():
        branch.options(result_ttl=90).enqueue(2)
    work(redis_connection, system_app="family")
    [key] = keys(redis_connection, "root")
    assert redis_connection.zcard(key) == 2
    assert redis_connection.ttl(key) == pytest.approx(500, abs=70)
