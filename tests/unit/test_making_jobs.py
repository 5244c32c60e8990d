"""The short ways of making a job: each says what the long way of RQ or of Python says."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, Final, cast
from uuid import RFC_4122, UUID

import pytest
import rq
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from rq.job import Job, JobStatus
from rq.utils import utcformat

from ctxjobs.functions import positional_counts
from ctxjobs.rqcompat import enqueueing

QUEUE: Final = rq.Queue("q", connection=cast("Redis", object()), default_timeout=77)
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "none": {},
    "id": {"job_id": "one"},
    "durations": {"timeout": 9, "result_ttl": 8, "failure_ttl": 7, "ttl": 6},
    "description": {"description": "what it is"},
    "meta": {"meta": {"a": 1}},
    "status": {"status": JobStatus.SCHEDULED},
    "group": {"group_id": "g"},
    "missing": {"ttl": None, "meta": None, "job_id": None, "retry": None, "on_success": None},
}


def test_this_release_of_rq_is_known() -> None:
    """RQ writes the fields that are known, so the short way is taken at all."""
    assert enqueueing._KNOWS_FIELDS


@pytest.mark.parametrize("name", OPTIONS)
def test_a_new_job_is_as_rq_makes_it(name: str) -> None:
    """All of its attributes are, but for the call, the moment, and RQ's description of the call."""
    options = OPTIONS[name]
    assert enqueueing.is_plain(options)
    ours, theirs = (
        vars(enqueueing.new_job(Job, QUEUE, options)),
        vars(QUEUE.create_job("module.function", **options)),
    )
    different = {"created_at", "_func_name", "_instance", "_args", "_kwargs"}
    if "description" not in options:
        different.add("description")
    assert {key: ours[key] for key in ours.keys() - different} == {
        key: theirs[key] for key in theirs.keys() - different
    }
    assert ours.keys() == theirs.keys()


def test_new_jobs_share_nothing() -> None:
    """What one job is given does not show up in another."""
    one, other = (enqueueing.new_job(Job, QUEUE, {}) for _ in range(2))
    one.meta["a"] = 1
    one.webhooks.append(cast("Any", 1))
    assert (other.meta, other.webhooks) == ({}, [])


@pytest.mark.parametrize(
    "options",
    [
        {"retry": rq.Retry(1)},
        {"depends_on": "other"},
        {"timeout": "5m"},
        {"timeout": -1},
        {"timeout": 0},
        {"ttl": 0},
        {"ttl": 1.5},
        {"result_ttl": True},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_what_is_left_to_rq(options: dict[str, Any]) -> None:
    """Options that RQ converts, checks or refuses are RQ's."""
    assert not enqueueing.is_plain(options)


@pytest.mark.parametrize(
    "at", [timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=1)]
)
def test_times_are_written_as_rq_writes_them(at: timedelta) -> None:
    """Whether or not the second before was written last."""
    moment = datetime(2026, 2, 28, 23, 59, 59, 999_999, timezone.utc)
    for one in (moment, moment + at, moment.replace(microsecond=0), moment + at):
        assert enqueueing.utc_text(one) == utcformat(one)


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(9999, 1, 1)))
def test_any_time(moment: datetime) -> None:
    """Also those without a time zone."""
    assert enqueueing.utc_text(moment) == utcformat(moment)


def test_ids_are_random_uuids() -> None:
    """As those that RQ makes."""
    made = {enqueueing._new_id() for _ in range(1000)}
    assert len(made) == 1000
    assert {(UUID(one).version, UUID(one).variant, str(UUID(one)) == one) for one in made} == {
        (4, RFC_4122, True)
    }


def none() -> None: ...
def one(a: int) -> None: ...
def some(a: int, b: int = 0, /, c: int = 0) -> None: ...
def many(a: int, *more: int) -> None: ...
def by_name(a: int, *, b: int = 0, **more: int) -> None: ...
def needs_a_name(a: int, *, b: int) -> None: ...


@pytest.mark.parametrize("function", [none, one, some, many, by_name, needs_a_name], ids=lambda f: f.__name__)
def test_how_many_arguments_a_function_takes(function: Callable[..., Any]) -> None:
    """The count of positional arguments says what binding them says."""
    signature = inspect.signature(function)

    def binds(count: int) -> bool:
        try:
            signature.bind(*range(count))
        except TypeError:
            return False
        return True

    allowed = positional_counts(signature)
    assert [count in allowed for count in range(9)] == [binds(count) for count in range(9)]
