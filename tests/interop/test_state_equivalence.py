"""Every kind of job leaves in Redis what stock RQ leaves there, and shows the same while it runs.

Where we differ on purpose, there is a test that says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from support.equivalence.kinds import CODES, KILLING, KINDS
from support.equivalence.states import Comparable, State
from support.equivalence.ways import WAYS, Ran, kinds_of, run_all, stock_of

PAIRS = [(kind, way) for way in WAYS if way != stock_of(way) for kind in kinds_of(way)]
OURS = ("Worker", "ctxjobs worker", "ctxjobs worker --isolate")
WITH_SUPERVISOR = OURS[1:]

#: How far apart two times may be that are the same, in seconds.
TOLERANCE_S = 3.0

#: Of a job that was ended with its process, RQ's parent writes what it has read before the job started, and
#: so wipes out who ran it and until when. Ours keeps that.
ENDED_FROM_OUTSIDE = [kind for kind in KINDS if kind.startswith(("stopped", "kill"))]
WIPED_OUT = ("ended_at", "last_heartbeat", "worker_name", "execution_ended_at")

#: The job of which RQ expects less than 30 more seconds.
SHORT = f"{CODES['looks, with a short time limit']}-1"


@pytest.fixture(scope="module")
def ran() -> dict[str, Ran]:
    """What each worker has left."""
    return run_all()


def near(seconds: float) -> Any:
    return pytest.approx(seconds, abs=TOLERANCE_S)


def belongs_to(kind: str) -> Callable[[str], bool]:
    pattern = re.compile(rf"{CODES[kind]}(-|:|$)")
    return lambda key: pattern.search(key) is not None


def comparable(ran: Ran, kind: str, number: Callable[[float], Any] = float) -> dict[str, Any]:
    """What *kind* has left, but for what we do in another way than RQ on purpose."""
    found = Comparable(ran.after, ran.before, belongs_to(kind), number).value()
    if kind not in ENDED_FROM_OUTSIDE:
        return found
    return {key: without(WIPED_OUT, value) for key, value in found.items() if not key.startswith("called:")}


def without(names: tuple[str, ...], value: Any) -> Any:
    """*value* without the fields *names*, at any depth."""
    if isinstance(value, dict):
        return {name: without(names, one) for name, one in value.items() if name not in names}
    if isinstance(value, tuple | list):
        return [without(names, one) for one in value]
    return value


def seen(ran: Ran, job_id: str, number: Callable[[float], Any] = float) -> dict[str, Any]:
    """What a job has seen, of what is about itself, its queue and its worker."""
    belongs = re.compile(rf"^rq:worker:|{job_id.partition('-')[0]}(-|:|$)").search
    return Comparable(ran.looks[job_id], ran.before, lambda key: belongs(key) is not None, number).value()


def hashes(state: State, prefix: str) -> list[dict[str, str]]:
    found = [entry.value for key, entry in state.entries.items() if key.startswith(prefix)]
    return [{name.decode(): text.decode(errors="replace") for name, text in one.items()} for one in found]


@pytest.mark.parametrize(("kind", "way"), PAIRS)
def test_after(ran: dict[str, Ran], kind: str, way: str) -> None:
    """It leaves the same keys, types, fields, members, values and times to live."""
    assert comparable(ran[way], kind) == comparable(ran[stock_of(way)], kind, near)


@pytest.mark.parametrize("way", OURS)
def test_while_it_runs(ran: dict[str, Ran], way: str) -> None:
    """While a job runs, all keys about it, its queue and its worker are the same."""
    assert ran[way].looks.keys() == ran["rq"].looks.keys()
    for job_id in ran["rq"].looks:
        if job_id != SHORT:
            assert seen(ran[way], job_id) == seen(ran["rq"], job_id, near)


@pytest.mark.parametrize("way", OURS)
def test_jobs_look(ran: dict[str, Ran], way: str) -> None:
    """The comparison of what is there while a job runs compares something: a started job of a busy worker."""
    state = ran[way].looks[f"{CODES['looks']}-1"]
    [worker] = hashes(state, "rq:worker:")
    assert (worker["state"], worker["current_job"]) == ("busy", f"{CODES['looks']}-1")
    assert len(hashes(state, f"rq:execution:{CODES['looks']}-1:")) == 1


@pytest.mark.parametrize("way", OURS)
def test_shared_keys(ran: dict[str, Ran], way: str) -> None:
    """RQ's lists of queues, workers and groups are the same; no other key of RQ's is left."""

    def shared(state: State) -> dict[str, Any]:
        keys = [key for key in state.entries if not re.search(r"k\d\d|^rq:worker:", key)]
        return {key: state.entries[key].value for key in keys}

    stock = shared(ran["rq"].after)
    stock["rq:queues"] = stock["rq:queues"] - {
        f"rq:queue:{CODES[kind]}".encode() for kind in set(KINDS) - set(kinds_of(way))
    }
    assert shared(ran[way].after) == stock


@pytest.mark.parametrize("way", WITH_SUPERVISOR)
def test_workers_after(ran: dict[str, Ran], way: str) -> None:
    """Workers that have ended leave the same fields, and together the same counts."""

    def counts(state: State) -> list[int]:
        workers = hashes(state, "rq:worker:")
        names = ("successful_job_count", "failed_job_count")
        return [sum(int(worker.get(name, 0)) for worker in workers) for name in names]

    [stock] = hashes(ran["rq"].after, "rq:worker:")
    ours = hashes(ran[way].after, "rq:worker:")
    assert {name for worker in ours for name in worker} == stock.keys()
    assert counts(ran[way].after) == counts(ran["rq"].after)


@pytest.mark.parametrize("way", OURS)
def test_webhooks(ran: dict[str, Ran], way: str) -> None:
    """The same webhooks are told the same."""

    def told(ran: Ran) -> list[dict[str, Any]]:
        payloads = [{**payload, "path": path} for path, payload in ran.hooks]
        dates = ("enqueued_at", "ended_at")
        exc_info = [(payload.get("exc_info") or "").strip().rpartition("\n")[2] for payload in payloads]
        return [
            {**payload, "exc_info": last, **{name: bool(payload[name]) for name in dates}}
            for payload, last in zip(payloads, exc_info, strict=True)
        ]

    assert len(ran["rq"].hooks) == 3
    assert told(ran[way]) == told(ran["rq"])


# --- on purpose -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", OURS)
def test_who_ran_it_is_kept(ran: dict[str, Ran], way: str) -> None:
    """Unlike RQ, a job that was ended from outside says when it ended, and which worker ran it."""
    [job] = hashes(ran[way].after, f"rq:job:{CODES['stopped']}-1")
    [stock] = hashes(ran["rq"].after, f"rq:job:{CODES['stopped']}-1")
    assert [bool(job[name]) for name in WIPED_OUT[:3]] == [True] * 3
    assert [bool(stock[name]) for name in WIPED_OUT[:3]] == [False] * 3


@pytest.mark.parametrize("way", WITH_SUPERVISOR)
def test_failure_callback_of_a_dead_process(ran: dict[str, Ran], way: str) -> None:
    """Unlike RQ, the failure callback of a job is called whose process has died."""
    code = CODES["killed with a callback"]
    assert "killed with a callback" in KILLING
    called = ran[way].after.entries[f"called:{code}"].value
    assert called == [f"failure {code}-1 ProcessDiedError".encode()]
    assert f"called:{code}" not in ran["rq"].after.entries


@pytest.mark.parametrize("way", OURS)
def test_lease(ran: dict[str, Ran], way: str) -> None:
    """A started job counts as alive for 90 s without a sign of life; in RQ for less if its limit is near."""
    key = f"rq:wip:{SHORT.partition('-')[0]}"

    def lease_s(ran: Ran) -> float:
        state = ran.looks[SHORT]
        [(_, until)] = state.entries[key].value
        return float(until - state.at)

    assert (lease_s(ran[way]), lease_s(ran["rq"])) == (near(90), near(80))
