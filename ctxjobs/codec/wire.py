"""Primitives <-> JSON, with limits. May import msgspec, ``forms`` and :mod:`ctxjobs.errors`.

msgspec is given primitives only: left alone, it would write dates and tuples without asking.
"""

from __future__ import annotations

import msgspec

from ctxjobs.codec.forms import MAX_DEPTH, Primitive
from ctxjobs.errors import DecodeError

#: Levels of JSON: a dict as pairs takes three per level of the value; the rest is for its frame.
MAX_JSON_LEVELS = 4 * MAX_DEPTH
#: Bytes of JSON that are read at all: 32 times the default limit of a snapshot.
MAX_JSON_BYTES = 1024 * 1024

_write = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder().decode


def dumps(primitive: Primitive) -> bytes:
    """Write primitives as JSON."""
    return _write(primitive)


def loads(data: bytes, max_bytes: int = MAX_JSON_BYTES) -> Primitive:
    """Read JSON into primitives, which are still to be decoded.

    Args:
        data: JSON in UTF-8.
        max_bytes: The largest size that is looked at.

    Raises:
        DecodeError: It is too large, nested too deeply, or no JSON.
    """
    if len(data) > max_bytes:
        raise DecodeError("data", f"it has {len(data)} bytes; the limit is {max_bytes}")
    try:
        primitive: Primitive = _read(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError("data", f"it is not JSON ({error})") from error
    if data.count(b"[") + data.count(b"{") > MAX_JSON_LEVELS:  # else it cannot be too deep
        _check_levels(primitive)
    return primitive


def _check_levels(primitive: Primitive) -> None:
    level = [primitive]
    for _ in range(MAX_JSON_LEVELS):
        level = [child for node in level for child in _containers_in(node)]
        if not level:
            return
    raise DecodeError("data", f"it has more than {MAX_JSON_LEVELS} levels")


def _containers_in(node: Primitive) -> list[Primitive]:
    items = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [item for item in items if isinstance(item, dict | list)]
