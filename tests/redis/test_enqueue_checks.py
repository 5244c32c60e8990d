"""What is found out at enqueue, because it could only fail later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from rq import Callback
from rq.group import Group
from support import depot

from ctxjobs.errors import ArgumentsError, ConfigError, CtxJobsError, NotAJobError


@pytest.fixture
def connection(redis_url: str, redis_connection: redis.Redis) -> redis.Redis:
    """An empty Redis, with the app ``depot`` bound to it."""
    depot.create_app(redis_url=redis_url)
    return redis_connection


def group_of(connection: redis.Redis) -> Group:
    return Group.create(connection=connection)


WRONG: dict[str, tuple[Callable[[redis.Redis], Any], type[CtxJobsError], str]] = {
    "too-few": (lambda _: depot.note.enqueue(), ArgumentsError, "depot.note cannot be enqueued: missing a"),
    "unknown": (lambda _: depot.note.enqueue("a", nam="b"), ArgumentsError, "unexpected keyword argument"),
    "lambda-callback": (
        lambda _: depot.note.options(on_success=Callback(lambda *args: None)).enqueue("a"),
        NotAJobError,
        "it is a lambda",
    ),
    "string-for-tuple": (lambda _: depot.note.enqueue_many(["ab"]), ConfigError, "got str"),
    "value-for-tuple": (lambda _: depot.note.enqueue_many([5]), ConfigError, "got int"),
    "many-unique": (
        lambda _: depot.note.options(unique=True, job_id="a").enqueue_many([("a",)]),
        ConfigError,
        "cannot be unique",
    ),
    "group-at": (
        lambda connection: depot.note.options(group=group_of(connection)).enqueue_in(5, "a"),
        ConfigError,
        "a group takes enqueue and enqueue_many only",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_an_error_at_enqueue(connection: redis.Redis, case: str) -> None:
    """What no worker could run is refused with a message that says why, and nothing is written."""
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call(connection)
    assert connection.keys("rq:job:*") == []


def test_a_group_of_one(connection: redis.Redis) -> None:
    """``enqueue`` with a group puts its one job into the group."""
    group = group_of(connection)
    job = depot.note.options(group=group).enqueue("a")
    assert [each.id for each in group.get_jobs()] == [job.id]


def test_no_calls_are_no_jobs(connection: redis.Redis) -> None:
    """``enqueue_many`` of nothing enqueues nothing, also for a group, where RQ raises."""
    assert depot.note.options(group=group_of(connection)).enqueue_many([]) == []
