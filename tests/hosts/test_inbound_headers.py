"""Headers from outside, from a request to a job: bounded, checked, and the job knows why one is missing."""

from __future__ import annotations

import pytest
from support.both_hosts import Web

from ctxjobs import Capture, capture, run_in_context
from ctxjobs.errors import NotCapturedError
from ctxjobs.policy import SAFE_HEADERS
from ctxjobs.snapshot import Snapshot

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def taken(web: Web, policy: Capture | None = None, **environ: str) -> Snapshot:
    with web.app().test_request_context("/", environ_overrides=environ):
        return capture(policy)


@pytest.mark.parametrize("header", [name for name in SAFE_HEADERS if name != "Host"])
def test_no_header_can_keep_a_view_from_enqueuing(web: Web, header: str) -> None:
    """A client that sends 60 kB gets no error; the job does without the header."""
    key = "HTTP_" + header.upper().replace("-", "_")
    snapshot = taken(web, **{key: "SECRET" * 10_000})
    assert snapshot.request is not None
    assert key not in snapshot.request.environ
    assert list(snapshot.skipped) == [f"headers.{header.title()}"]
    assert b"SECRET" not in snapshot.to_bytes(100_000)


def test_all_of_them_together_cannot_either(web: Web) -> None:
    """Each one as long as it may be."""
    keys = ["HTTP_" + name.upper().replace("-", "_") for name in SAFE_HEADERS if "-ID" not in name]
    snapshot = taken(web, **dict.fromkeys(keys, "x" * 4096))
    assert len(snapshot.to_bytes(32_768)) < 20_000


def test_a_request_id_that_is_none_does_not_travel(web: Web) -> None:
    """It gets neither into Redis nor into the log of the worker."""
    snapshot = taken(web, HTTP_X_REQUEST_ID="<script>SECRET")
    assert b"SECRET" not in snapshot.to_bytes(100_000)
    assert "SECRET" not in repr(snapshot)


def test_a_job_that_reads_it_is_told_why(web: Web) -> None:
    """A bare read raises with the reason; asking finds nothing."""
    snapshot = taken(web, HTTP_X_REQUEST_ID="no id")
    request = web.module.request
    with pytest.raises(NotCapturedError, match=r"'X-Request-Id'.*it is no id.*as an argument"):
        run_in_context(snapshot, lambda: request.headers["X-Request-ID"])
    assert run_in_context(snapshot, lambda: request.headers.get("X-Request-ID")) is None


def test_a_job_of_that_job_is_told_the_same(web: Web) -> None:
    """The reason goes on with the chain."""
    snapshot = taken(web, HTTP_X_REQUEST_ID="no id")
    assert run_in_context(snapshot, capture).skipped == snapshot.skipped


@pytest.mark.parametrize("header", ["traceparent", "tracestate", "baggage", "sentry-trace", "b3"])
def test_the_trace_of_the_client_does_not_travel_as_a_header(web: Web, header: str) -> None:
    """Even where the policy lists it: an instrumentation in the job would take the client for its parent."""
    key = "HTTP_" + header.upper().replace("-", "_")
    snapshot = taken(web, Capture(headers=(header, "Host")), **{key: PARENT})
    assert snapshot.request is not None
    assert key not in snapshot.request.environ
    assert "the client's trace" in snapshot.skipped[f"headers.{header.title()}"]


def test_a_header_with_a_line_break_does_not_travel(web: Web) -> None:
    """No server lets one through; a middleware may make one."""
    snapshot = taken(web, HTTP_USER_AGENT="browser\r\nX-Forged: yes")
    assert "headers.User-Agent" in snapshot.skipped
