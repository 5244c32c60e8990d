"""How each value that holds no other values looks on the wire: dates, numbers, ids, bytes, Enums.

Tables of functions for ``encoding`` and ``decoding``, which walk the containers and know depth and
paths. May import the standard library, ``forms`` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from types import ModuleType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from ctxjobs.codec.forms import INT64, is_text, name_of
from ctxjobs.errors import DecodeError, UnencodableValueError

#: Enums that were registered, by their name on the wire. Others are found among imported modules.
enums: dict[str, type[Enum]] = {}


# --- Encoding ------------------------------------------------------------------------------


def _same(value: Any) -> Any:
    return value


def _encode_int(value: int) -> Any:
    # In hexadecimal: the decimal form of a long number is slow, and Python limits its digits.
    return value if -INT64 <= value < INT64 else {"~": "int", "v": hex(value)}


def _encode_float(value: float) -> Any:
    if math.isfinite(value):
        return value
    raise UnencodableValueError("", f"float {value}", "JSON has no such number: pass None or a str.")


def _encode_str(value: str) -> Any:
    if value.isascii() or is_text(value):
        return value
    advice = "It holds a lone surrogate, which is no text: pass bytes, or replace it."
    raise UnencodableValueError("", "str", advice)


def _encode_decimal(value: Decimal) -> Any:
    if value.is_finite():
        return {"~": "decimal", "v": str(value)}
    raise UnencodableValueError("", f"Decimal {value}", "It is no finite number: pass None or a str.")


def _clock(tag: str) -> Callable[[Any], Any]:
    def encode_clock(value: datetime | time) -> Any:
        zone = (value.tzinfo.key or "") if isinstance(value.tzinfo, ZoneInfo) else ""
        if not zone and value.tzinfo is not None and value.utcoffset() is None:
            advice = "Its time zone has neither a key nor an offset: use zoneinfo.ZoneInfo."
            raise UnencodableValueError("", tag, advice)
        return {"~": tag, "v": [value.isoformat(), value.fold, zone]}

    return encode_clock


def _tagged(tag: str, to_payload: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {"~": tag, "v": to_payload(value)}


def encode_enum(member: Any) -> Any:
    """Encode a member of an Enum by the names of its class and of itself.

    Raises:
        UnencodableValueError: Nobody could find its class by its name.
    """
    cls = type(member)
    name = name_of(cls)
    if _find_enum(name) is not cls:
        advice = "Define it at the top of its module, or register it with ctxjobs.codec.register."
        raise UnencodableValueError("", cls.__qualname__, advice)
    # A | B of a Flag has no name in Python 3.10, and one that is no member's in later ones.
    known = member.name in cls.__members__
    return {"~": "enum", "v": [name, member.name if known else str(member.value)]}


#: Value -> primitive, by exact type.
ENCODERS: dict[type, Callable[[Any], Any]] = {
    type(None): _same,
    bool: _same,
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    bytes: _tagged("bytes", lambda value: binascii.b2a_base64(value, newline=False).decode()),
    datetime: _clock("datetime"),
    time: _clock("time"),
    date: _tagged("date", date.isoformat),
    timedelta: _tagged("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    Decimal: _encode_decimal,
    UUID: _tagged("uuid", lambda value: value.hex),
}


# --- Decoding: DecodeError with our own reason, which shows no value, or an ordinary error ------


def _from_items(build: Callable[..., Any], *kinds: type) -> Callable[[Any], Any]:
    """Check that a payload is a list of items of exactly these types, and build a value of them."""

    def decode_items(payload: object) -> Any:
        if type(payload) is not list or tuple(map(type, payload)) != kinds:
            raise DecodeError("", "its payload has another shape")
        return build(*payload)

    return decode_items


def _from_text(build: Callable[[str], Any]) -> Callable[[Any], Any]:
    decode_items = _from_items(build, str)
    return lambda payload: decode_items([payload])


def _decode_decimal(text: str) -> Decimal:
    value = Decimal(text)
    if value.is_finite():
        return value
    raise DecodeError("", "it is no finite number")


def _decode_datetime(text: str, fold: int, zone: str) -> datetime:
    value = datetime.fromisoformat(text).replace(fold=fold)
    if not zone:
        return value
    if value.tzinfo is None:
        raise DecodeError("", "it has a time zone and no offset")
    local = value.replace(tzinfo=_zone(zone))
    # Where the rules of the zone have changed meanwhile, the instant is kept and not the wall time.
    return local if local.utcoffset() == value.utcoffset() else value.astimezone(local.tzinfo)


def _decode_time(text: str, fold: int, zone: str) -> time:
    value = time.fromisoformat(text).replace(fold=fold)
    return value.replace(tzinfo=_zone(zone)) if zone else value


def _zone(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except (OSError, LookupError, ValueError) as error:
        reason = f"time zone {key[:50]!r} is not known here; 'pip install tzdata' may help"
        raise DecodeError("", reason) from error


def _decode_enum(name: str, member: str) -> Enum:
    cls, shown = _find_enum(name), name[:200]
    if cls is None:
        reason = f"{shown} is no Enum that is imported here; import its module where the app is made"
        raise DecodeError("", reason)
    if member in cls.__members__:
        return cls[member]
    if issubclass(cls, Flag):
        return cls(int(member))
    raise DecodeError("", f"{shown} has no member {member[:200]}")


def _find_enum(name: str) -> type[Enum] | None:
    found: Any = enums.get(name)
    if found is None:
        module, _, qualname = name.partition(":")
        found = sys.modules.get(module)
        for attribute in qualname.split("."):
            found = _namespace(found).get(attribute)
    return found if isinstance(found, type) and issubclass(found, Enum) else None


def _namespace(owner: object) -> Any:
    # Past every __getattr__ and lazy module: those may import.
    return object.__getattribute__(owner, "__dict__") if isinstance(owner, ModuleType | type) else {}


#: Payload -> value, by tag.
DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": _from_text(lambda text: int(text, 16)),
    "bytes": _from_text(lambda text: base64.b64decode(text, validate=True)),
    "datetime": _from_items(_decode_datetime, str, int, str),
    "time": _from_items(_decode_time, str, int, str),
    "date": _from_text(date.fromisoformat),
    "timedelta": _from_items(timedelta, int, int, int),
    "decimal": _from_text(_decode_decimal),
    "uuid": _from_text(UUID),
    "enum": _from_items(_decode_enum, str, str),
}
