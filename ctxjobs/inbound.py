"""What comes from outside and ends in Redis or in logs: ids, headers, trace headers; checked and bounded.

Pure functions on text. Imports the standard library alone. A reason says what is wrong with a value and
never repeats any of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

#: What an id may look like: UUIDs, W3C and vendors' trace ids, base64; 128 characters hold all of them.
SAFE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
#: Headers that hold an id, as the environ spells them without ``HTTP_``.
ID_HEADERS: Final = frozenset({"X_REQUEST_ID", "X_CORRELATION_ID"})
#: Headers of traces. The job's trace is that of the code that enqueued it, not that of the client.
TRACE_HEADERS: Final = frozenset({"TRACEPARENT", "TRACESTATE", "BAGGAGE", "SENTRY_TRACE", "B3"})
#: Largest header, in characters: half of what gunicorn lets through (``limit_request_field_size``).
MAX_HEADER: Final = 4096
#: Largest sum of all headers of a job, in characters: half of a snapshot.
MAX_HEADERS: Final = 16_384
#: Largest ``baggage``, in bytes and in entries: what W3C Baggage says that everybody has to pass on.
MAX_BAGGAGE_BYTES: Final = 8192
MAX_BAGGAGE_ENTRIES: Final = 64
#: Largest ``tracestate`` and any header of another trace format, in bytes (W3C Trace Context, 3.3.1.5).
MAX_TRACE_HEADER_BYTES: Final = 512
#: How many headers a trace may have; B3 has six.
MAX_TRACE_HEADERS: Final = 10

_SPECIAL: Final = ID_HEADERS | TRACE_HEADERS
_NOT_IN_HEADERS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
_NAME: Final = re.compile(r"[a-z0-9_-]{1,64}")

# W3C Trace Context, 3.2.2 and 3.3.1
_KEY: Final = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_STATE: Final = rf"{_KEY}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_FORMS: Final = {
    "traceparent": re.compile(
        r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
    ),
    "tracestate": re.compile(rf"{_STATE}(?:[ \t]*,[ \t]*{_STATE}){{0,31}}"),
    "sentry-trace": re.compile(r"[0-9a-f]{32}-[0-9a-f]{16}(-[01])?"),
}
# W3C Baggage, 3.2.1
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_OCTETS: Final = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_ENTRY: Final = re.compile(
    rf"{_WORD}[ \t]*=[ \t]*{_OCTETS}(?:[ \t]*;[ \t]*{_WORD}(?:[ \t]*=[ \t]*{_OCTETS})?)*"
)


def unsafe_headers(headers: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Why some of *headers* must not travel, by name.

    Args:
        headers: Their values; names as the environ spells them.
        prefix: What their names begin with; others are no headers.

    Returns:
        The reasons, by the names in *headers*.
    """
    together = "".join(headers.values())  # nearly always fine, and then looked at once for all of them
    if len(together) <= MAX_HEADER and together.isprintable():
        suspects = sorted(_special(prefix).intersection(headers))
    else:
        suspects = [name for name in headers if name.startswith(prefix)]
    reasons = {}
    room = MAX_HEADERS
    for name in suspects:
        if (reason := _unsafe_header(name[len(prefix) :], headers[name], room)) is None:
            room -= len(headers[name])
        else:
            reasons[name] = reason
    return reasons


@cache
def _special(prefix: str) -> frozenset[str]:
    return frozenset(prefix + name for name in _SPECIAL)


def _unsafe_header(name: str, value: str, room: int) -> str | None:
    if name in TRACE_HEADERS:
        return "it is about the client's trace; a job gets the trace of the code that enqueues it"
    if len(value) > MAX_HEADER:
        return f"it has {len(value)} characters, the limit is {MAX_HEADER}"
    if len(value) > room:
        return f"it and the headers before it have more than {MAX_HEADERS} characters"
    if name in ID_HEADERS and not SAFE_ID.fullmatch(value):
        return "it is no id: 1 to 128 letters, digits and ._:/+=@-"
    if _NOT_IN_HEADERS.search(value):
        return "it contains control characters"
    return None


def checked_trace_headers(headers: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What of the headers of a trace may travel.

    Args:
        headers: As a tracing library writes them: W3C's ``traceparent``, ``tracestate`` and ``baggage``,
            ``sentry-trace``, or those of another format.

    Returns:
        Those that may, of the baggage its good entries; and why others may not, by name.
    """
    kept: dict[str, str] = {}
    reasons: dict[str, str] = {}
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or len(kept) == MAX_TRACE_HEADERS:
            reasons["others"] = f"their names are none, or there are more than {MAX_TRACE_HEADERS}"
        elif name == "baggage":
            entries, reason = _checked_baggage(value)
            if entries:
                kept[name] = entries
            if reason:
                reasons[name] = reason
        elif reason := _unsafe_trace_header(name, value):
            reasons[name] = reason
        else:
            kept[name] = value
    if "tracestate" in kept and "traceparent" not in kept:
        del kept["tracestate"]
        reasons.setdefault("tracestate", "it means nothing without a traceparent")
    return kept, reasons


def _unsafe_trace_header(name: str, value: str) -> str | None:
    if len(value) > MAX_TRACE_HEADER_BYTES:
        return f"it has {len(value)} characters, the limit is {MAX_TRACE_HEADER_BYTES}"
    if not _FORMS.get(name, _PRINTABLE).fullmatch(value) or not _PRINTABLE.fullmatch(value):
        return "it does not have the form that its standard says"
    return None


def _checked_baggage(value: str) -> tuple[str, str | None]:
    """The entries of a ``baggage`` that may travel, and what became of the others."""
    entries = [entry.strip(" \t") for entry in value.split(",")]
    kept: list[str] = []
    room = MAX_BAGGAGE_BYTES
    for entry in entries:
        if len(entry) <= room and len(kept) < MAX_BAGGAGE_ENTRIES and _ENTRY.fullmatch(entry):
            kept.append(entry)
            room -= len(entry) + 1
    if len(kept) == len(entries):
        return ",".join(kept), None
    return ",".join(kept), (
        f"{len(entries) - len(kept)} of its {len(entries)} entries are not of the form key=value, or go "
        f"beyond {MAX_BAGGAGE_ENTRIES} entries or {MAX_BAGGAGE_BYTES} bytes"
    )
