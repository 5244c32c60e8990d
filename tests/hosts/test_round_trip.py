"""What a job sees is what the code that enqueued it saw: every way, every host, every kind of worker."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest
from rq.job import JobStatus
from support.matrix.account import Account
from support.matrix.seeing import G_NAMES
from support.matrix.ways import WAYS
from support.values import same

from ctxjobs import SAFE_HEADERS

every_way = pytest.mark.parametrize("way", WAYS)
ways_in_views = pytest.mark.parametrize("way", [way.name for way in WAYS.values() if way.where == "view"])


def test_the_caller_sees_its_request(account: Account) -> None:
    """What is compared below is a request with everything that can travel, different for each way."""
    number = list(WAYS).index("queue_by_path")
    assert same(
        account.calls["queue_by_path"].seen,
        {
            "framework": account.host,
            "app": f"matrix-{account.host}_app",
            "same_app": True,
            "g": {
                "price": Decimal("19.90"),
                "request_id": "queue_by_path",
                "tags": ("new", {"rush"}),
                "tenant": f"t{number}",
                "when": datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc),
            },
            "method": "POST",
            "path": f"/de/orders/{number}",
            "query": {"tenant": [f"t{number}"], "tag": ["a b", "c"]},
            "url": f"https://shop.example:8443/de/orders/{number}?tenant=t{number}&tag=a%20b&tag=c",
            "remote_addr": f"10.0.0.{number}",
            "headers": {
                **dict.fromkeys(SAFE_HEADERS),
                "Accept-Language": "de, en;q=0.5",
                "Host": "shop.example:8443",
                "User-Agent": account.calls["enqueue"].seen["headers"]["User-Agent"],
                "X-Request-ID": "queue_by_path",
            },
            "rule": "/<lang>/orders/<int:order_id>",
            "endpoint": "order",
            "view_args": {"lang": "de", "order_id": number},
            "session": {"plan": ("gold", 3), "user": f"user {number}"},
            "relative_url": "/de/orders/7",
            "external_url": "https://shop.example:8443/de/orders/7",
        },
    )


@every_way
def test_each_run_sees_what_the_caller_saw(account: Account, way: str) -> None:
    """Each run of each job sees the app, g, request, session and URLs that its caller saw, types included."""
    call = account.calls[way]
    starts = [start for job_id in account.family(way) for start in account.starts(job_id)]
    assert all(same(start["seen"], call.seen) for start in starts)
    assert len(starts) >= len(call.ids) > 0


@every_way
def test_each_job_runs_as_often_as_it_should(account: Account, way: str) -> None:
    """Each job runs once, and once more for a retry, a repeat or a requeue."""
    runs = [len(account.starts(job_id)) for job_id in account.calls[way].ids]
    assert set(runs) == {len(WAYS[way].runs)}


@every_way
def test_each_job_ends_as_its_last_run(account: Account, way: str) -> None:
    """A job whose last run returned is finished, one whose last run raised is failed."""
    expected = JobStatus.FINISHED if WAYS[way].runs[-1] == "returns" else JobStatus.FAILED
    assert {account.ends[job_id].status for job_id in account.family(way)} == {expected}


@pytest.mark.parametrize(
    "way",
    [way.name for way in WAYS.values() if way.runs[-1] == "returns" and way.name != "result_ttl_of_zero"],
)
def test_the_result_is_read_as_it_was_returned(account: Account, way: str) -> None:
    """RQ's return_value gives back what the job returned, tuples, sets, dates and decimals included."""
    call = account.calls[way]
    assert all(same(account.ends[job_id].result, call.seen) for job_id in account.family(way))


@ways_in_views
def test_names_on_g_that_do_not_travel(account: Account, way: str) -> None:
    """A job's g holds the public names whose values encode, and nothing else."""
    starts = [start for job_id in account.family(way) for start in account.starts(job_id)]
    assert {tuple(start["g_names"]) for start in starts} == {G_NAMES}


@ways_in_views
def test_session_keys_that_do_not_travel(account: Account, way: str) -> None:
    """A job's session holds the named keys, and nothing else."""
    starts = [start for job_id in account.family(way) for start in account.starts(job_id)]
    assert {tuple(start["session_keys"]) for start in starts} == {("plan", "user")}


@ways_in_views
def test_headers_that_do_not_travel(account: Account, way: str) -> None:
    """A job's request has the safe headers, without cookies, credentials, API keys and the form."""
    starts = [start for job_id in account.family(way) for start in account.starts(job_id)]
    names = {("Accept-Language", "Content-Length", "Host", "User-Agent", "X-Request-Id")}
    assert {tuple(start["header_names"]) for start in starts} == names


@pytest.mark.parametrize("way", [way.name for way in WAYS.values() if way.where != "view"])
def test_no_request_is_made_up(account: Account, way: str) -> None:
    """A job that was enqueued outside of a request has none, and an application context of its own app."""
    [start] = account.starts(account.calls[way].ids[0])
    assert start["contexts"][account.host] == [1, 0]
    assert start["seen"]["app"] == f"matrix-{account.host}_app"
