"""The short way of reading a job: where it is taken, it says what RQ's own says."""

from __future__ import annotations

from typing import Any, Final, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from rq.job import Job
from rq.serializers import DefaultSerializer

from ctxjobs.rqcompat import check_fields
from ctxjobs.rqcompat.reading import empty_job, restore

CONNECTION: Final = cast("Redis", object())
TIME: Final = b"2026-11-28T09:08:07.123456Z"
PLAIN: Final = {"data": b"\x80", "created_at": TIME, "status": b"queued"}
#: What RQ writes, empty or not, into each field that the short way knows.
FIELDS: Final[dict[str, list[bytes]]] = {
    "origin": [b"", b"high", "größer".encode()],
    "description": [b"", b"shop.note(1)"],
    "group_id": [b"", b"g"],
    "worker_name": [b"", b"w"],
    "enqueued_at": [b"", TIME],
    "started_at": [b"", TIME],
    "ended_at": [b"", TIME],
    "last_heartbeat": [b"", TIME],
    "timeout": [b"180", b"-1", b"0"],
    "result_ttl": [b"500", b"-1", b"0"],
    "failure_ttl": [b"31536000"],
    "ttl": [b"9"],
    "number_of_retries": [b"2"],
    "retries_left": [b"0", b"3"],
    "repeats_left": [b"1"],
    "enqueue_at_front": [b"1", b"0"],
    "enqueue_at_front_on_retry": [b"1", b"0"],
    "allow_dependency_failures": [b"1", b"0"],
    "success_callback_name": [b"", b"shop.done"],
    "failure_callback_name": [b"", b"shop.failed"],
    "stopped_callback_name": [b"", b"shop.stopped"],
    "success_callback_timeout": [b"60"],
    "failure_callback_timeout": [b"60"],
    "stopped_callback_timeout": [b"60"],
    "status": [status.value.encode() for status in Job("a", connection=CONNECTION)._status.__class__],
}
hashes: Final = st.fixed_dictionaries(
    {"data": st.just(b"\x80"), "created_at": st.just(TIME), "status": st.sampled_from(FIELDS["status"])},
    optional={name: st.sampled_from(values) for name, values in FIELDS.items() if name != "status"},
)


def by_rq(fields: dict[str, bytes], before: dict[str, bytes] | None = None) -> dict[str, Any]:
    job = Job("a", connection=CONNECTION, serializer=DefaultSerializer)
    if before is not None:
        job.restore({name.encode(): value for name, value in before.items()})
    job.restore({name.encode(): value for name, value in fields.items()})
    check_fields(job)
    return vars(job)


@given(hashes)
def test_a_plain_job_reads_as_by_rq(fields: dict[str, bytes]) -> None:
    """Attribute by attribute."""
    job = empty_job(Job, "a", CONNECTION, DefaultSerializer)
    assert restore(job, fields)
    assert vars(job) == by_rq(fields)


@given(hashes, hashes)
def test_a_job_that_is_read_again_reads_as_by_rq(before: dict[str, bytes], fields: dict[str, bytes]) -> None:
    """What RQ resets is reset, what RQ leaves is left."""
    job = empty_job(Job, "a", CONNECTION, DefaultSerializer)
    assert restore(job, before)
    assert restore(job, fields)
    assert vars(job) == by_rq(fields, before)


@pytest.mark.parametrize(
    "unusual",
    [
        {"dependency_ids": b'["b"]'},
        {"meta": b"\x80"},
        {"retry_intervals": b"[1]"},
        {"created_at": b"2026-11-28T09:08:07Z"},
        {"created_at": b"2026-W48-6T09:08:07.123456Z"},
        {"created_at": b""},
        {"status": b""},
        {"status": b"unheard of"},
        {"timeout": b"1h"},
        {"ttl": b"99999999999"},
        {"result_ttl": b"-2"},
        {"origin": b"\xff"},
        {"unheard_of": b"1"},
        {"data": b"x\x9c\x03\x00\x00\x00\x00\x01"},
    ],
    ids=str,
)
def test_what_is_left_to_rq(unusual: dict[str, bytes]) -> None:
    """Nothing of such a job is read in the short way."""
    job = empty_job(Job, "a", CONNECTION, DefaultSerializer)
    untouched = dict(vars(job))
    assert not restore(job, {**PLAIN, **unusual})
    assert vars(job) == untouched


def test_own_fields_are_passed_over() -> None:
    """RQ passes over whatever it does not know."""
    job = empty_job(Job, "a", CONNECTION, DefaultSerializer)
    assert restore(job, {**PLAIN, "ours": b"1"}, ignored={"ours"})


def test_a_job_class_of_its_own_is_made_by_itself() -> None:
    """One that overrides ``__init__`` has its say."""

    class Special(Job):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.special = True

    assert empty_job(Special, "any id: at all", CONNECTION, DefaultSerializer).special
