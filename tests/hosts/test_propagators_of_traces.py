"""OpenTelemetry and Sentry with the real libraries, in one process; tests/process has all ways to enqueue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import opentelemetry.baggage
import opentelemetry.context
import opentelemetry.trace
import pytest
import sentry_sdk
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

import ctxjobs
from ctxjobs import App, Capture, CtxJobs, Snapshot, capture, run_in_context
from ctxjobs.errors import JobDroppedError, TeardownError
from ctxjobs.propagation import run_job
from ctxjobs.propagators import flush_propagators
from ctxjobs.registry import registry
from ctxjobs.running import Delivery


class Job:
    """A job that is restored."""

    id = "job-1"

    def __init__(self, snapshot: Snapshot, **facts: Any) -> None:
        self.snapshot = snapshot
        known = {"part": "function", "immediate": True, "retries_left": 0, **facts}
        self.delivery = Delivery("shop.send", "default", **known)


class MemoryTransport(Transport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[tuple[str, Any]] = []
        self.flushed = 0

    def capture_envelope(self, envelope: Envelope) -> None:
        self.items += [(str(item.type), item.payload.json) for item in envelope.items]

    def flush(self, timeout: float, callback: Any = None) -> None:
        self.flushed += 1

    def of(self, kind: str) -> list[Any]:
        return [event for found, event in self.items if found == kind]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setattr(registry, "apps", {})
    app = App("shop")
    app.config["SECRET_KEY"] = "k" * 32
    CtxJobs(app)
    return app


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """OpenTelemetry, set up for one test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


@pytest.fixture(params=["transactions", "stream"])
def lifecycle(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def transport(lifecycle: str) -> Iterator[MemoryTransport]:
    """Sentry, set up for one test; none of its integrations, which would stay."""
    transport = MemoryTransport()
    options: dict[str, Any] = {"trace_lifecycle": "stream"} if lifecycle == "stream" else {}
    client = sentry_sdk.Client(
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
        **options,
    )
    with sentry_sdk.isolation_scope(), sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        yield transport
    client.close(timeout=0)


def captured(app: App, policy: Capture | None = None) -> Snapshot:
    with app.test_request_context("/"):
        return capture(policy)


def clearing(name: str) -> Capture:
    return Capture(triggers={name: {"request": "clear"}})


def boom() -> None:
    raise ZeroDivisionError("as it should")


# --- Whether they are used ------------------------------------------------------------------


def test_libraries_that_are_only_installed_do_nothing(app: App) -> None:
    """Somebody's dependency has loaded the API; nobody has set up a provider, nor a client."""
    assert dict(captured(app).propagators) == {}


def test_a_provider_of_no_spans_does_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """``NoOpTracerProvider`` is how tracing is switched off."""
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", opentelemetry.trace.NoOpTracerProvider())
    assert dict(captured(app).propagators) == {}


def test_a_client_that_sends_nothing_does_nothing(app: App) -> None:
    """``sentry_sdk.init()`` without a DSN is how Sentry is switched off."""
    client = sentry_sdk.Client(default_integrations=False, auto_enabling_integrations=False)
    with sentry_sdk.new_scope() as scope:
        scope.set_client(client)
        assert dict(captured(app).propagators) == {}


def test_a_worker_without_the_library_runs_the_job(
    app: App, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No span is worth a job."""
    snapshot = captured(app)
    assert "opentelemetry" in snapshot.propagators
    monkeypatch.setattr(opentelemetry.trace, "_TRACER_PROVIDER", None)
    assert run_job(Job(snapshot), snapshot, lambda: "ran") == "ran"


# --- OpenTelemetry --------------------------------------------------------------------------


def test_a_job_that_was_enqueued_in_no_trace_has_a_span(app: App, exporter: InMemorySpanExporter) -> None:
    """By a command, for example: the first span of a trace."""
    snapshot = captured(app)
    run_job(Job(snapshot), snapshot, int)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.parent, len(span.links)) == ("process default", None, 0)


def test_a_span_ends_though_teardown_raises(app: App, exporter: InMemorySpanExporter) -> None:
    """And nothing of it stays current."""
    snapshot = captured(app)
    app.teardown_request(lambda exc: boom())
    with pytest.raises(TeardownError):
        run_job(Job(snapshot), snapshot, int)
    (span,) = exporter.get_finished_spans()
    assert span.end_time is not None
    assert opentelemetry.trace.get_current_span() is opentelemetry.trace.INVALID_SPAN


def test_a_job_that_is_dropped_is_no_error(app: App, exporter: InMemorySpanExporter) -> None:
    """Its policy said so."""

    def drop() -> None:
        raise JobDroppedError("the user is gone")

    snapshot = captured(app)
    with pytest.raises(JobDroppedError):
        run_job(Job(snapshot), snapshot, drop)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is opentelemetry.trace.StatusCode.UNSET


def test_without_a_job_the_context_alone_is_put_back(app: App, exporter: InMemorySpanExporter) -> None:
    """``run_in_context`` makes no span of its own."""
    tracer = opentelemetry.trace.get_tracer("tests")
    with tracer.start_as_current_span("view") as view:
        snapshot = captured(app)
    found = run_in_context(snapshot, opentelemetry.trace.get_current_span).get_span_context()
    assert (found.span_id, found.is_remote) == (view.get_span_context().span_id, True)
    assert [span.name for span in exporter.get_finished_spans()] == ["view"]


def test_nothing_of_the_worker_shines_through(app: App, exporter: InMemorySpanExporter) -> None:
    """Neither its span nor its baggage, in a job that brought none."""
    snapshot = captured(app)
    token = opentelemetry.context.attach(opentelemetry.baggage.set_baggage("of", "worker"))
    with opentelemetry.trace.get_tracer("tests").start_as_current_span("worker"):
        assert run_job(Job(snapshot), snapshot, opentelemetry.baggage.get_all) == {}
    opentelemetry.context.detach(token)
    assert exporter.get_finished_spans()[0].parent is None


def test_baggage_beyond_the_limits_is_skipped_with_the_reason(
    app: App, exporter: InMemorySpanExporter
) -> None:
    """It may have come in with the request; the enqueue goes on, and Redis gets what may travel."""
    context = opentelemetry.context.get_current()
    for number in range(100):
        context = opentelemetry.baggage.set_baggage(f"key{number}", "x" * 50, context)
    token = opentelemetry.context.attach(context)
    snapshot = captured(app)
    opentelemetry.context.detach(token)
    assert "36 of its 100 entries" in snapshot.skipped["propagators.opentelemetry.baggage"]
    assert len(run_in_context(snapshot, opentelemetry.baggage.get_all)) == 64


def test_a_trace_that_is_cleared_is_a_new_one(app: App, exporter: InMemorySpanExporter) -> None:
    """With a span, and without a link."""
    with opentelemetry.trace.get_tracer("tests").start_as_current_span("view"):
        snapshot = captured(app, clearing("opentelemetry"))
        run_job(Job(snapshot), snapshot, int)
    job, view = exporter.get_finished_spans()
    assert (job.parent, job.links, job.name) == (None, (), "process default")
    assert job.context.trace_id != view.context.trace_id


# --- Sentry ---------------------------------------------------------------------------------


def sentry_run(transport: MemoryTransport, lifecycle: str) -> dict[str, Any]:
    """The only transaction or segment that was sent; with the same names."""
    if lifecycle == "transactions":
        (event,) = transport.of("transaction")
        return {"name": event["transaction"], **event["contexts"]["trace"]}
    sentry_sdk.get_client().flush()
    (event,) = transport.of("span")
    (item,) = event["items"]
    attributes = {name: each["value"] for name, each in item["attributes"].items()}
    return {**item, "op": attributes["sentry.op"], "origin": attributes["sentry.origin"], "data": attributes}


def test_a_job_is_a_transaction_in_the_trace(app: App, transport: MemoryTransport, lifecycle: str) -> None:
    """Under the names of Sentry's docs on queues, whichever way the SDK sends spans."""
    snapshot = captured(app)
    trace_id, span_id, *_ = str(sentry_sdk.get_traceparent()).split("-")
    with sentry_sdk.isolation_scope():
        run_job(Job(snapshot), snapshot, int)
    run = sentry_run(transport, lifecycle)
    assert (run["trace_id"], run["parent_span_id"]) == (trace_id, span_id)
    assert (run["name"], run["op"], run["origin"]) == ("shop.send", "queue.process", "auto.queue.ctxjobs")
    assert run["data"]["messaging.message.id"] == "job-1"
    assert run["data"]["messaging.destination.name"] == "default"


def test_what_a_job_raises_is_reported_in_the_trace(app: App, transport: MemoryTransport) -> None:
    """Once, with the tags of the job."""
    snapshot = captured(app)
    trace_id = str(sentry_sdk.get_traceparent())[:32]

    def tagged() -> None:
        sentry_sdk.set_tag("order", "42")
        boom()

    with pytest.raises(ZeroDivisionError):
        run_job(Job(snapshot), snapshot, tagged)
    (event,) = transport.of("event")
    assert (event["contexts"]["trace"]["trace_id"], event["tags"]) == (trace_id, {"order": "42"})


def test_a_failure_that_is_retried_is_not_reported(app: App, transport: MemoryTransport) -> None:
    """As the SDK's own integration does it."""
    snapshot = captured(app)
    with pytest.raises(ZeroDivisionError):
        run_job(Job(snapshot, retries_left=1), snapshot, boom)
    assert transport.of("event") == []


def test_a_dropped_job_is_not_reported(app: App, transport: MemoryTransport) -> None:
    """Its policy said so."""

    def drop() -> None:
        raise JobDroppedError("the user is gone")

    snapshot = captured(app)
    with pytest.raises(JobDroppedError):
        run_job(Job(snapshot), snapshot, drop)
    assert transport.of("event") == []


def test_breadcrumbs_and_tags_do_not_reach_the_next_job(app: App, transport: MemoryTransport) -> None:
    """One process runs many jobs; what it did before them is in no report, either."""
    snapshot = captured(app)
    sentry_sdk.add_breadcrumb(message="of the worker")

    def leave() -> None:
        sentry_sdk.set_tag("order", "42")
        sentry_sdk.add_breadcrumb(message="of the first job")

    run_job(Job(snapshot), snapshot, leave)
    with pytest.raises(ZeroDivisionError):
        run_job(Job(snapshot), snapshot, boom)
    (event,) = transport.of("event")
    assert ("tags" in event, event["breadcrumbs"]["values"]) == (False, [])


def test_a_callback_has_no_transaction(app: App, transport: MemoryTransport) -> None:
    """It is in the trace of its job."""
    snapshot = captured(app)
    trace_id = str(sentry_sdk.get_traceparent())[:32]
    seen = run_job(Job(snapshot, part="on_success"), snapshot, sentry_sdk.get_traceparent)
    assert seen[:32] == trace_id
    assert transport.of("transaction") == []


def test_a_sentry_trace_that_is_cleared_is_a_new_one(app: App, transport: MemoryTransport) -> None:
    """The job does not belong to the view."""
    snapshot = captured(app, clearing("sentry"))
    own = run_job(Job(snapshot), snapshot, sentry_sdk.get_traceparent)
    assert own[:32] != str(sentry_sdk.get_traceparent())[:32]


# --- At the end of a process ----------------------------------------------------------------


def test_all_is_sent_at_the_end(
    app: App, exporter: InMemorySpanExporter, transport: MemoryTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that fails to keeps neither the other from it nor the process from ending."""

    def broken(*args: Any) -> None:
        raise OSError("no collector")

    monkeypatch.setattr(opentelemetry.trace.get_tracer_provider(), "force_flush", broken)
    flush_propagators()
    assert transport.flushed == 1


def test_the_public_names_need_no_library() -> None:
    """Both propagators are registered everywhere; they are wanted where their library is set up."""
    assert not {"opentelemetry", "sentry_sdk"} & {name.partition(".")[0] for name in dir(ctxjobs)}
