"""Job data, ``meta`` and results as pickles that hold primitives only.

RQ's serializer protocol over the codec. Stock RQ tools read what this writes with plain ``pickle``;
this reads it with an unpickler that can build nothing but primitives. May import
:mod:`ctxjobs.codec`, :mod:`ctxjobs.errors` and the standard library; must not import RQ.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from ctxjobs.codec import Primitive, decode, encode
from ctxjobs.errors import DecodeError, UnencodableValueError, ValueLimitError

#: Bytes of one pickle, uncompressed. Redis itself would take 512 MiB; a queue is no file store.
MAX_BYTES = 16 * 1024 * 1024
#: Lists, dicts and tuples in one pickle. One byte of it can stand for an empty list of 56 bytes, so that
#: 16 MiB of them took 2.3 GB here; this many take 75 MB.
MAX_CONTAINERS = 500_000
#: Fixed, so that a change of Python changes no bytes in Redis. Every Python since 3.8 reads it.
PICKLE_PROTOCOL = 5

#: What the pickle of primitives consists of: opcodes, and the bytes of the argument that follows.
_ARGUMENT_BYTES = {
    opcode[0]: size
    for size, opcodes in {
        0: (
            *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.MARK, pickle.MEMOIZE, pickle.STOP),
            *(pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS),
            *(pickle.EMPTY_DICT, pickle.SETITEM, pickle.SETITEMS),
            *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
        ),
        1: (pickle.PROTO, pickle.BININT1, pickle.BINGET),
        2: (pickle.BININT2,),
        4: (pickle.BININT, pickle.LONG_BINGET),
        8: (pickle.BINFLOAT, pickle.FRAME),
    }.items()
    for opcode in opcodes
}
_FRAME = pickle.FRAME[0]
_CONTAINERS = frozenset(
    opcode[0]
    for opcode in (
        *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE),
        *(pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
    )
)
#: Opcodes whose argument says how long it is: the bytes of that length.
_LENGTH_BYTES = {
    pickle.SHORT_BINUNICODE[0]: 1,
    pickle.BINUNICODE[0]: 4,
    pickle.BINUNICODE8[0]: 8,
    pickle.LONG1[0]: 1,
}


class ContextSerializer:
    """RQ's ``Serializer`` for ``meta`` and results. Use the class itself; it has no state.

    Job data is not for this: see :func:`dump_call`.
    """

    @staticmethod
    def dumps(value: object) -> bytes:
        """Encode a value and pickle its primitives.

        Raises:
            UnencodableValueError: A value in it has a type that cannot travel.
            ValueLimitError: It is nested too deeply, or takes more than :data:`MAX_BYTES`.
        """
        return _dump(encode(value, "value"), "value")

    @staticmethod
    def loads(data: bytes) -> Any:
        """Read what :meth:`dumps` wrote.

        Raises:
            DecodeError: The data is something else, or too large.
        """
        return decode(_load(data, "value"), "value")


# --- Job data: the call ----------------------------------------------------------------------


def dump_call(
    function: str, args: Sequence[object], kwargs: Mapping[str, object], parameters: Sequence[str] = ()
) -> bytes:
    """Write job data: RQ's tuple of function name, instance, args, kwargs.

    The tuple itself is plain, so that any RQ worker can unpack it and call the function with
    encoded arguments.

    Args:
        function: Dotted name of the job's function.
        args: Positional arguments.
        kwargs: Arguments by name.
        parameters: Names of the function's positional parameters, for errors:
            ``argument order.lines[3].price`` instead of ``args[0].lines[3].price``.

    Raises:
        UnencodableValueError: A value in an argument has a type that cannot travel.
        ValueLimitError: An argument is nested too deeply, or all take more than :data:`MAX_BYTES`.
    """
    try:
        encoded_args = [encode(value, "", True) for value in args]
        encoded_kwargs = {name: encode(value, "", True) for name, value in kwargs.items()}
    except (UnencodableValueError, ValueLimitError):  # once more, with the names of the places
        places = [f"argument {name}" for name in parameters]
        places += [f"args[{index}]" for index in range(len(places), len(args))]
        encoded_args = [encode(value, place, True) for value, place in zip(args, places, strict=False)]
        encoded_kwargs = {name: encode(value, f"argument {name}", True) for name, value in kwargs.items()}
    return _dump((function, None, encoded_args, encoded_kwargs), f"the call of {function}")


def load_call(
    data: bytes, decode: Callable[[Primitive, str], Any] = decode
) -> tuple[str, None, tuple[Any, ...], dict[str, Any]]:
    """Read what :func:`dump_call` wrote, arguments decoded.

    Args:
        data: What it wrote.
        decode: Decodes an argument, given the name of its place; by default without loading references.

    Raises:
        DecodeError: The data is something else, or too large.
    """
    function, args, kwargs = _load_call(data)
    positional = tuple(decode(value, f"args[{index}]") for index, value in enumerate(args))
    return (
        function,
        None,
        positional,
        {name: decode(value, f"argument {name}") for name, value in kwargs.items()},
    )


def _load_call(data: bytes) -> tuple[str, list[Primitive], dict[str, Primitive]]:
    match _load(data, "job data"):
        case (str(function), None, list(args), dict(kwargs)) as call if type(call) is tuple:
            if all(type(name) is str for name in kwargs):
                return function, args, kwargs
    raise DecodeError("job data", "it is no call of a ctxjobs job")


# --- Bytes -----------------------------------------------------------------------------------


def bounded_inflate(data: bytes, limit_bytes: int = MAX_BYTES) -> bytes:
    """Decompress job data as RQ does: what is not zlib's, or not complete, counts as it stands.

    Args:
        data: The field ``data`` of a job's hash.
        limit_bytes: The largest size of the result; no more than that is ever decompressed.

    Raises:
        DecodeError: The result would be larger.
    """
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, limit_bytes + 1)
    except zlib.error:
        inflated = data
    else:
        if not inflater.eof and len(inflated) <= limit_bytes:
            inflated = data
    if len(inflated) > limit_bytes:
        raise DecodeError("job data", f"it has more than {limit_bytes} bytes")
    return inflated


def _dump(primitive: object, place: str) -> bytes:
    data = pickle.dumps(primitive, PICKLE_PROTOCOL)
    if len(data) > MAX_BYTES:
        raise ValueLimitError(place, "bytes", len(data), MAX_BYTES)
    # A pickle of fewer bytes cannot have so many.
    if len(data) > MAX_CONTAINERS and (count := _count_containers(data, place)) > MAX_CONTAINERS:
        raise ValueLimitError(place, "lists and dicts", count, MAX_CONTAINERS)
    return data


class _PrimitiveUnpickler(pickle.Unpickler):
    """Looks up nothing, so can call nothing: the second line, behind :func:`_count_containers`."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}")

    def persistent_load(self, pid: object, /) -> NoReturn:
        raise pickle.UnpicklingError("it names an object outside of itself")


def _load(data: bytes, place: str) -> Any:
    if len(data) > MAX_BYTES:
        raise DecodeError(place, f"it has {len(data)} bytes; the limit is {MAX_BYTES}")
    if _count_containers(data, place) > MAX_CONTAINERS:
        raise DecodeError(place, f"it has more than {MAX_CONTAINERS} lists and dicts")
    try:
        primitive = _PrimitiveUnpickler(io.BytesIO(data)).load()
    except Exception as error:  # a broken pickle may raise anything
        raise DecodeError(place, f"it is a broken pickle ({error})") from error
    _check_tree(primitive, place)
    return primitive


def _count_containers(data: bytes, place: str) -> int:
    """Refuse a pickle that does anything but build primitives, before any of it is done.

    Besides names and calls, that keeps out PUT, by which six bytes claim 64 GiB for the memo. An opcode that
    reaches over the end of a frame is refused, too: the unpickler drops the rest of a frame then, and would
    read other opcodes than those that were checked here (the fuzzer found 96 bytes that took 20 GB).

    Returns:
        How many lists, dicts and tuples it builds; counted to the first one too many.
    """
    at = containers = frame_end = 0
    while at < len(data) and containers <= MAX_CONTAINERS:
        opcode, before = data[at], at
        at += 1
        containers += opcode in _CONTAINERS
        if opcode in _ARGUMENT_BYTES:
            at += _ARGUMENT_BYTES[opcode]
        elif opcode in _LENGTH_BYTES:
            start = at + _LENGTH_BYTES[opcode]
            at = start + int.from_bytes(data[at:start], "little")
        else:
            reason = f"pickle opcode {bytes([opcode])!r} at byte {at - 1} does more than build primitives"
            raise DecodeError(place, reason)
        if before < frame_end < at or (opcode == _FRAME and before < frame_end):
            raise DecodeError(place, f"pickle opcode {bytes([opcode])!r} at byte {before} leaves its frame")
        if opcode == _FRAME:
            frame_end = at + int.from_bytes(data[before + 1 : at], "little")
    return containers


def _check_tree(root: Any, place: str) -> None:
    """Refuse shared containers: some 100 bytes of them stand for a tree of billions of values."""
    seen: set[int] = set()
    left = [root]
    while left:
        node = left.pop()
        cls = type(node)
        if cls is not dict and cls is not list and cls is not tuple:
            continue
        if id(node) in seen:
            raise DecodeError(place, "it contains the same list or dict twice")
        seen.add(id(node))
        left.extend(node.values() if cls is dict else node)
