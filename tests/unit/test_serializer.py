from __future__ import annotations

import os
import pickle
import zlib
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rq.serializers import resolve_serializer
from support.values import same, values

from ctxjobs import codec, serializer
from ctxjobs.errors import DecodeError, UnencodableValueError, ValueLimitError
from ctxjobs.serializer import (
    MAX_BYTES,
    ContextSerializer,
    bounded_inflate,
    dump_call,
    load_call,
)

fuzz = settings(max_examples=100, deadline=None)
kwargs_of_values = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=3)


class Command:
    """Runs a shell command while it is unpickled, as an attacker would have it."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


# --- Values --------------------------------------------------------------------------------


@fuzz
@given(values)
def test_a_value_comes_back(value: object) -> None:
    """``meta`` and results come back equal, each part with the type that it had."""
    assert same(ContextSerializer.loads(ContextSerializer.dumps(value)), value)


@fuzz
@given(values)
def test_stock_tools_read_primitives(value: object) -> None:
    """Plain ``pickle.loads`` reads what we write, and finds the codec's primitives."""
    assert pickle.loads(ContextSerializer.dumps(value)) == codec.encode(value, "value")


def test_rq_takes_it_as_a_serializer() -> None:
    """RQ accepts the class, and its dotted name (``rq worker --serializer``)."""
    assert resolve_serializer("ctxjobs.serializer.ContextSerializer") is ContextSerializer


def test_what_cannot_travel_is_not_pickled() -> None:
    """A result of a type that cannot travel is refused, with its place."""
    with pytest.raises(UnencodableValueError, match=r"^value\.file: object"):
        ContextSerializer.dumps({"file": object()})


def test_a_type_of_another_library_can_be_registered() -> None:
    """An object such as RQ's Retry, returned by a job, travels once its type is registered."""

    class Retry:
        def __init__(self, max: int, interval: list[int]) -> None:  # noqa: A002  # RQ's own name
            self.max, self.intervals = max, interval

    codec.register_type(
        Retry, "test:Retry", lambda retry: [retry.max, retry.intervals], lambda data: Retry(*data)
    )
    retry = ContextSerializer.loads(ContextSerializer.dumps(Retry(3, [1, 2])))
    assert (type(retry), retry.max, retry.intervals) == (Retry, 3, [1, 2])


# --- What is not ours ----------------------------------------------------------------------


@pytest.mark.parametrize("load", [ContextSerializer.loads, load_call])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_runs_nothing(load: Any, protocol: int, tmp_path: Path) -> None:
    """A pickle that calls ``os.system`` is refused before the call, in every protocol of pickle."""
    witness = tmp_path / "witness"
    data = pickle.dumps(("os.system", None, [Command(f"touch {witness}")], {}), protocol)
    with pytest.raises(DecodeError, match="opcode"):
        load(data)
    assert not witness.exists()


def test_the_attack_is_real(tmp_path: Path) -> None:
    """The same pickle does run its command in plain ``pickle.loads``: the test above can fail."""
    pickle.loads(pickle.dumps(Command(f"touch {tmp_path / 'witness'}")))
    assert (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    ("data", "reason"), [(b"cos\nsystem\n.", "names os.system"), (b"Pevil\n.", "outside of itself")]
)
def test_the_unpickler_itself_looks_up_nothing(
    data: bytes, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second line holds alone: without the check of opcodes, names are refused too."""
    monkeypatch.setattr(serializer, "_count_containers", lambda data, place: 0)
    with pytest.raises(DecodeError, match=reason):
        ContextSerializer.loads(data)


@pytest.mark.parametrize(
    "data",
    [
        b"Nr\xff\xff\xff\xff.",  # LONG_BINPUT: room for 2 ** 32 memo entries
        b"Np4294967295\n.",
        b"\x8e" + (2**40).to_bytes(8, "little") + b".",  # BINBYTES8
        b"\x96" + (2**40).to_bytes(8, "little") + b".",  # BYTEARRAY8
        b"\x82\x01.",  # EXT1
    ],
)
def test_opcodes_that_we_never_write_are_refused(data: bytes) -> None:
    """A few bytes cannot claim gigabytes, nor reach what copyreg knows."""
    with pytest.raises(DecodeError, match="opcode"):
        ContextSerializer.loads(data)


@pytest.mark.parametrize("size", range(60))
def test_a_frame_hides_no_opcode(size: int) -> None:
    """Where an opcode reaches over the end of a frame, the unpickler would read others than were checked."""
    body = b"](" + b"MMM" * 9 + b"MrM" + b"MMM" * 9 + b"e."
    ends = {0, 1, 2, *range(5, 89, 3)}
    try:
        value = ContextSerializer.loads(b"\x80\x05\x95" + size.to_bytes(8, "little") + body)
    except DecodeError as error:
        reason = error.reason
    else:
        reason = "read" if len(value) == 19 else "read in another way"
    assert ("leaves its frame" in reason) == (size not in ends)
    assert (reason == "read") == (size in ends)


def test_frames_do_not_overlap() -> None:
    """A frame inside of a frame is refused."""
    frames = b"\x95" + (20).to_bytes(8, "little") + b"\x95" + (2).to_bytes(8, "little")
    with pytest.raises(DecodeError, match="leaves its frame"):
        ContextSerializer.loads(b"\x80\x05" + frames + b"NNNNNNNNNNNNNN.")


def test_several_frames_in_a_row_are_read() -> None:
    """A large value is written in several frames, and its longest texts between them."""
    value = {"long": ["x" * 70_000, "y" * 100_000], "many": [f"text {number}" for number in range(20_000)]}
    data = ContextSerializer.dumps(value)
    assert data.count(b"\x95") > 1
    assert ContextSerializer.loads(data) == value


@pytest.mark.parametrize(
    "value", [(1, 2), {1, 2}, b"x", 1j, {1: 2}, {"~": "x"}, [float("nan")], 2**70, bytearray(b"x")]
)
def test_a_pickle_of_other_builtins_is_refused(value: object) -> None:
    """What pickle can say and the codec does not is refused."""
    with pytest.raises(DecodeError):
        ContextSerializer.loads(pickle.dumps(value))


@fuzz
@given(st.binary(max_size=60))
def test_broken_bytes_fail_in_one_way_only(data: bytes) -> None:
    """Whatever bytes lie in Redis, reading gives a value or a DecodeError."""
    for load in (ContextSerializer.loads, load_call):
        with suppress(DecodeError):
            load(data)


@fuzz
@given(values, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_fails_in_one_way_only(value: object, position: int, byte: int) -> None:
    """One changed byte gives another value or a DecodeError, nothing else."""
    data = bytearray(ContextSerializer.dumps(value))
    data[position % len(data)] = byte
    with suppress(DecodeError):
        ContextSerializer.loads(bytes(data))


def test_shared_lists_do_not_explode() -> None:
    """A small pickle that stands for 2 ** 30 values is refused at once."""
    value: list[Any] = []
    for _ in range(30):
        value = [value, value]
    with pytest.raises(DecodeError, match="twice"):
        ContextSerializer.loads(pickle.dumps(value))


def test_a_list_that_contains_itself_is_refused() -> None:
    """A cyclic pickle ends."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DecodeError):
        ContextSerializer.loads(pickle.dumps(value))


def test_a_value_that_could_not_be_read_is_not_written() -> None:
    """More than the limit is refused where the value comes from, not in the worker."""
    with pytest.raises(ValueLimitError, match=f"the limit is {MAX_BYTES}"):
        ContextSerializer.dumps("x" * MAX_BYTES)


def test_more_lists_than_the_limit_are_neither_written_nor_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte of a pickle can stand for a list; exactly the limit is allowed, on both sides."""
    monkeypatch.setattr(serializer, "MAX_CONTAINERS", 3)
    assert ContextSerializer.loads(ContextSerializer.dumps([{}, []])) == [{}, []]
    monkeypatch.undo()
    data = ContextSerializer.dumps([{}, [], []])
    monkeypatch.setattr(serializer, "MAX_CONTAINERS", 3)
    with pytest.raises(ValueLimitError, match="takes 4 lists and dicts; the limit is 3"):
        ContextSerializer.dumps([{}, [], []])
    with pytest.raises(DecodeError, match="more than 3 lists and dicts"):
        ContextSerializer.loads(data)


def test_a_pickle_over_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than the limit are refused before they are unpickled."""
    data = ContextSerializer.dumps("x" * 20)
    monkeypatch.setattr(serializer, "MAX_BYTES", len(data) - 1)
    with pytest.raises(DecodeError, match="the limit is"):
        ContextSerializer.loads(data)


# --- Calls ---------------------------------------------------------------------------------


@fuzz
@given(st.lists(values, max_size=3), kwargs_of_values)
def test_a_call_comes_back(args: list[object], kwargs: dict[str, object]) -> None:
    """Function name and arguments come back, the arguments as they were passed."""
    call = load_call(dump_call("shop.mail.send", args, kwargs))
    assert same(call, ("shop.mail.send", None, tuple(args), kwargs))


def test_a_stock_worker_can_make_the_call() -> None:
    """Plain ``pickle.loads`` gives RQ's four-tuple, with arguments that are encoded."""
    data = dump_call("shop.mail.send", [1, date(2024, 1, 1)], {"to": {"a"}})
    name, instance, args, kwargs = pickle.loads(data)
    assert (name, instance) == ("shop.mail.send", None)
    assert (args, kwargs) == ([1, codec.encode(date(2024, 1, 1), "")], {"to": codec.encode({"a"}, "")})


@pytest.mark.parametrize(
    "call",
    [
        ("f", None, []),
        ("f", None, [], {}, 1),
        ["f", None, [], {}],
        (1, None, [], {}),
        ("f", "instance", [], {}),
        ("f", None, (), {}),
        ("f", None, [], []),
        ("f", None, [], {1: 2}),
        None,
    ],
)
def test_another_shape_is_no_call(call: object) -> None:
    """Job data that is not exactly RQ's call tuple is refused: RQ's own jobs have args as a tuple."""
    with pytest.raises(DecodeError, match="no call"):
        load_call(pickle.dumps(call))


@pytest.mark.parametrize(
    ("args", "kwargs", "parameters", "path"),
    [
        ([{"lines": [object()]}], {}, ["order"], "argument order.lines[0]"),
        ([1, object()], {}, [], "args[1]"),
        ([1, 2, object()], {}, ["first"], "args[2]"),
        ([], {"order": [object()]}, [], "argument order[0]"),
        ([], {"order": object()}, ["other"], "argument order"),
    ],
)
def test_the_error_names_the_argument(args: Any, kwargs: Any, parameters: Any, path: str) -> None:
    """An argument that cannot travel is named as its function names it, where that is known."""
    with pytest.raises(UnencodableValueError) as caught:
        dump_call("f", args, kwargs, parameters)
    assert caught.value.path == path


def test_an_argument_that_does_not_decode_is_named() -> None:
    """A tampered argument is named, too."""
    with pytest.raises(DecodeError) as caught:
        load_call(pickle.dumps(("f", None, [], {"order": [{"~": "nobody", "v": 1}]})))
    assert caught.value.path == "argument order[0]"


# --- Inflating -----------------------------------------------------------------------------


@fuzz
@given(st.binary(max_size=200))
def test_inflating_reads_what_rq_reads(data: bytes) -> None:
    """Compressed data, plain data, cut data and data with a tail give what RQ's own way gives."""
    packed = zlib.compress(data)
    for stored in (packed, data, packed[:-1], packed[: len(packed) // 2], packed + b"tail", b""):
        try:
            expected = zlib.decompress(stored)
        except zlib.error:
            expected = stored
        assert bounded_inflate(stored, 1000) == expected


@pytest.mark.parametrize("stored", [zlib.compress(b"x" * 11), b"x" * 11])
def test_inflating_stops_at_the_limit(stored: bytes) -> None:
    """More than the limit is refused, compressed or not."""
    with pytest.raises(DecodeError, match="more than 10 bytes"):
        bounded_inflate(stored, 10)


def test_exactly_the_limit_is_inflated() -> None:
    """The limit itself is allowed."""
    assert bounded_inflate(zlib.compress(b"x" * 10), 10) == b"x" * 10


def test_a_bomb_is_not_inflated() -> None:
    """A small stream that would fill the memory is refused without filling it."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1024 * 1024)) for _ in range(64)) + packer.flush()
    with pytest.raises(DecodeError):
        bounded_inflate(bomb, 100_000)
