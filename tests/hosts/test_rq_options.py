"""What RQ promises of its options holds for our jobs, with every kind of worker."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from rq.exceptions import DuplicateJobError
from support.matrix.account import Account
from support.matrix.ways import WAYS
from support.values import same

ENVELOPE = b"ctxjobs"


def first_hash(account: Account, way: str) -> dict[bytes, bytes]:
    """What Redis held of a way's first job right after it was enqueued."""
    call = account.calls[way]
    return call.hashes[call.ids[0]]


@pytest.mark.parametrize("way", WAYS)
def test_the_envelope_never_changes(account: Account, way: str) -> None:
    """Each run has the envelope that the job was born with, byte for byte, and so has the job at its end."""
    call = account.calls[way]
    for job_id in call.ids:
        born_with = call.hashes[job_id][ENVELOPE]
        end = account.ends[job_id].hash
        assert {start["envelope"] for start in account.starts(job_id)} == {born_with}
        assert end.get(ENVELOPE, born_with) == born_with


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("description", "decorated")])
def test_the_description_is_the_name_of_the_function(account: Account, way: str) -> None:
    """The description of a job is its function's dotted name, without the arguments."""
    descriptions = {fields[b"description"].decode() for fields in account.calls[way].hashes.values()}
    assert descriptions < {
        *(
            f"support.matrix.jobs.{name}"
            for name in ("comeback", "count_in_meta", "fail", "flaky", "hang", "nest")
        ),
        *(f"support.matrix.jobs.{name}" for name in ("hang", "nest", "pollute", "report", "report_async")),
        f"support.matrix.{account.host}_app.report",
    }


def test_a_description_of_the_callers(account: Account) -> None:
    """A description that the caller gives is kept."""
    assert first_hash(account, "description")[b"description"] == b"a line of the caller's"


def test_at_front(account: Account) -> None:
    """A job that was enqueued at the front runs before those that were there already."""
    [in_front] = account.calls["at_front"].ids
    assert account.index(in_front, "start") < account.index(account.calls["enqueue"].ids[0], "start")


@pytest.mark.parametrize("way", ["unique", "unique_in"])
def test_unique(account: Account, way: str) -> None:
    """A second unique job with an id that is taken raises RQ's DuplicateJobError."""
    assert account.calls[way].notes["second"] is DuplicateJobError


@pytest.mark.parametrize(
    "way", ["enqueue_in", "enqueue_at", "unique_in", "queue_enqueue_at", "queue_enqueue_in"]
)
def test_scheduled_jobs_wait(account: Account, way: str) -> None:
    """A job that is due later is scheduled, and runs after all that is due now."""
    call = account.calls[way]
    assert {fields[b"status"] for fields in call.hashes.values()} == {b"scheduled"}
    now = account.calls["queue_enqueue_job"].ids[0]
    assert all(account.index(job_id, "start") > account.index(now, "start") for job_id in call.ids)


def test_depends_on(account: Account) -> None:
    """Dependents are deferred until the job that they wait for is done."""
    hashes = account.calls["depends_on"].hashes.values()
    assert {fields[b"status"] for fields in hashes} == {b"deferred"}


def test_group(account: Account) -> None:
    """Jobs that are enqueued for a group, one by one and many at once, are its members."""
    assert account.groups["group"] == set(account.calls["group"].ids)
    assert account.groups["rq-group"] == set(account.calls["group_enqueue_many"].ids)


def test_pipeline(account: Account) -> None:
    """Jobs that are enqueued in a pipeline exist from its execution on, and not before."""
    notes = account.calls["pipeline"].notes
    assert (notes["before"], notes["after"]) == ([0, 0, 0], [1, 1, 1])


def test_webhooks(account: Account) -> None:
    """Each end of a job calls the webhooks for that end, once, also after a retry."""
    called = [(path, body["job_id"]) for path, body, _ in account.hooks]
    paths = {
        "webhook": "/finished",
        "failed_webhook": "/failed",
        "webhook_after_retry": "/again",
        "all_at_once": "/all",
    }
    assert sorted(called) == sorted((path, account.calls[way].ids[0]) for way, path in paths.items())


def test_the_headers_of_webhooks(account: Account) -> None:
    """A webhook's own headers are kept through a retry."""
    assert [header for path, _, header in account.hooks if path == "/again"] == ["retry"]


def test_meta(account: Account) -> None:
    """A job finds its meta as it was given, types included."""
    [start] = account.starts(account.calls["meta"].ids[0])
    assert same(start["meta"], {"price": Decimal("1.50"), "tags": ("a", 1)})


def test_meta_that_the_job_saves(account: Account) -> None:
    """What a run saves in its job's meta is there in the next run, types included."""
    [job_id] = account.calls["meta_from_the_job"].ids
    runs = [start["meta"]["runs"] for start in account.starts(job_id)]
    assert same(runs, [(0,), (0, 1)])


@pytest.mark.parametrize(
    ("name", "value"), [(b"timeout", b"66"), (b"result_ttl", b"77"), (b"ttl", b"88"), (b"failure_ttl", b"99")]
)
def test_lifetimes_are_stored(account: Account, name: bytes, value: bytes) -> None:
    """Timeout and lifetimes stand in the job's hash, in seconds."""
    assert first_hash(account, "lifetimes")[name] == value


@pytest.mark.parametrize(("way", "seconds"), [("lifetimes", 77), ("failure_ttl", 99)])
def test_lifetimes_are_kept(account: Account, way: str, seconds: int) -> None:
    """A job lives as long after its end as it was told to."""
    assert seconds - 60 < account.ends[account.calls[way].ids[0]].ttl_s <= seconds


def test_a_result_ttl_of_zero(account: Account) -> None:
    """A job whose result is to live for no time is gone when it is done."""
    assert account.ends[account.calls["result_ttl_of_zero"].ids[0]].hash == {}


def test_another_queue(account: Account) -> None:
    """A job goes to the queue that was named, else to the app's."""
    assert first_hash(account, "other_queue")[b"origin"] == b"other"
    assert first_hash(account, "enqueue")[b"origin"] == b"default"


def test_options_of_the_decorator(account: Account) -> None:
    """Options given to @job hold for its jobs, and .options() changes those that it names."""
    call = account.calls["decorated"]
    found: list[Any] = [
        (
            call.hashes[job_id][b"origin"],
            call.hashes[job_id][b"description"],
            account.starts(job_id)[0]["meta"],
        )
        for job_id in call.ids
    ]
    meta = {"by": "decorator"}
    assert found == [(b"other", b"as decorated", meta), (b"default", b"as decorated", meta)]


def test_arguments(account: Account) -> None:
    """Positional arguments and arguments by name reach the function."""
    for way in ("enqueue", "queue_enqueue"):
        labels = [account.starts(job_id)[0]["label"] for job_id in account.calls[way].ids]
        assert labels[:2] == ["positional", "by name"]


@pytest.mark.parametrize("way", [way.name for way in WAYS.values() if way.runs[-1] == "raises"])
def test_a_failed_job_keeps_its_reason(account: Account, way: str) -> None:
    """RQ's result of a failed job holds the traceback of what the function raised."""
    name = WAYS[way].error.rstrip("(")
    assert name in account.ends[account.calls[way].ids[0]].exc_info
