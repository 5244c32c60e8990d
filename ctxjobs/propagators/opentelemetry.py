"""The trace and the baggage of OpenTelemetry: from the code that enqueues to a span around the job.

May import the floors of running jobs and hosts, and below; never OpenTelemetry, which is loaded wherever
an app has set up its SDK.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from typing import Any, Final
from weakref import WeakKeyDictionary

from ctxjobs.errors import JobDroppedError
from ctxjobs.hosts import Active, Host
from ctxjobs.inbound import checked_trace_headers
from ctxjobs.running import Delivery, RunningJob, cv_job

#: Longest time that a process waits at its end for spans to be sent, in milliseconds.
FLUSH_MS: Final = 3000


class OpenTelemetryPropagator:
    """Trace context and baggage, in the format of the global propagator (``OTEL_PROPAGATORS``).

    The run of a job is a CONSUMER span: a child of the span that was current at the enqueue when the job runs
    at once; else, and for each run after the first, in a new trace with a link to that span. A callback is an
    INTERNAL span, a child of its job's.

    Sources: semantic conventions for messaging spans (names and attributes; status: development), and
    NServiceBus, which starts new traces for delayed and retried messages (Particular/NServiceBus#7845): one
    trace for a job that repeats itself for ever would grow for ever (BullMQ#2942).
    """

    name = "opentelemetry"
    essential = False

    def __init__(self) -> None:
        self._spans: WeakKeyDictionary[RunningJob, Any] = WeakKeyDictionary()

    def wanted(self, host: Host) -> bool:
        """Whether this process has set a tracer provider; that the API is installed says nothing."""
        return _provider() is not None

    def capture(self, active: Active) -> Any:
        """The headers that the global propagator injects; none where there is no trace."""
        headers: dict[str, str] = {}
        _propagate().inject(headers)
        return headers

    def check(self, value: Any) -> tuple[Any, Mapping[str, str]]:
        """What is W3C's grammar, or short; baggage may have come in with a request."""
        return checked_trace_headers(value)

    def restore(self, value: Any, active: Active) -> AbstractContextManager[Any]:
        """A scope: the span of the job; without a job, the context alone."""
        return self._scope(value)

    def clear(self, active: Active) -> AbstractContextManager[Any]:
        """A scope with a trace of its own and no baggage."""
        return self._scope({})

    def flush(self) -> None:
        """Send what a batch processor still holds."""
        if (provider := _provider()) is not None and hasattr(provider, "force_flush"):
            provider.force_flush(FLUSH_MS)

    @contextmanager
    def _scope(self, headers: Mapping[str, str]) -> Iterator[None]:
        context = sys.modules["opentelemetry.context"]
        job = cv_job.get(None)
        token = context.attach(_propagate().extract(headers, context=context.Context()))
        try:
            if job is None:
                yield
            else:
                with _ended_with_its_error(self._start(job)):
                    yield
        finally:
            context.detach(token)

    def _start(self, job: RunningJob) -> Any:
        """The span of what runs now of *job*, in the current context."""
        trace = sys.modules["opentelemetry.trace"]
        delivery, sender = job.delivery, trace.get_current_span()
        is_function = delivery.part == "function"
        parent = sender if delivery.immediate else trace.INVALID_SPAN
        if not is_function:
            parent = self._spans.get(job, parent)
        linked = [sender.get_span_context()] if parent is trace.INVALID_SPAN else []
        span = trace.get_tracer("ctxjobs").start_span(
            _span_name(delivery),
            trace.set_span_in_context(parent),
            kind=trace.SpanKind.CONSUMER if is_function else trace.SpanKind.INTERNAL,
            attributes=_attributes(job.id, delivery),
            links=[trace.Link(each) for each in linked if each.is_valid],
        )
        if is_function:
            self._spans[job] = span
        return span


@contextmanager
def _ended_with_its_error(span: Any) -> Iterator[None]:
    """Make *span* current, and end it; what the block raises is its error, unless the job is dropped."""
    trace = sys.modules["opentelemetry.trace"]
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except JobDroppedError:
            raise
        except BaseException as exc:
            span.set_attribute("error.type", type(exc).__qualname__)
            span.record_exception(exc)
            span.set_status(trace.Status(trace.StatusCode.ERROR, type(exc).__qualname__))
            raise


def _span_name(delivery: Delivery) -> str:
    if delivery.part == "function":
        return f"process {delivery.queue}"
    return f"{delivery.part} {delivery.function}"


def _attributes(job_id: str, delivery: Delivery) -> dict[str, str]:
    code = {"code.function.name": delivery.function}
    if delivery.part != "function":
        return code
    return {
        "messaging.system": "rq",  # the conventions list no system that applies, and allow others
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": delivery.queue,
        "messaging.message.id": job_id,
        **code,
    }


def _propagate() -> Any:
    """The API's own module, which its SDK need not have loaded (measured with 1.45)."""
    return import_module("opentelemetry.propagate")


def _provider() -> Any:
    """The tracer provider; None if OpenTelemetry is not loaded, or nobody has set one."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = trace.get_tracer_provider()
    # Not isinstance(): these are abstract base classes, and every capture asks.
    unset = type(provider) in (trace.ProxyTracerProvider, trace.NoOpTracerProvider)
    return None if unset else provider
