"""The trace of Sentry: goes on in the job, on every way to enqueue.

May import the floors of running jobs and hosts, and below; never the SDK, which is loaded wherever an app
has initialised it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from ctxjobs.errors import JobDroppedError
from ctxjobs.hosts import Active, Host
from ctxjobs.inbound import checked_trace_headers
from ctxjobs.running import RunningJob, cv_job

#: Longest time that a process waits at its end for events to be sent, in seconds.
FLUSH_S: Final = 3.0
#: Where Sentry's own RQ integration looks for the trace (``sentry_sdk/integrations/rq.py``).
META_KEY: Final = "_sentry_trace_headers"

_ORIGIN: Final = "auto.queue.ctxjobs"


class SentryPropagator:
    """The headers ``sentry-trace`` and ``baggage``, an isolation scope for each job, and its transaction.

    Where the SDK's own RQ integration is on, which it is by default, transaction and error events of a job
    are this integration's, and it gets the headers in ``job.meta`` on the ways to enqueue that it misses
    (measured with 2.75: ``enqueue_in`` and ``enqueue_many``). Else both are ours.
    """

    name = "sentry"
    essential = False

    def wanted(self, host: Host) -> bool:
        """Whether the SDK was initialised with a DSN or a transport."""
        return _client() is not None

    def capture(self, active: Active) -> Any:
        """The headers of the current span, or of the trace that a scope without spans belongs to."""
        sentry = sys.modules["sentry_sdk"]
        headers = {"sentry-trace": sentry.get_traceparent(), "baggage": sentry.get_baggage()}
        return {name: value for name, value in headers.items() if value}

    def check(self, value: Any) -> tuple[Any, Mapping[str, str]]:
        """What has the form of these headers; they may have come in with a request."""
        return checked_trace_headers(value)

    def meta(self, value: Any) -> Mapping[str, Any]:
        """The headers, for the SDK's RQ integration."""
        return {META_KEY: value} if value and _has_rq_integration() else {}

    def restore(self, value: Any, active: Active) -> AbstractContextManager[Any]:
        """A scope: an isolation scope in the trace, with a transaction if nobody has started one."""
        return _scope(value)

    def clear(self, active: Active) -> AbstractContextManager[Any]:
        """A scope with a trace of its own."""
        return _scope({})

    def flush(self) -> None:
        """Send what the SDK's thread has not sent yet."""
        if (client := _client()) is not None:
            client.flush(FLUSH_S)


@contextmanager
def _scope(headers: Mapping[str, str]) -> Iterator[None]:
    sentry = sys.modules["sentry_sdk"]
    job, outer = cv_job.get(None), sentry.get_current_scope()
    with sentry.isolation_scope() as own:
        own.clear_breadcrumbs()
        if _is_traced(outer):
            with _handed_over(own, outer):
                yield
        elif job is None or job.delivery.part != "function":
            sentry.continue_trace(headers)
            yield
        else:
            with _dropped_outside(_transaction(job, headers)), _captured(job):
                yield


def _is_traced(scope: Any) -> bool:
    """Whether a transaction is under way: of the RQ integration, or of a view that runs the job itself."""
    return getattr(scope, "span", None) is not None or getattr(scope, "streamed_span", None) is not None


@contextmanager
def _handed_over(own: Any, outer: Any) -> Iterator[None]:
    """Give what the job set on its scope to the one in which the RQ integration will report the error."""
    try:
        yield
    except BaseException:
        outer.update_from_scope(own)
        raise


def _transaction(job: RunningJob, headers: Mapping[str, str]) -> AbstractContextManager[Any]:
    """A transaction that goes on with the trace; names as in Sentry's docs on queues."""
    sentry = sys.modules["sentry_sdk"]
    function = job.delivery.function
    data = {"messaging.message.id": job.id, "messaging.destination.name": job.delivery.queue}
    scope: AbstractContextManager[Any]
    if _is_streaming():
        sentry.traces.continue_trace(headers)
        own = {"sentry.op": "queue.process", "sentry.origin": _ORIGIN, "sentry.segment.name.source": "task"}
        scope = sentry.traces.start_span(name=function, attributes={**own, **data}, parent_span=None)
    else:
        span = sentry.continue_trace(headers, "queue.process", function, "task", _ORIGIN)
        for key, value in data.items():
            span.set_data(key, value)
        scope = sentry.start_transaction(span)
    return scope


@contextmanager
def _dropped_outside(transaction: AbstractContextManager[Any]) -> Iterator[None]:
    """A job that a policy drops is no failed transaction."""
    dropped = None
    with transaction:
        try:
            yield
        except JobDroppedError as exc:
            dropped = exc
    if dropped is not None:
        raise dropped


@contextmanager
def _captured(job: RunningJob) -> Iterator[None]:
    """Report what a job raises that will not be retried, as the RQ integration does where it is on."""
    try:
        yield
    except JobDroppedError:
        raise
    except BaseException as exc:
        if not job.delivery.retries_left and not _has_rq_integration():
            sys.modules["sentry_sdk"].capture_exception(exc)
        raise


def _is_streaming() -> bool:
    options = getattr(_client(), "options", None)
    utils = sys.modules["sentry_sdk.tracing_utils"]
    return hasattr(utils, "has_span_streaming_enabled") and bool(utils.has_span_streaming_enabled(options))


def _has_rq_integration() -> bool:
    client = _client()
    return client is not None and client.get_integration("rq") is not None


def _client() -> Any:
    """The SDK's client; None if the SDK is not loaded, or sends nothing."""
    get_client = getattr(sys.modules.get("sentry_sdk"), "get_client", None)
    client = get_client() if get_client is not None else None
    sends = client is not None and client.is_active() and getattr(client, "transport", None) is not None
    return client if sends else None  # init() without a DSN makes a client without a transport
