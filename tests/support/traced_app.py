"""An app that is traced, by OpenTelemetry or by Sentry; its jobs; and what a library recorded, in a file.

The library is chosen by the environment: ``TRACED_BY``, with ``TRACED_TO`` the file. Both libraries buffer
what they record until they are told to send it, as they do in production.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import opentelemetry.baggage
import opentelemetry.context
import opentelemetry.propagate
import opentelemetry.trace
import sentry_sdk
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from rq import Retry
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.rq import RqIntegration
from sentry_sdk.transport import Transport

from ctxjobs import App, CtxJobs, current_job, job

#: OpenTelemetry; Sentry as it comes; Sentry without its own RQ integration.
LIBRARIES = ("opentelemetry", "sentry", "sentry-alone")
#: Longer than any test: nothing is sent but by a flush.
NEVER_MS = 3_600_000


class BoomError(Exception):
    """What the failing jobs raise."""


def write(kind: str, /, **facts: Any) -> None:
    with Path(os.environ["TRACED_TO"]).open("a") as file:
        file.write(json.dumps({"wrote": kind, **facts}) + "\n")


class FileExporter(SpanExporter):
    """Writes each span as a line."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            write("span", **json.loads(span.to_json(indent=None)))
        return SpanExportResult.SUCCESS


class FileTransport(Transport):
    """Writes each event as a line, once it is flushed."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.buffer: list[tuple[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.buffer += [(str(item.type), item.payload.json) for item in envelope.items]

    def flush(self, timeout: float, callback: Any = None) -> None:
        for kind, event in self.buffer:
            write(kind, event=json.loads(json.dumps(event, default=str)))
        self.buffer.clear()


def set_up(library: str) -> None:
    """What an app does at its start."""
    if library == "opentelemetry":
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(FileExporter(), schedule_delay_millis=NEVER_MS))
        opentelemetry.trace.set_tracer_provider(provider)
    else:
        disabled = [RqIntegration()] if library == "sentry-alone" else []
        sentry_sdk.init(transport=FileTransport(), traces_sample_rate=1.0, disabled_integrations=disabled)


def create_app() -> App:
    set_up(os.environ["TRACED_BY"])
    app = App(__name__)
    app.config.update(SECRET_KEY="k" * 32, CTXJOBS_APP_ID="traced")
    CtxJobs(app)
    return app


def here() -> dict[str, str]:
    """The trace and the span of the code that calls."""
    if os.environ["TRACED_BY"] == "opentelemetry":
        found = opentelemetry.trace.get_current_span().get_span_context()
        return {"trace": f"{found.trace_id:032x}", "span": f"{found.span_id:016x}"}
    trace_id, span_id, *_ = str(sentry_sdk.get_traceparent()).split("-")
    return {"trace": trace_id, "span": span_id}


@contextmanager
def view(name: str) -> Iterator[None]:
    """What an instrumentation does around a request: a trace of its own."""
    if os.environ["TRACED_BY"] == "opentelemetry":
        token = opentelemetry.context.attach(opentelemetry.baggage.set_baggage("way", name))
        with opentelemetry.trace.get_tracer("view").start_as_current_span(name):
            yield
        opentelemetry.context.detach(token)
    else:
        with sentry_sdk.isolation_scope(), sentry_sdk.start_transaction(sentry_sdk.continue_trace({})):
            yield


def look(what: str = "function") -> None:
    """Record where the running job is; and leave a tag, which no other job may have."""
    write(
        "seen",
        job=current_job.id,
        what=what,
        baggage=dict(opentelemetry.baggage.get_all()),
        tags=list(sentry_sdk.get_isolation_scope()._tags),
        **here(),
    )
    sentry_sdk.set_tag(f"job-{current_job.id}", "yes")


@job
def report(label: str = "") -> str:
    look()
    return label


@job
def fail() -> None:
    look()
    raise BoomError("as it should")


@job
def flaky() -> None:
    """Raise the first time."""
    look()
    if current_job.connection.incr(f"runs:{current_job.id}") == 1:
        raise BoomError("the first time")


@job
def come_back() -> Any:
    """Return a ``Retry`` the first time."""
    look()
    return Retry(max=1) if current_job.connection.incr(f"runs:{current_job.id}") == 1 else None


@job
def nest() -> str:
    look()
    return str(report.enqueue().id)


def on_success(job: Any, connection: Any, result: Any) -> None:
    look("on_success")


def on_failure(job: Any, connection: Any, *exc_info: Any) -> None:
    look("on_failure")
