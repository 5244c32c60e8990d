"""What an enqueue leaves in Redis: for each way the same as with plain RQ, apart from what is ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import flask
import pytest
import redis
import rq
from rq import Callback, Repeat, Retry
from rq.group import Group
from rq.job import Job, JobStatus
from rq.webhook import Webhook
from support import family
from support.family import in_request, leaf

from ctxjobs import Queue
from ctxjobs.keys import ENVELOPE_FIELD, INDEX_PREFIX
from ctxjobs.registry import registry
from ctxjobs.rqcompat import enqueueing
from ctxjobs.rqjob import ContextJob

LATER: Final = datetime(2040, 1, 1, tzinfo=timezone.utc)
#: Fields that are another call's, or at another time.
OF_THE_CALL: Final = {b"data", b"created_at", b"enqueued_at"}
#: As ours: RQ's own description shows the arguments.
NAMED: Final = {"description": "support.family.leaf"}

State = dict[str, tuple[str, Any, int]]
Way = Callable[[rq.Queue], Any]


@pytest.fixture(autouse=True)
def nothing_bound(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "apps", {})
    yield
    family.jobs._apps.clear()


@pytest.fixture
def app(redis_connection: redis.Redis, redis_url: str) -> flask.Flask:
    return family.create_app(CTXJOBS_REDIS_URL=redis_url)


def on_success(job: Job, connection: redis.Redis, result: Any) -> None: ...


def on_failure(job: Job, connection: redis.Redis, *error: Any) -> None: ...


def on_stopped(job: Job, connection: redis.Redis) -> None: ...


def read(connection: redis.Redis, key: bytes, kind: str) -> Any:
    if kind == "hash":
        fields = connection.hgetall(key)
        fields.pop(ENVELOPE_FIELD.encode(), None)
        return {name: name if name in OF_THE_CALL else value for name, value in fields.items()}
    if kind == "list":
        return connection.lrange(key, 0, -1)
    if kind == "zset":
        return connection.zrange(key, 0, -1, withscores=True)
    return connection.smembers(key)


def state(connection: redis.Redis) -> State:
    """All keys, each with its type, content and lifetime."""
    found: State = {}
    for key in connection.scan_iter():
        if not key.startswith(INDEX_PREFIX.encode()):
            kind = connection.type(key).decode()
            found[key.decode()] = (kind, read(connection, key, kind), connection.ttl(key))
    connection.flushall()
    return found


def named(queue: rq.Queue, **options: Any) -> Any:
    return queue.enqueue(leaf, "a", **NAMED, **options)


def many(queue: rq.Queue, *, count: int = 3, **options: Any) -> Any:
    return queue.enqueue_many(
        [queue.prepare_data(leaf, (n,), job_id=f"job-{n}", **NAMED, **options) for n in range(count)]
    )


def front_and_back(queue: rq.Queue) -> Any:
    named(queue, job_id="there")
    places = [("a", False), ("b", True), ("c", True), ("d", False)]
    return queue.enqueue_many(
        [queue.prepare_data(leaf, (), job_id=name, at_front=front, **NAMED) for name, front in places]
    )


def dependents(queue: rq.Queue) -> Any:
    named(queue, job_id="first")
    datas = [
        queue.prepare_data(leaf, (), job_id="second", depends_on="first", **NAMED),
        queue.prepare_data(leaf, (), job_id="third", **NAMED),
    ]
    return queue.enqueue_many(datas)


def pipelined(queue: rq.Queue) -> Any:
    with queue.connection.pipeline() as pipeline:
        named(queue, job_id="one", pipeline=pipeline)
        pipeline.execute()


def grouped(queue: rq.Queue) -> Any:
    group = Group.create(queue.connection, "the-group")
    return group.enqueue_many(queue, [queue.prepare_data(leaf, (), job_id="one", **NAMED)])


def twice(queue: rq.Queue) -> Any:
    return queue.enqueue_job(named(queue, job_id="one"))


def put_back(queue: rq.Queue) -> Any:
    """Once written by itself, then enqueued."""
    job = queue.create_job(leaf, ("a",), job_id="one", **NAMED)
    job.save()
    return queue.enqueue_job(job)


def with_relatives(queue: rq.Queue) -> Any:
    """What RQ keeps of a job's dependents and dependencies is there before it."""
    job = queue.create_job(leaf, ("a",), job_id="one", ttl=60, **NAMED)
    for key in (job.dependents_key, job.dependencies_key):
        queue.connection.sadd(key, "another")
    return queue.enqueue_job(job)


CALLBACKS: Final[dict[str, Any]] = {
    "on_success": Callback(on_success, timeout=5),
    "on_failure": Callback(on_failure),
    "on_stopped": Callback(on_stopped),
}
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "nothing": {},
    "ttl": {"ttl": 60},
    "timeout": {"job_timeout": "5m"},
    "no time limit": {"job_timeout": -1},
    "result_ttl": {"result_ttl": 90},
    "no result": {"result_ttl": 0},
    "result for ever": {"result_ttl": -1},
    "failure_ttl": {"failure_ttl": 90},
    "meta": {"meta": {"who": "me", "n": 1}},
    "retry": {"retry": Retry(3, [1, 2, 3])},
    "retry at the front": {"retry": Retry(3, enqueue_at_front=True)},
    "repeat": {"repeat": Repeat(2, interval=5)},
    "callbacks": CALLBACKS,
    "webhooks": {"webhooks": [Webhook("http://localhost/hook", JobStatus.FINISHED)]},
    "all at once": {
        "ttl": 60, "job_timeout": 30, "result_ttl": 9, "failure_ttl": 8, "meta": {"a": 1},
        "retry": Retry(2), **CALLBACKS,
    },
}  # fmt: skip
WAYS: Final[dict[str, Way]] = {
    **{f"now, {name}": lambda q, o=options: named(q, job_id="one", **o) for name, options in OPTIONS.items()},
    **{
        f"later, {name}": lambda q, o=options: q.enqueue_at(LATER, leaf, job_id="one", **NAMED, **o)
        for name, options in OPTIONS.items()
    },
    **{
        f"unique, {name}": lambda q, o=options: named(q, job_id="one", unique=True, **o)
        for name, options in OPTIONS.items()
    },
    "at the front": lambda q: [named(q, job_id="there"), named(q, job_id="one", at_front=True)],
    "later, at the front": lambda q: q.enqueue_at(LATER, leaf, job_id="one", at_front=True, **NAMED),
    "later, unique": lambda q: q.schedule_job(
        q.create_job(leaf, job_id="one", status="scheduled", **NAMED), LATER, unique=True
    ),
    "later, by a job": lambda q: q.schedule_job(q.create_job(leaf, job_id="one", **NAMED), LATER),
    "later, by local time": lambda q: q.enqueue_at(datetime(2040, 1, 1), leaf, job_id="one", **NAMED),
    "enqueue_call": lambda q: q.enqueue_call(leaf, ("a",), timeout=7, job_id="one", **NAMED),
    "enqueue_job": lambda q: q.enqueue_job(q.create_job(leaf, ("a",), job_id="one", **NAMED)),
    "by position": lambda q: q.enqueue_job(
        q.create_job(leaf, ("a",), None, 7, 60, 30, 20, "support.family.leaf", None, "one")
    ),
    "a job of another queue": lambda q: q.enqueue_job(
        type(q)("other", connection=q.connection).create_job(leaf, job_id="one", **NAMED)
    ),
    "twice": twice,
    "written before": put_back,
    "with relatives and a ttl": with_relatives,
    "many": many,
    "many with a ttl": lambda q: many(q, ttl=60),
    "many of all options": lambda q: many(q, ttl=60, timeout=30, meta={"a": 1}, retry=Retry(2), **CALLBACKS),
    "many at the front": lambda q: [named(q, job_id="there"), many(q, at_front=True)],
    "many at both ends": front_and_back,
    "many, some of which wait": dependents,
    "many with the name of a group": lambda q: q.enqueue_many(
        [q.prepare_data(leaf, (), job_id="one", **NAMED)], group_id="the-group"
    ),
    "one that waits": lambda q: [named(q, job_id="first"), named(q, job_id="one", depends_on="first")],
    "one that need not wait": lambda q: named(q, job_id="one", depends_on="gone"),
    "pipeline": pipelined,
    "group": grouped,
}


def assert_same(ours: State, theirs: State) -> None:
    assert ours.keys() == theirs.keys()
    for key, (kind, content, ttl) in theirs.items():
        assert ours[key][:2] == (kind, content), key
        assert abs(ours[key][2] - ttl) <= 1, key


@pytest.mark.parametrize("way", WAYS)
def test_every_way_leaves_what_rq_leaves(
    app: flask.Flask, redis_connection: redis.Redis, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys, types, fields, values and lifetimes are those of RQ's own Queue; the envelope is besides."""
    WAYS[way](rq.Queue("q", connection=redis_connection))
    theirs = state(redis_connection)
    assert theirs
    in_request(app, lambda: WAYS[way](Queue("q", connection=redis_connection)), request="r", tenant="t")
    assert_same(state(redis_connection), theirs)


@pytest.mark.parametrize("way", WAYS)
def test_a_release_of_rq_that_is_not_known(
    app: flask.Flask, redis_connection: redis.Redis, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where RQ writes fields that ctxjobs does not know, RQ says what is written."""
    WAYS[way](rq.Queue("q", connection=redis_connection))
    theirs = state(redis_connection)
    monkeypatch.setattr(enqueueing, "_KNOWS_FIELDS", False)
    in_request(app, lambda: WAYS[way](Queue("q", connection=redis_connection)), request="r", tenant="t")
    assert_same(state(redis_connection), theirs)


ENQUEUER_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    **{
        name: {"timeout" if key == "job_timeout" else key: value for key, value in options.items()}
        for name, options in OPTIONS.items()
    },
    "at the front": {"at_front": True},
    "unique": {"unique": True},
}


@pytest.mark.parametrize("name", ENQUEUER_OPTIONS)
def test_options_of_a_job_function(app: flask.Flask, redis_connection: redis.Redis, name: str) -> None:
    """``.options(...).enqueue()`` leaves what RQ's ``enqueue_call`` leaves with the same options."""
    options = {"job_id": "one", **NAMED, **ENQUEUER_OPTIONS[name]}
    rq.Queue("q", connection=redis_connection).enqueue_call(leaf, ("a",), **options)
    theirs = state(redis_connection)
    in_request(app, lambda: leaf.options(queue="q", **options).enqueue("a"), tenant="t")
    assert_same(state(redis_connection), theirs)


def test_many_of_a_job_function(app: flask.Flask, redis_connection: redis.Redis) -> None:
    """``enqueue_many`` keeps the order of its jobs; at the front, as with RQ, the last one is the first."""
    first = in_request(app, lambda: leaf.enqueue("first"), tenant="t")
    made = in_request(app, lambda: leaf.options(at_front=True).enqueue_many([("a",), ("b",)]), tenant="t")
    more = in_request(app, lambda: leaf.enqueue_many([("c",), ("d",)]), tenant="t")
    ids = [job.id for job in (*reversed(made), first, *more)]
    assert [one.decode() for one in redis_connection.lrange("rq:queue:default", 0, -1)] == ids


def test_a_subclass_says_what_is_written(app: flask.Flask, redis_connection: redis.Redis) -> None:
    """A job class with a ``to_dict`` of its own has its fields in Redis."""

    class Colored(ContextJob):
        def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
            return {**super().to_dict(include_meta, include_result), "color": "red"}

    queue = Queue("q", connection=redis_connection, job_class=Colored)
    job = in_request(app, lambda: queue.enqueue(leaf), tenant="t")
    assert redis_connection.hget(job.key, "color") == b"red"
    assert redis_connection.hexists(job.key, ENVELOPE_FIELD)


def test_a_subclass_says_how_jobs_are_made(app: flask.Flask, redis_connection: redis.Redis) -> None:
    """A job class with an ``__init__`` or a ``create`` of its own has its say."""

    class Counted(ContextJob):
        made = 0

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            type(self).made += 1

    class Named(ContextJob):
        @classmethod
        def create(cls, func: Any, *args: Any, **options: Any) -> Any:
            return super().create(func, *args, **{**options, "description": "mine"})

    for cls in (Counted, Named):
        queue = Queue("q", connection=redis_connection, job_class=cls)
        job = in_request(app, lambda queue=queue: queue.enqueue(leaf), tenant="t")
    assert Counted.made == 1
    assert redis_connection.hget(job.key, "description") == b"mine"


def test_many_on_a_synchronous_queue(app: flask.Flask, redis_connection: redis.Redis) -> None:
    """They are run one after the other, and stand on no queue."""
    queue = Queue("q", connection=redis_connection, is_async=False)
    made = in_request(app, lambda: queue.enqueue_many([queue.prepare_data(leaf, (name,)) for name in "ab"]))
    assert [job.return_value() for job in made] == ["a", "b"]
    assert not redis_connection.exists("rq:queue:q")


@pytest.mark.parametrize(("text", "is_deflated"), [("short", False), ("long" * 300, True)])
def test_short_calls_are_stored_as_they_are(
    app: flask.Flask, redis_connection: redis.Redis, text: str, is_deflated: bool
) -> None:
    """Only a call that is long is compressed; RQ's own Job reads both."""
    job = in_request(app, lambda: leaf.enqueue(text), tenant="t")
    assert (text.encode() not in redis_connection.hget(job.key, "data")) == is_deflated
    assert Job.fetch(job.id, connection=redis_connection).args == [text]
    assert ContextJob.fetch(job.id, connection=redis_connection).args == (text,)


def test_times_of_a_job_are_those_of_its_object(app: flask.Flask, redis_connection: redis.Redis) -> None:
    """What stands in Redis reads as the job that ``enqueue`` has returned."""
    job = in_request(app, leaf.enqueue, tenant="t")
    stored = ContextJob.fetch(job.id, connection=redis_connection)
    assert (stored.created_at, stored.enqueued_at) == (job.created_at, job.enqueued_at)
    assert job.enqueued_at - job.created_at < timedelta(seconds=1)
