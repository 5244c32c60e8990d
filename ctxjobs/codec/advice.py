"""What to do instead with a value that cannot travel with a job.

May import the standard library only. Frameworks are told by the names
of their types, never imported. A value is looked at through ``type()`` and never through its own
attributes: a proxy answers those for what it stands for, or raises.
"""

from __future__ import annotations

import functools
import inspect
import io
import types
from collections.abc import Iterator
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

#: By the name of a type among the bases; a leading underscore does not count.
_BY_NAME = {
    "LocalProxy": (
        "It is a proxy, which means something else in every context: pass an id or a plain value taken "
        "from it, such as current_user.id or current_app.name; the job can read the proxy itself."
    ),
    "LazyString": "It is translated each time it is read: call str(value) first, or translate in the job.",
    "MultiDict": "It may hold several values for a key: pass value.to_dict(), or value.to_dict(flat=False).",
    "FileStorage": "It is an uploaded file, gone after the request: save it, and pass its path.",
}

_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    functools.partial,
    type,
)

#: By base class, the first that fits. Enum and the types that travel never get here.
_BY_BASE: tuple[tuple[tuple[type, ...], str], ...] = (
    ((BaseException,), "Pass str(error), or the facts that it holds."),
    ((io.IOBase,), "An open file cannot leave its process: pass its path, or what it contains."),
    (_FUNCTIONS, "Code does not travel: pass a name, and look the code up inside the job."),
    ((types.CoroutineType,), "Await it first, and pass the result."),
    (
        (types.GeneratorType, types.AsyncGeneratorType, Iterator),
        "It can be read only once: pass list(value).",
    ),
)

#: What turns an object of a subclass into one of the base that travels.
_PLAIN_FORM: dict[type, str] = {
    str: "str(value)",
    int: "int(value)",
    float: "float(value)",
    bytes: "bytes(value)",
    bytearray: "bytes(value)",
    memoryview: "bytes(value)",
    dict: "dict(value)",
    list: "list(value)",
    tuple: "tuple(value)",
    set: "set(value)",
    frozenset: "frozenset(value)",
    Decimal: "Decimal(value)",
    UUID: "UUID(value.hex)",
    datetime: "datetime.fromisoformat(value.isoformat())",
    date: "date.fromisoformat(value.isoformat())",
    time: "time.fromisoformat(value.isoformat())",
    timedelta: "timedelta(seconds=value.total_seconds())",
}


def advice_for(value: object) -> str:
    """Say in a sentence or two what to do instead of passing this value.

    Args:
        value: Anything that the codec does not encode. None of its own code runs.
    """
    cls = type(value)
    for look in (_by_name, _by_base, _by_model, _by_plain_form):
        advice = look(value, cls)
        if advice:
            return advice
    return "Pass an id or plain values, or register its type with ctxjobs.codec.register_type."


def _by_name(_value: object, cls: type) -> str | None:
    return next((_BY_NAME[name] for name in map(_bare_name, cls.__mro__) if name in _BY_NAME), None)


def _bare_name(cls: type) -> str:
    return cls.__name__.lstrip("_")


def _by_base(_value: object, cls: type) -> str | None:
    return next((advice for bases, advice in _BY_BASE if issubclass(cls, bases)), None)


def _by_model(value: object, cls: type) -> str | None:
    if _has(value, "_sa_instance_state"):
        return (
            "It belongs to a database session: pass its primary key and load it inside the job, or register "
            "its class with ctxjobs.register_model."
        )
    if is_dataclass(cls):
        return "It is a dataclass: register it with ctxjobs.codec.register."
    return None


def _by_plain_form(_value: object, cls: type) -> str | None:
    for base, form in _PLAIN_FORM.items():
        if issubclass(cls, base):
            return f"It would not come back as {cls.__name__}: pass {form}, or register its type."
    return None


def _has(value: object, name: str) -> bool:
    missing = object()
    return inspect.getattr_static(value, name, missing) is not missing
