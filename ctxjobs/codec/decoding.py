"""Primitive -> value: strict, because what it reads may have been tampered with.

May import ``forms``, ``scalars`` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, TypeVar

from ctxjobs.codec import scalars
from ctxjobs.codec.forms import (
    INT64,
    MAX_DEPTH,
    Part,
    Primitive,
    Reference,
    index_part,
    is_text,
    key_part,
    keys_part,
    no_part,
)
from ctxjobs.errors import DecodeError, ReferenceGoneError, UnknownModelError

T = TypeVar("T")
#: Keys of one dict, or items of one set, with the same hash. Hashes of numbers can be chosen: a megabyte of
#: such keys took a second here, sixteen of them minutes, as each is compared with all before it.
MAX_SAME_HASH = 1000
#: Takes the name and the key of a reference; gives what shall stand in its place.
Referent: TypeAlias = Callable[[str, Any], Any]
#: Takes a primitive, or the payload of a tag, the level on which it stands, and what references become.
Decoder: TypeAlias = Callable[[Any, int, Referent], Any]

#: What a constructor raises when data does not fit it. Anything else (the database is away) is
#: not the data's fault and passes.
_MISFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
#: Errors that know their place: each level puts its part before it.
_PLACED = (DecodeError, ReferenceGoneError, UnknownModelError)


def decode(primitive: Primitive, path: str = "value", referent: Referent = Reference) -> Any:
    """Build the value that ``encode`` was given. Classes come from what is already imported.

    Args:
        primitive: What ``encode`` returned, perhaps tampered with since.
        path: Where it stands, as errors shall name it.
        referent: What to make of a reference, called with the name of its model and its key;
            what it raises passes. Without it, a :class:`Reference` stands there.

    Raises:
        DecodeError: It is not what ``encode`` writes, or names a type unknown here. What else
            a registered type raises while it is built (its database is away) passes.
    """
    if type(primitive) is str and primitive.isascii():  # most values are
        return primitive
    return _decode(primitive, 0, str, path, referent)


def add_object(tag: str, from_primitive: Callable[[Any], object]) -> None:
    """Build what has this tag by a function of the decoded payload."""

    def decode_object(payload: object, depth: int, referent: Referent) -> object:
        value = _decode(payload, _deeper(depth), no_part, None, referent)
        return _built(tag, from_primitive, value)

    decoders[tag] = decode_object


def add_fields(tag: str, build: Callable[..., object]) -> None:
    """Build what has this tag by a constructor that takes the payload's items by name."""

    def decode_fields(payload: object, depth: int, referent: Referent) -> object:
        named: dict[str, Any] = _decode_dict(_as(dict, tag, payload), depth, referent)
        return _built(tag, build, **named)

    decoders[tag] = decode_fields


def _decode(primitive: Any, depth: int, part: Part, key: object, referent: Referent) -> Any:
    try:
        decoder: Decoder = _SHAPES.get(type(primitive), _decode_misshapen)
        return decoder(primitive, depth, referent)
    except _PLACED as error:
        error.path = part(key) + error.path
        raise


def _decode_misshapen(primitive: object, depth: int, referent: Referent) -> Any:
    raise DecodeError("", f"{type(primitive).__qualname__} is no type of JSON")


def _only(fits: Callable[[Any], bool], reason: str) -> Decoder:
    def decode_checked(primitive: Any, depth: int, referent: Referent) -> Any:
        if fits(primitive):
            return primitive
        raise DecodeError("", reason)

    return decode_checked


def _decode_list(primitive: list[Any], depth: int, referent: Referent) -> list[Any]:
    depth = _deeper(depth)
    return [_decode(item, depth, index_part, index, referent) for index, item in enumerate(primitive)]


def _decode_dict(primitive: dict[Any, Any], depth: int, referent: Referent) -> Any:
    if "~" in primitive:
        return _decode_tagged(primitive, depth, referent)
    depth = _deeper(depth)
    return {_plain_key(key): _decode(item, depth, key_part, key, referent) for key, item in primitive.items()}


def _plain_key(key: object) -> str:
    if type(key) is str and key[:1] != "~" and is_text(key):
        return key
    raise DecodeError(key_part(key), "such a key needs a tag")


def _decode_tagged(primitive: dict[Any, Any], depth: int, referent: Referent) -> Any:
    tag = primitive["~"]
    if len(primitive) != 2 or "v" not in primitive or type(tag) is not str:
        raise DecodeError("", "a tagged value has a tag, a payload and nothing else")
    if tag not in decoders:
        reason = f"no type is registered as {_short(tag)} here; import its module where the app is made"
        raise DecodeError("", reason)
    return decoders[tag](primitive["v"], depth, referent)


def _built(tag: str, build: Callable[..., T], /, *parts: Any, **named: Any) -> T:
    """What *build* makes of the decoded parts of a payload; where they do not fit, they are to blame."""
    try:
        return build(*parts, **named)
    except _PLACED:
        raise
    except _MISFIT as error:
        if tag in OWN_TAGS:  # the text of Python's own errors shows the value
            raise DecodeError("", f"no {tag} can be built from it") from None
        raise DecodeError("", f"no {_short(tag)} can be built from it ({_short(str(error))})") from error


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:200] + "..."


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise DecodeError("", f"it has more than {MAX_DEPTH} levels")
    return depth + 1


def _as(cls: type[T], tag: str, payload: object) -> T:
    if type(payload) is cls:
        return payload
    found = f"its payload is {type(payload).__name__}, not {cls.__name__}"
    raise DecodeError("", f"no {_short(tag)} can be built from it ({found})")


def _pair(tag: str, payload: object) -> list[Any]:
    pair: list[Any] = _as(list, tag, payload)
    if len(pair) == 2:
        return pair
    raise DecodeError("", f"no {tag} can be built from it ({len(pair)} values are no pair)")


def _decode_pairs(payload: object, depth: int, referent: Referent) -> dict[Any, Any]:
    depth = _deeper(depth)
    decoded = [
        (_decode(key, depth, keys_part, key, referent), _decode(item, depth, key_part, key, referent))
        for key, item in [_pair("dict", pair) for pair in _as(list, "dict", payload)]
    ]
    return _built("dict", _dict_of, decoded)


def _dict_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    _check_hashes(key for key, _ in pairs)
    return dict(pairs)


def _set_of(items: list[Any]) -> set[Any]:
    _check_hashes(items)
    return set(items)


def _check_hashes(keys: Iterable[Any]) -> None:
    if max(Counter(map(hash, keys)).values(), default=0) > MAX_SAME_HASH:
        raise DecodeError("", f"more than {MAX_SAME_HASH} of its keys have the same hash")


def _decode_reference(payload: object, depth: int, referent: Referent) -> Any:
    name, key = _pair("ref", payload)
    if type(name) is not str:
        raise DecodeError("", "the name of a reference is no str")
    return referent(name, _decode(key, _deeper(depth), no_part, None, Reference))


def _from_items(tag: str, build: Callable[[list[Any]], Any]) -> Decoder:
    def decode_items(payload: object, depth: int, referent: Referent) -> Any:
        items = _decode_list(_as(list, tag, payload), depth, referent)
        return _built(tag, build, items)

    return decode_items


def _from_scalar(tag: str, decode_scalar: Callable[[Any], Any]) -> Decoder:
    return lambda payload, depth, referent: _built(tag, decode_scalar, payload)


_SHAPES: dict[type, Decoder] = {
    type(None): lambda primitive, depth, referent: primitive,
    bool: lambda primitive, depth, referent: primitive,
    int: _only(lambda number: -INT64 <= number < INT64, "such a long integer needs a tag"),
    float: _only(math.isfinite, "JSON has no such number"),
    str: _only(is_text, "a lone surrogate is no text"),
    list: _decode_list,
    dict: _decode_dict,
}
#: By tag: the codec's own, and those of the classes that were registered.
decoders: dict[str, Decoder] = {
    "dict": _decode_pairs,
    "tuple": _from_items("tuple", tuple),
    "set": _from_items("set", _set_of),
    "frozenset": _from_items("frozenset", lambda items: frozenset(_set_of(items))),
    "ref": _decode_reference,
    **{tag: _from_scalar(tag, decode_scalar) for tag, decode_scalar in scalars.DECODERS.items()},
}
OWN_TAGS = frozenset(decoders)
