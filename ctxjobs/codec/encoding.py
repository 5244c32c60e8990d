"""Value -> primitive: the walk through the containers.

May import ``forms``, ``scalars``, ``advice`` and :mod:`ctxjobs.errors`. This is on the path of
every enqueue: it dispatches on ``type(value)`` through dicts and builds no path unless it fails.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, TypeAlias

from ctxjobs.codec import scalars
from ctxjobs.codec.advice import advice_for
from ctxjobs.codec.forms import (
    INT64,
    MAX_DEPTH,
    Part,
    Primitive,
    Reference,
    index_part,
    key_part,
    keys_part,
    no_part,
)
from ctxjobs.errors import UnencodableValueError, ValueLimitError

#: Takes a value, the level on which it stands, and whether a model may become a reference here.
Encoder: TypeAlias = Callable[[Any, int, bool], Primitive]

_NO_REFERENCE = (
    "A model travels as an argument or on g, where it is loaded again: pass or return its id instead."
)


def encode(value: object, path: str, references: bool = False) -> Primitive:
    """Copy a value into tagged primitives; later changes of the value do not reach the copy.

    Args:
        value: What to encode.
        path: Where it stands, as errors shall name it: ``g.order``.
        references: Whether registered models in it may travel as references: who reads it has to load them.

    Raises:
        UnencodableValueError: A value in it has a type that cannot travel.
        ValueLimitError: It has more than :data:`MAX_DEPTH` levels, or contains itself.
    """
    if type(value) is str and value.isascii():  # most values are
        return value
    if type(value) is int and -INT64 <= value < INT64:
        return value
    primitive: Primitive = _encode(value, 0, str, path, references)
    return primitive


def add_object(cls: type, tag: str, to_primitive: Callable[[Any], object]) -> None:
    """Encode objects of a class as what a function makes of them. They count as a level."""
    encoders[cls] = lambda value, depth, references: {
        "~": tag,
        "v": _encode(to_primitive(value), _deeper(depth), no_part, None, references),
    }


def add_fields(cls: type, tag: str, names: list[str]) -> None:
    """Encode objects of a class as the dict of these attributes."""
    encoders[cls] = lambda value, depth, references: {
        "~": tag,
        "v": _encode_dict({name: getattr(value, name) for name in names}, depth, references),
    }


def add_reference(cls: type, name: str, key_of: Callable[[Any], object], subclasses: bool) -> None:
    """Encode objects of a class, and if need be of those below it, as a reference with this name."""

    def encode_model(value: object, depth: int, references: bool) -> Primitive:
        if references:
            return _encode_reference(Reference(name, key_of(value)), depth, references)
        raise UnencodableValueError("", type(value).__qualname__, _NO_REFERENCE)

    encoders[cls] = encode_model
    if subclasses:
        _bases[cls] = encode_model


def _encode(value: Any, depth: int, part: Part, key: object, references: bool) -> Any:
    try:
        cls = type(value)
        scalar = _SCALARS.get(cls)
        if scalar is not None:
            return scalar(value)
        encoder: Encoder = encoders.get(cls, _encode_other)
        return encoder(value, depth, references)
    except (UnencodableValueError, ValueLimitError) as error:
        error.path = part(key) + error.path
        raise


def _encode_other(value: object, depth: int, references: bool) -> Any:
    cls = type(value)  # and never isinstance(): a proxy answers that for what it stands for, or raises
    if issubclass(cls, Enum):
        return scalars.encode_enum(value)
    for base in cls.__mro__:
        if base in _bases:
            return _bases[base](value, depth, references)
    raise UnencodableValueError("", cls.__qualname__, advice_for(value))


def _encode_items(value: Any, depth: int, references: bool) -> list[Primitive]:
    depth = _deeper(depth)
    return [_encode(item, depth, index_part, index, references) for index, item in enumerate(value)]


def _encode_dict(value: dict[Any, Any], depth: int, references: bool) -> Primitive:
    for key in value:
        if type(key) is not str or key[:1] == "~":
            return _encode_pairs(value, depth, references)
    depth = _deeper(depth)
    return {
        key if key.isascii() else _encode_key(key, depth, references): (
            _encode(item, depth, key_part, key, references)
        )
        for key, item in value.items()
    }


def _encode_pairs(value: dict[Any, Any], depth: int, references: bool) -> Primitive:
    depth = _deeper(depth)
    pairs: list[Primitive] = [
        [_encode_key(key, depth, references), _encode(item, depth, key_part, key, references)]
        for key, item in value.items()
    ]
    return {"~": "dict", "v": pairs}


def _encode_key(key: object, depth: int, references: bool) -> Any:
    return _encode(key, depth, keys_part, key, references)


def _tagged_items(tag: str) -> Encoder:
    return lambda value, depth, references: {"~": tag, "v": _encode_items(value, depth, references)}


def _encode_reference(value: Reference, depth: int, references: bool) -> Primitive:
    depth = _deeper(depth)
    parts = (value.name, value.key)  # of plain values: what stands for an object is not loaded itself
    return {"~": "ref", "v": [_encode(part, depth, no_part, None, False) for part in parts]}


def _deeper(depth: int) -> int:
    if depth >= MAX_DEPTH:
        raise ValueLimitError("", "levels", depth + 1, MAX_DEPTH)
    return depth + 1


_SCALARS = scalars.ENCODERS
#: Containers, and the classes that were registered.
encoders: dict[type, Encoder] = {
    list: _encode_items,
    dict: _encode_dict,
    tuple: _tagged_items("tuple"),
    set: _tagged_items("set"),
    frozenset: _tagged_items("frozenset"),
    Reference: _encode_reference,
}
#: Of the models whose subclasses travel under their name.
_bases: dict[type, Encoder] = {}
BUILTIN_TYPES = frozenset(_SCALARS) | frozenset(encoders)
