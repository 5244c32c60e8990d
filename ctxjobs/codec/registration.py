"""Which classes of the app can travel, and under which names.

May import ``forms``, ``scalars``, ``encoding``, ``decoding`` and :mod:`ctxjobs.errors`. The tables
are those of the process: classes are registered while modules are imported, as they are defined.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from ctxjobs.codec import decoding, encoding, scalars
from ctxjobs.codec.forms import name_of
from ctxjobs.errors import ConfigError

T = TypeVar("T")
C = TypeVar("C", bound="type[Any]")

#: The class of each name on the wire. The codec's own tags can be no class of the app's.
_owners: dict[str, type] = dict.fromkeys(decoding.OWN_TAGS, object)


def register(cls: C) -> C:
    """Let objects of a dataclass, or members of an Enum, travel with jobs. Usable as a decorator.

    A dataclass travels field by field and is built again by ``cls(**fields)``. An Enum at the top
    of an imported module travels without registration; this is for the others.

    Args:
        cls: The class. Its name on the wire is ``module:qualname``.

    Raises:
        ConfigError: It is neither; its constructor does not take exactly its fields; or another
            class has this name.
    """
    _register(cls, name_of(cls))
    return cls


def register_type(
    cls: type[T], name: str, to_primitive: Callable[[T], object], from_primitive: Callable[[Any], T]
) -> None:
    """Let objects of any other class travel with jobs.

    Args:
        cls: The class; objects of its subclasses are not meant.
        name: Its name on the wire; has to stay the same between deployments.
        to_primitive: Takes an object, gives something that ``encode`` takes.
        from_primitive: Takes that, gives an object. ``ArithmeticError``, ``AttributeError``,
            ``LookupError``, ``TypeError`` and ``ValueError`` say that the data does not fit and
            become a ``DecodeError``; any other error passes unchanged.

    Raises:
        ConfigError: Another class has this name, or the codec itself knows the class.
    """
    _claim(cls, name)
    decoding.add_object(name, from_primitive)
    encoding.add_object(cls, name, to_primitive)


def register_reference(cls: type, name: str, key_of: Callable[[Any], object], subclasses: bool) -> None:
    """Let objects of a class travel as references, where these are read by something that loads them.

    Args:
        cls: The class.
        name: The name that its references have.
        key_of: Takes an object, gives what it is found by: something that ``encode`` takes.
        subclasses: Whether objects of classes below it travel as its own do.

    Raises:
        ConfigError: The codec itself knows the class.
    """
    _refuse_builtin(cls, name)
    encoding.add_reference(cls, name, key_of, subclasses)


def _register(cls: Any, name: str) -> None:
    if issubclass(cls, Enum):
        _claim(cls, name)
        scalars.enums[name] = cls
    elif is_dataclass(cls):
        _register_dataclass(cls, name)
    else:
        raise ConfigError(name, "it is neither a dataclass nor an Enum; use ctxjobs.codec.register_type.")


def _register_dataclass(cls: Any, name: str) -> None:
    names = [field.name for field in fields(cls)]
    if set(inspect.signature(cls).parameters) != set(names):
        reason = "it cannot be built from its fields alone (init=False, InitVar or an __init__ of its own)"
        raise ConfigError(name, f"{reason}; use ctxjobs.codec.register_type.")
    _claim(cls, name)
    decoding.add_fields(name, cls)
    encoding.add_fields(cls, name, names)


def _claim(cls: type, name: str) -> None:
    _refuse_builtin(cls, name)
    owner = _owners.setdefault(name, cls)
    if owner is not cls:
        raise ConfigError(name, f"this is the name of {owner!r} already; give {cls!r} another one.")


def _refuse_builtin(cls: type, name: str) -> None:
    if cls in encoding.BUILTIN_TYPES:
        raise ConfigError(name, f"{cls.__qualname__} is a type that the codec itself knows.")
