"""Traces over all ways to enqueue, with the real libraries, from a web process to a worker process."""

from __future__ import annotations

import pytest
from support.traced_app import LIBRARIES
from support.traced_record import Record, record
from support.traced_ways import WAYS

#: The ways whose jobs run straight from the queue.
IMMEDIATE = (
    "enqueue",
    "enqueue_many",
    "Queue.enqueue",
    "Queue.enqueue_many",
    "unique",
    "retry",
    "returned retry",
    "requeue",
    "repeat",
    "from a job",
    "failing",
    "callback",
)
DELAYED = ("enqueue_in", "enqueue_at", "Queue.enqueue_in", "depends_on")
TWICE = ("retry", "returned retry", "requeue", "repeat")

_records: dict[str, Record] = {}


def recorded(library: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Record:
    if library not in _records:
        url = f"{redis_url}?db={13 + LIBRARIES.index(library)}"
        _records[library] = record(library, url, tmp_path_factory.mktemp(library) / "lines")
    return _records[library]


@pytest.fixture(scope="module", params=LIBRARIES)
def traced(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Record:
    return recorded(request.param, redis_url, tmp_path_factory)


@pytest.fixture(scope="module")
def spans(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Record:
    return recorded("opentelemetry", redis_url, tmp_path_factory)


@pytest.fixture(scope="module", params=LIBRARIES[1:])
def sentry(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Record:
    return recorded(request.param, redis_url, tmp_path_factory)


# --- Both -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_each_run_is_recorded_once(traced: Record, way: str) -> None:
    """One span or transaction for each run of each job; none is lost where a worker ends."""
    for job_id in traced.ways[way]["jobs"]:
        runs = 2 if way in TWICE else 1
        assert (len(traced.runs(job_id)), len(traced.seen(job_id))) == (runs, runs)


@pytest.mark.parametrize("way", IMMEDIATE)
def test_a_job_that_runs_at_once_is_a_child_of_its_view(traced: Record, way: str) -> None:
    """On every way to enqueue, many at a time and by RQ's own API included."""
    for job_id in traced.ways[way]["jobs"]:
        run = traced.runs(job_id)[0]
        assert (run.trace, run.parent) == traced.view(way)


def test_a_job_of_a_job_is_a_child_of_it(traced: Record) -> None:
    """The trace goes on along the chain."""
    way = "from a job"
    first = traced.first_run(way)
    known = [job_id for one in traced.ways.values() for job_id in one["jobs"]]
    (child,) = [
        run
        for line in traced.of("seen")
        if line["job"] not in known
        for run in traced.runs(line["job"])
        if run.parent == first.span
    ]
    assert child.trace == traced.view(way)[0]


# --- OpenTelemetry --------------------------------------------------------------------------


@pytest.mark.parametrize("way", DELAYED)
def test_a_delayed_job_has_a_trace_of_its_own_with_a_link(spans: Record, way: str) -> None:
    """Also one that waits for another job."""
    run = spans.first_run(way)
    assert (run.parent, run.links) == (None, [spans.view(way)])
    assert run.trace != spans.view(way)[0]


@pytest.mark.parametrize("way", TWICE)
def test_a_second_run_has_a_trace_of_its_own_with_a_link(spans: Record, way: str) -> None:
    """However it came about: a job that repeats itself for ever makes no endless trace."""
    first, second = spans.runs(spans.ways[way]["jobs"][0])
    assert (second.parent, second.links) == (None, [spans.view(way)])
    assert second.trace != first.trace


def test_the_span_says_what_the_conventions_want(spans: Record) -> None:
    """Name, kind and attributes of a span that processes a message."""
    job_id = spans.ways["enqueue"]["jobs"][0]
    run = spans.runs(job_id)[0].facts
    assert (run["name"], run["kind"], run["status"]) == (
        "process default",
        "SpanKind.CONSUMER",
        {"status_code": "UNSET"},
    )
    assert run["attributes"] == {
        "messaging.system": "rq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": job_id,
        "code.function.name": "support.traced_app.report",
    }


def test_what_a_job_raises_is_on_its_span(spans: Record) -> None:
    """As an exception, as the status and as the type of the error."""
    run = spans.first_run("failing").facts
    assert (run["status"]["status_code"], run["attributes"]["error.type"]) == ("ERROR", "BoomError")
    (event,) = run["events"]
    assert event["attributes"]["exception.message"] == "as it should"


@pytest.mark.parametrize(("way", "part"), [("callback", "on_success"), ("failing", "on_failure")])
def test_a_callback_is_a_child_of_its_job(spans: Record, way: str, part: str) -> None:
    """With a span of its own kind, in which the callback runs."""
    job_id = spans.ways[way]["jobs"][0]
    (seen,) = spans.seen(job_id, part)
    (span,) = [line for line in spans.of("span") if line["name"].startswith(part)]
    assert span["context"]["span_id"] == f"0x{seen['span']}"
    assert span["parent_id"] == f"0x{spans.runs(job_id)[0].span}"
    assert span["kind"] == "SpanKind.INTERNAL"


@pytest.mark.parametrize("way", ["enqueue", "enqueue_in", "depends_on"])
def test_baggage_travels(spans: Record, way: str) -> None:
    """Also into a new trace; and no job has that of another."""
    (seen,) = spans.seen(spans.ways[way]["jobs"][0])
    assert seen["baggage"] == {"way": way}


# --- Sentry ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [*DELAYED, *TWICE])
def test_the_trace_goes_on_later_too(sentry: Record, way: str) -> None:
    """On the ways that the SDK's own integration misses, and in each run."""
    for run in sentry.runs(sentry.ways[way]["jobs"][0]):
        assert (run.trace, run.parent) == sentry.view(way)


def test_a_transaction_is_named_after_its_function(sentry: Record) -> None:
    """Whoever has started it."""
    run = sentry.first_run("failing").facts
    assert run["transaction"] == "support.traced_app.fail"
    assert run["contexts"]["trace"]["op"] == (
        "queue.process" if sentry.library == "sentry-alone" else "queue.task.rq"
    )


def test_each_final_failure_is_reported_once_and_in_its_trace(sentry: Record) -> None:
    """Not the failure that a retry follows."""
    assert sorted(sentry.errors()) == [
        ("as it should", sentry.view("failing")[0]),
        ("the first time", sentry.view("requeue")[0]),
    ]


def test_tags_of_a_job_reach_its_error_and_no_other_job(sentry: Record) -> None:
    """A worker runs many jobs in one process; each has an isolation scope of its own."""
    tags = {
        event["exception"]["values"][0]["value"]: list(event["tags"])
        for event in (line["event"] for line in sentry.of("event"))
        if "exception" in event
    }
    assert tags["as it should"] == [f"job-{sentry.ways['failing']['jobs'][0]}"]
    assert [line["tags"] for line in sentry.of("seen")] == [[] for _ in sentry.of("seen")]
