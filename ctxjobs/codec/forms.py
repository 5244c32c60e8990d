"""What encoding and decoding agree on: the shape of primitives, the depth, the names of places.

May import the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Primitive: TypeAlias = "bool | int | float | str | list[Primitive] | dict[str, Primitive] | None"
#: Gives the end of a path, such as ``[3]`` or ``.price``. Called only when there is a culprit: each
#: level puts its own part before the path of the error that rises through it.
Part: TypeAlias = Callable[[Any], str]

#: Levels of containers in one value; a cycle ends here. Far below Python's recursion limit (1000).
MAX_DEPTH = 32
#: Integers from -INT64 to INT64 - 1 stand for themselves: any reader of JSON keeps them exactly.
INT64 = 2**63


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for an object that is loaded where the job runs: a value like others, inert.

    Attributes:
        name: The name of its model.
        key: What the model's loader finds it by.
    """

    name: str
    key: Any


def name_of(cls: type) -> str:
    """Name a class on the wire: ``module:qualname``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def is_text(value: str) -> bool:
    """Tell whether a string can be written as UTF-8, that is, has no lone surrogates."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


index_part: Part = "[{}]".format


def key_part(key: object) -> str:
    """Name the value of a key: ``.price``, ``['odd key']``, ``[3]``."""
    if type(key) is str:
        short = key if len(key) <= 40 else key[:37] + "..."
        return f".{short}" if short.isidentifier() else f"[{short!r}]"
    return f"[{key}]" if type(key) is int and abs(key) < INT64 else "[...]"


def keys_part(_key: object) -> str:
    """Name a key itself, which may not be fit to be shown."""
    return ".keys()"


def no_part(_key: object) -> str:
    """Name nothing: a payload stands where its object stands."""
    return ""
