"""What comes from outside: what is let through, what is not, and that no reason repeats a value."""

from __future__ import annotations

import time

import pytest

from ctxjobs.inbound import (
    MAX_BAGGAGE_BYTES,
    MAX_BAGGAGE_ENTRIES,
    MAX_HEADER,
    MAX_HEADERS,
    MAX_TRACE_HEADERS,
    checked_trace_headers,
    unsafe_headers,
)

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SENTRY = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"


# --- Headers of the request -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X_REQUEST_ID", "7b0c2d1e-5f35-4c8e-a8c1-2f1f1f1f1f1f"),
        ("X_CORRELATION_ID", "x" * 128),
        ("ACCEPT_LANGUAGE", "de, en;q=0.5"),
        ("USER_AGENT", "x" * MAX_HEADER),
        ("X_NAME", "J\u00fcrgen\t(tab)"),
        ("X_EMPTY", ""),
    ],
)
def test_a_header_that_may_travel(name: str, value: str) -> None:
    """What clients really send."""
    assert unsafe_headers({name: value}) == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("X_REQUEST_ID", "x" * 129, "it is no id"),
        ("X_REQUEST_ID", "SECRET root logged in", "it is no id"),
        ("X_CORRELATION_ID", "ok\n", "it is no id"),
        ("X_REQUEST_ID", "", "it is no id"),
        ("ACCEPT_LANGUAGE", "SECRET" + "x" * MAX_HEADER, "the limit is 4096"),
        ("USER_AGENT", "SECRET\r\nforged", "control characters"),
        ("USER_AGENT", "SECRET\x00", "control characters"),
        ("USER_AGENT", "SECRET\x7f", "control characters"),
        ("TRACEPARENT", PARENT, "the client's trace"),
        ("BAGGAGE", "SECRET=1", "the client's trace"),
        ("SENTRY_TRACE", SENTRY, "the client's trace"),
    ],
)
def test_a_header_that_must_not(name: str, value: str, reason: str) -> None:
    """The reason says why, and repeats nothing of the value."""
    said = unsafe_headers({name: value})[name]
    assert reason in said
    assert "SECRET" not in said
    assert value not in said or not value


def test_all_headers_together_are_bounded() -> None:
    """Many headers that are each small enough do not fill a snapshot; small ones still fit in."""
    headers = {f"X_{number}": "x" * MAX_HEADER for number in range(6)} | {"X_LAST": ""}
    kept = [name for name in headers if name not in unsafe_headers(headers)]
    assert kept == ["X_0", "X_1", "X_2", "X_3", "X_LAST"]
    assert sum(len(headers[name]) for name in kept) <= MAX_HEADERS


# --- Headers of traces ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": PARENT},
        {"traceparent": PARENT, "tracestate": "vendor=a:b,t1@sys=x y"},
        {"traceparent": "01" + PARENT[2:] + "-later"},
        {"sentry-trace": SENTRY, "baggage": "sentry-trace_id=1,sentry-sample_rate=0.5"},
        {"sentry-trace": f"{SENTRY}-1"},
        {"baggage": "key1=value1;property1;p=2,key2 = value2,key3="},
        {"b3": "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"},
        {"uber-trace-id": "80f198ee56343ba8:e457b5a2e4d86bd1:0:1"},
        {},
    ],
)
def test_headers_of_a_trace_that_may_travel(headers: dict[str, str]) -> None:
    """W3C's, Sentry's, and those of other formats."""
    assert checked_trace_headers(headers) == (headers, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("traceparent", PARENT.upper()),
        ("traceparent", "ff" + PARENT[2:]),
        ("traceparent", f"00-{'0' * 32}-00f067aa0ba902b7-01"),
        ("traceparent", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01"),
        ("traceparent", PARENT + "-" + "x" * 600),
        ("traceparent", PARENT + "\n"),
        ("tracestate", "vendor=a"),
        ("sentry-trace", SENTRY + "-2"),
        ("b3", "80f198\nee5634"),
        ("b3", "x" * 513),
        ("baggage", "no pair"),
        ("baggage", "key=SECRET\nforged"),
        ("baggage", "key=\u00e9"),
    ],
)
def test_headers_of_a_trace_that_must_not(name: str, value: str) -> None:
    """A state means nothing without its parent; reasons repeat nothing."""
    kept, reasons = checked_trace_headers({name: value})
    assert (kept, list(reasons)) == ({}, [name])
    assert value not in reasons[name]
    assert "SECRET" not in reasons[name]


@pytest.mark.parametrize(
    "state", ["UPPER=1", "a=1,,b=2", "a=" + "x" * 257, ",".join("a=1" for _ in range(33))]
)
def test_a_state_that_is_none_leaves_its_parent(state: str) -> None:
    """As the standard says."""
    kept, reasons = checked_trace_headers({"traceparent": PARENT, "tracestate": state})
    assert (kept, list(reasons)) == ({"traceparent": PARENT}, ["tracestate"])


def test_baggage_is_bounded_in_entries() -> None:
    """The first ones travel, and the reason counts the others."""
    entries = [f"key{number}=1" for number in range(MAX_BAGGAGE_ENTRIES + 3)]
    kept, reasons = checked_trace_headers({"baggage": ",".join(entries)})
    assert kept["baggage"].split(",") == entries[:MAX_BAGGAGE_ENTRIES]
    assert "3 of its 67 entries" in reasons["baggage"]


def test_baggage_is_bounded_in_bytes() -> None:
    """An entry that does not fit is left out, one after it that fits is not."""
    kept, _ = checked_trace_headers({"baggage": f"a={'x' * 8000},b={'x' * 8000},c=1"})
    assert kept["baggage"].endswith("x,c=1")
    assert len(kept["baggage"]) <= MAX_BAGGAGE_BYTES


def test_the_number_of_headers_is_bounded() -> None:
    """And a name that is none does not travel."""
    headers = {f"x-{number}": "1" for number in range(MAX_TRACE_HEADERS + 1)} | {"X bad\n": "1"}
    kept, reasons = checked_trace_headers(headers)
    assert (len(kept), list(reasons)) == (MAX_TRACE_HEADERS, ["others"])


@pytest.mark.parametrize(
    "value", ["a=" + "b=" * 4000, ";" * 8000, "a=1;" * 2000, "a" + " " * 8000, "a=1 ;" * 1600 + "\x00"]
)
def test_no_value_takes_long_to_check(value: str) -> None:
    """A client cannot keep a view busy with a header."""
    start = time.perf_counter()
    checked_trace_headers({"baggage": value, "tracestate": value[:512], "traceparent": value[:512]})
    assert time.perf_counter() - start < 0.5
