from __future__ import annotations

import dataclasses
import io
import json
import sys
import traceback
import types
from collections import OrderedDict, defaultdict
from contextlib import suppress
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup
from support.values import Color, Level, Right, json_shaped, same, values
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.local import LocalProxy

from ctxjobs import codec
from ctxjobs.codec.decoding import MAX_SAME_HASH
from ctxjobs.errors import (
    ConfigError,
    DecodeError,
    UnencodableValueError,
    ValueLimitError,
)

fuzz = settings(max_examples=150, deadline=None)
NEW_YORK = ZoneInfo("America/New_York")


@dataclasses.dataclass
class Price:
    amount: Any
    currency: str = "EUR"


codec.register(Price)


class Unknown:
    pass


def round_trip(value: object) -> Any:
    return codec.decode(codec.loads(codec.dumps(codec.encode(value, "value"))))


def refusal(value: object, path: str = "g.order") -> UnencodableValueError:
    with pytest.raises(UnencodableValueError) as caught:
        codec.encode(value, path)
    return caught.value


# --- Round trips ---------------------------------------------------------------------------


@fuzz
@given(values)
def test_every_value_comes_back_equal_and_with_its_types(value: object) -> None:
    """A value that travels comes back equal, each part of it with the type that it had."""
    assert same(round_trip(value), value)


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "text", "", [], {}, [1, {"a": [None]}]])
def test_plain_values_stand_for_themselves(value: Any) -> None:
    """None, bool, int, float, str, and lists and dicts of them are their own encoded form."""
    assert same(codec.encode(value, "value"), value)


@pytest.mark.parametrize(
    ("number", "plain"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)]
)
def test_integers_beyond_64_bits_are_tagged(number: int, plain: bool) -> None:
    """An integer that other readers of JSON would round is tagged."""
    assert (codec.encode(number, "value") is number) is plain


def test_an_integer_of_any_length_travels() -> None:
    """An integer longer than Python's limit on decimal digits comes back."""
    assert round_trip(-(7**20_000)) == -(7**20_000)


@pytest.mark.parametrize("key", ["~", "~v", "~tuple"])
def test_a_users_dict_cannot_become_a_tag(key: str) -> None:
    """A dict with a key that starts with "~" comes back as that dict, whatever it looks like."""
    value = {key: "tuple", "v": [1]}
    assert round_trip(value) == value


@fuzz
@given(
    st.lists(st.sampled_from(["~", "v", "set", "enum", "a"]), min_size=1, max_size=3).flatmap(
        lambda keys: st.fixed_dictionaries(dict.fromkeys(keys, json_shaped))
    )
)
def test_data_shaped_like_tags_stays_data(value: dict[str, Any]) -> None:
    """Whatever JSON a user sends, a value that encodes comes back as it was."""
    try:
        encoded = codec.encode(value, "value")
    except UnencodableValueError:  # NaN
        return
    assert same(codec.decode(codec.loads(codec.dumps(encoded))), value)


def test_the_order_of_a_dict_is_kept() -> None:
    """A dict comes back in its own order."""
    assert list(round_trip({"b": 1, "a": 2, "c": 3})) == ["b", "a", "c"]


def test_later_changes_do_not_reach_the_encoded_copy() -> None:
    """What is encoded is frozen: changing the original afterwards changes nothing."""
    value: dict[str, Any] = {"lines": [1], "tags": {"a": {}}}
    encoded = codec.encode(value, "value")
    value["lines"].append(2)
    value["tags"]["a"]["b"] = 1
    assert encoded == {"lines": [1], "tags": {"a": {}}}


# --- Dates and times -----------------------------------------------------------------------


def test_the_key_of_a_zone_is_kept() -> None:
    """A datetime in a zone comes back in that zone, not only at its offset."""
    moment = round_trip(datetime(2024, 7, 1, 12, tzinfo=NEW_YORK))
    assert (moment.tzinfo.key, moment.utcoffset()) == ("America/New_York", timedelta(hours=-4))


def test_the_second_hour_of_a_clock_change_is_kept() -> None:
    """``fold`` survives: 01:30 after the change is not 01:30 before it."""
    moment = round_trip(datetime(2024, 11, 3, 1, 30, fold=1, tzinfo=NEW_YORK))
    assert (moment.fold, moment.utcoffset()) == (1, timedelta(hours=-5))


def test_fold_of_a_naive_time_is_kept() -> None:
    """``fold`` survives without a zone, too."""
    assert round_trip(time(1, 30, fold=1)).fold == 1


def test_another_tzinfo_becomes_its_offset() -> None:
    """An aware datetime of any other tzinfo keeps its offset."""
    zone = timezone(timedelta(hours=5, minutes=30, seconds=7), "odd")
    assert round_trip(datetime(2024, 1, 1, tzinfo=zone)).utcoffset() == timedelta(
        hours=5, minutes=30, seconds=7
    )


def test_the_instant_wins_where_zone_rules_differ() -> None:
    """Where this machine's rules give another offset, the instant is kept."""
    stored = {"~": "datetime", "v": ["2024-07-01T12:00:00-05:00", 0, "America/New_York"]}
    moment = codec.decode(stored)
    assert (moment.hour, moment.utcoffset()) == (13, timedelta(hours=-4))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../../etc/passwd", "a\0b", "x" * 5000])
def test_an_unknown_zone_is_a_decode_error(zone: str) -> None:
    """A zone that this machine does not have is named, and no other error escapes."""
    with pytest.raises(DecodeError, match="time zone"):
        codec.decode({"~": "datetime", "v": ["2024-07-01T12:00:00+00:00", 0, zone]})


# --- Enums ---------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [Color.BLUE, Level.HIGH, Right.READ, Right.READ | Right.WRITE, Right(0)])
def test_a_member_of_an_enum_comes_back_itself(member: Enum) -> None:
    """A member of any kind of Enum comes back as that very object."""
    assert round_trip(member) is member


def test_a_class_inside_of_a_function_is_refused() -> None:
    """An Enum that no one could find by its name is refused, with what to do."""

    class Local(Enum):
        A = 1

    assert "top of its module" in refusal(Local.A).advice


def test_a_registered_local_enum_travels() -> None:
    """Registration makes an Enum inside of a function known by its name."""

    @codec.register
    class Registered(Enum):
        A = 1

    assert round_trip(Registered.A) is Registered.A


def test_decoding_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Enum of a module that is not imported is refused; the module stays unimported."""
    monkeypatch.delitem(sys.modules, "plistlib", raising=False)
    with pytest.raises(DecodeError, match="import its module"):
        codec.decode({"~": "enum", "v": ["plistlib:PlistFormat", "FMT_XML"]})
    assert "plistlib" not in sys.modules


def test_decoding_does_not_wake_a_lazy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module's own ``__getattr__``, which may import others, is not asked."""
    lazy = types.ModuleType("lazy_module")
    asked: list[str] = []
    lazy.__getattr__ = asked.append  # type: ignore[method-assign,assignment]  # PEP 562
    monkeypatch.setitem(sys.modules, "lazy_module", lazy)
    with pytest.raises(DecodeError):
        codec.decode({"~": "enum", "v": ["lazy_module:Color", "RED"]})
    assert asked == []


@pytest.mark.parametrize(
    "name", ["os:system", "builtins:dict", "os:path.join", "nowhere:X", "", ":", "tuple"]
)
def test_a_name_that_is_no_enum_is_refused(name: str) -> None:
    """Nothing but members of Enums can be reached by name."""
    with pytest.raises(DecodeError, match="no Enum"):
        codec.decode({"~": "enum", "v": [name, "ls"]})


def test_an_unknown_member_is_refused() -> None:
    """A member that the Enum does not have is named."""
    with pytest.raises(DecodeError, match="no member GREEN"):
        codec.decode({"~": "enum", "v": [f"{Color.__module__}:Color", "GREEN"]})


# --- Paths and advice ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Unknown(), "g.order"),
        ({"lines": [0, 1, 2, {"price": Unknown()}]}, "g.order.lines[3].price"),
        ({"odd key": Unknown()}, "g.order['odd key']"),
        ({7: (1, Unknown())}, "g.order[7][1]"),
        ({(1, 2): Unknown()}, "g.order[...]"),
        ({"k" * 100: Unknown()}, f"g.order['{'k' * 37}...']"),
        ({Unknown: 1}, "g.order.keys()"),
        ({"\ud800": 1}, "g.order.keys()"),
        ([Price(amount=Unknown())], "g.order[0].amount"),
        ({"a": "\ud800"}, "g.order.a"),
        ([1.0, float("nan")], "g.order[1]"),
    ],
)
def test_the_path_leads_to_the_culprit(value: object, path: str) -> None:
    """An error names the place of the value that cannot travel, as one would write it."""
    assert refusal(value).path == path


def test_the_message_says_where_what_and_what_to_do() -> None:
    """The message has the path, the type and the advice."""
    message = str(refusal({"owner": Unknown()}))
    assert message.startswith("g.order.owner: Unknown cannot be encoded. Pass an id")


class Point(NamedTuple):
    x: int


class LazyString:
    __html__ = None


class Row:
    def __init__(self) -> None:
        self._sa_instance_state = object()


@dataclasses.dataclass
class Unregistered:
    a: int = 1


async def coroutine() -> None: ...


def unbound() -> None:
    raise RuntimeError("Working outside of application context.")


class CustomDateTime(datetime):
    pass


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (LazyString(), "str(value)"),
        (Row(), "primary key"),
        (Unregistered(), "ctxjobs.codec.register."),
        (print, "Code does not travel"),
        (unbound, "Code does not travel"),
        (lambda: None, "Code does not travel"),
        ([].append, "Code does not travel"),
        (partial(print), "Code does not travel"),
        (Unknown, "Code does not travel"),
        ((i for i in "ab"), "list(value)"),
        (map(str, []), "list(value)"),
        (io.BytesIO(), "its path"),
        (KeyError("x"), "str(error)"),
        (Markup("<b>"), "str(value)"),
        (OrderedDict(), "dict(value)"),
        (defaultdict(list), "dict(value)"),
        (ImmutableMultiDict([("a", "b")]), "to_dict()"),
        (Point(1), "tuple(value)"),
        (bytearray(b"x"), "bytes(value)"),
        (CustomDateTime(2024, 1, 1), "datetime.fromisoformat"),
        (float("inf"), "JSON has no such number"),
        (Decimal("NaN"), "no finite number"),
        ("\udcff", "lone surrogate"),
        (Unknown(), "register_type"),
        (3j, "register_type"),
    ],
)
def test_the_advice_fits_the_value(value: object, advice: str) -> None:
    """A value that cannot travel is refused with what to do instead of passing it."""
    assert advice in refusal(value).advice


@pytest.mark.parametrize("target", [unbound, lambda: "a string", lambda: Color.RED])
def test_a_proxy_is_refused_for_what_it_is(target: Any) -> None:
    """A proxy is refused bound and unbound, and never taken for what it stands for."""
    assert "current_app.name" in refusal([LocalProxy(target)]).advice


def test_a_coroutine_is_to_be_awaited() -> None:
    """A coroutine is refused with the advice to await it."""
    pending = coroutine()
    try:
        assert "Await it" in refusal(pending).advice
    finally:
        pending.close()


# --- Limits --------------------------------------------------------------------------------


def nest(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def test_the_deepest_value_travels_in_the_widest_form() -> None:
    """A value of exactly MAX_DEPTH levels comes back, also where each level takes three of JSON."""
    value: Any = datetime(2024, 1, 1)
    for _ in range(codec.MAX_DEPTH):
        value = {1: value}
    assert round_trip(value) == value


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"a": v}, lambda v: {1: v}, Price])
def test_a_value_that_is_too_deep_is_refused(wrap: Any) -> None:
    """One level more than MAX_DEPTH is an error that counts the levels, for every container."""
    value: Any = 1
    for _ in range(codec.MAX_DEPTH + 1):
        value = wrap(value)
    with pytest.raises(ValueLimitError) as caught:
        codec.encode(value, "g.x")
    assert (caught.value.size, caught.value.what) == (codec.MAX_DEPTH + 1, "levels")


def test_a_cycle_is_refused() -> None:
    """A value that contains itself is an error, not a crash."""
    value: dict[str, Any] = {}
    value["me"] = value
    with pytest.raises(ValueLimitError, match=r"^g\.node\.me\.me"):
        codec.encode(value, "g.node")


ODD_VALUES: dict[str, Any] = {
    "nan": float("nan"),
    "inf": float("inf"),
    "snan": Decimal("sNaN"),
    "surrogate": "\ud800",
    "long": 2**10_000,
    "text": "x" * 1000,
    "deep": nest(40),
    "object": object(),
    "markup": Markup("b"),
    "subclass": OrderedDict(a=1),
    "class": Unknown,
    "iterator": iter("ab"),
}
odd_values = st.sampled_from(sorted(ODD_VALUES)).map(lambda name: ODD_VALUES[name])


@fuzz
@given(
    st.recursive(
        values | odd_values,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.tuples(inner, inner)
            | st.dictionaries(st.text(max_size=3) | st.just("\ud800"), inner, max_size=3)
            | st.builds(lambda key, item: {(key,): item}, st.integers() | st.floats(), inner)
        ),
    )
)
def test_encoding_fails_in_one_way_only(value: object) -> None:
    """Whatever an app holds becomes JSON that is read again, or one kind of error, which names its place."""
    try:
        text = codec.dumps(codec.encode(value, "g.x"))
    except (UnencodableValueError, ValueLimitError) as error:
        place = error.path
    else:
        place = "g.x" if same(codec.decode(codec.loads(text)), value) else "it came back as another value"
    assert place.startswith("g.x")


def test_a_primitive_that_is_too_deep_does_not_decode() -> None:
    """Decoding has the same limit as encoding."""
    with pytest.raises(DecodeError, match="levels"):
        codec.decode(nest(codec.MAX_DEPTH + 1))


def test_nested_dicts_with_a_tagged_key_take_linear_time() -> None:
    """A dict whose last key needs a tag is walked once, on each of its levels."""
    calls: list[int] = []

    class Counted:
        pass

    codec.register_type(Counted, "test:Counted", lambda value: calls.append(1), lambda payload: Counted())
    value: Any = Counted()
    for _ in range(codec.MAX_DEPTH - 1):
        value = {"a": value, "~": 1}
    codec.encode(value, "value")
    assert calls == [1]


# --- JSON ----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b'"\xff"', b"NaN", b"1e999", b"[1]x", b"[" * 100_000])
def test_what_is_not_json_is_a_decode_error(data: bytes) -> None:
    """Bytes that are no JSON are refused, also those that exhaust a parser."""
    with pytest.raises(DecodeError):
        codec.loads(data)


@fuzz
@given(st.binary(max_size=60) | json_shaped.map(json.dumps).map(str.encode), st.data())
def test_broken_json_fails_in_one_way_only(text: bytes, data: st.DataObject) -> None:
    """Any bytes, and JSON with any byte changed, are read or are a DecodeError."""
    changed = bytearray(text)
    if changed:
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecodeError):
        codec.decode(codec.loads(bytes(changed)))


def test_json_over_the_limit_is_not_read() -> None:
    """``loads`` refuses more bytes than it was told to read, and reads exactly that many."""
    assert codec.loads(b"[1]", max_bytes=3) == [1]
    with pytest.raises(DecodeError, match="the limit is 2"):
        codec.loads(b"[1]", max_bytes=2)


@pytest.mark.parametrize(
    ("levels", "fits"), [(codec.MAX_JSON_LEVELS, True), (codec.MAX_JSON_LEVELS + 1, False)]
)
def test_json_has_a_limit_of_levels(levels: int, fits: bool) -> None:
    """``loads`` counts levels of JSON exactly."""
    data = b"[" * levels + b"]" * levels
    if fits:
        codec.loads(data)
    else:
        with pytest.raises(DecodeError, match="levels"):
            codec.loads(data)


def test_wide_json_is_not_deep() -> None:
    """Many short lists side by side are no depth."""
    assert codec.loads(b"[" + b"[]," * 500 + b"[]]") == [[]] * 501


# --- Strict decoding -----------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(json_shaped)
def test_decoding_fails_in_one_way_only(primitive: Any) -> None:
    """Whatever JSON lies in Redis, decoding gives a value that travels, or a DecodeError."""
    try:
        value = codec.decode(primitive)
    except DecodeError:
        return
    codec.encode(value, "value")


@pytest.mark.parametrize(
    "primitive",
    [
        {"~": "nobody", "v": 1},
        {"~": "tuple"},
        {"~": "tuple", "v": [], "w": 1},
        {"~": 1, "v": []},
        {"~": [], "v": []},
        {"~": "tuple", "v": {}},
        {"~": "tuple", "v": "ab"},
        {"~": "set", "v": [[]]},
        {"~": "dict", "v": [[1]]},
        {"~": "dict", "v": ["ab"]},
        {"~": "dict", "v": [[[], 1]]},
        {"~": "int", "v": 5},
        {"~": "bytes", "v": "?"},
        {"~": "decimal", "v": "Infinity"},
        {"~": "decimal", "v": "x"},
        {"~": "timedelta", "v": [10**10, 0, 0]},
        {"~": "timedelta", "v": [1.5, 0, 0]},
        {"~": "datetime", "v": ["2024-01-01T00:00:00", 2, ""]},
        {"~": "datetime", "v": ["2024-01-01T00:00:00", 0, "UTC"]},
        {"~": "uuid", "v": "12"},
        {"~x": 1},
        {1: 2},
        2**64,
        float("nan"),
        "\ud800",
        {"\ud800": 1},
        (1,),
        b"x",
        object(),
    ],
)
def test_what_the_codec_does_not_write_does_not_decode(primitive: Any) -> None:
    """Unknown tags, wrong shapes and what is not JSON at all are refused."""
    with pytest.raises(DecodeError):
        codec.decode(primitive)


@pytest.mark.parametrize(
    "primitive",
    [
        {"~": "date", "v": "SECRET"},
        {"~": "datetime", "v": ["SECRET", 0, ""]},
        {"~": "int", "v": "SECRET"},
        {"~": "decimal", "v": "SECRET"},
        {"~": "uuid", "v": "SECRET"},
        {"~": "bytes", "v": "SECRET!"},
        {"~": "tuple", "v": "SECRET"},
        {"~": "dict", "v": "SECRET"},
        {"~": "enum", "v": [f"{Right.__module__}:Right", "SECRET"]},
    ],
    ids=lambda primitive: primitive["~"],
)
def test_a_decode_error_does_not_show_the_value(primitive: Any) -> None:
    """What was changed is not in the message, nor in the traceback: both end up in logs."""
    with pytest.raises(DecodeError) as caught:
        codec.decode(primitive)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("tag", ["set", "frozenset", "dict"])
def test_keys_that_were_chosen_to_collide_are_refused(tag: str) -> None:
    """Numbers with one hash would take quadratic time; a few that happen to collide are no attack."""
    keys = [{"~": "int", "v": hex(number * (2**61 - 1))} for number in range(MAX_SAME_HASH + 1)]
    items = [[key, None] for key in keys] if tag == "dict" else keys
    with pytest.raises(DecodeError, match="have the same hash"):
        codec.decode({"~": tag, "v": items})
    assert len(codec.decode({"~": tag, "v": items[1:]})) == MAX_SAME_HASH


def test_a_decode_error_names_its_place() -> None:
    """A DecodeError has the path of what is wrong."""
    stored: Any = {"order": [1, {"~": "tuple", "v": [{"~": "uuid", "v": "x"}]}]}
    with pytest.raises(DecodeError) as caught:
        codec.decode(stored, "g")
    assert caught.value.path == "g.order[1][0]"


# --- Registration --------------------------------------------------------------------------


def test_a_registered_dataclass_comes_back() -> None:
    """A registered dataclass travels field by field, with fields of any type that travels."""
    price = Price(Decimal("9.90"), "CHF")
    assert round_trip([price]) == [price]


def test_a_subclass_of_a_registered_dataclass_is_another_class() -> None:
    """Registration is of one class: its subclasses would come back as less than they were."""

    class Special(Price):
        pass

    assert "register" in refusal(Special(1)).advice


def test_unknown_fields_do_not_decode() -> None:
    """A field that the class does not have (any more) is a DecodeError."""
    with pytest.raises(DecodeError, match="weight"):
        codec.decode({"~": f"{__name__}:Price", "v": {"amount": 1, "weight": 2}})


def test_a_new_field_with_a_default_reads_old_data() -> None:
    """Data written before a field with a default was added still decodes."""
    assert codec.decode({"~": f"{__name__}:Price", "v": {"amount": 1}}) == Price(1, "EUR")


def test_a_field_outside_of_the_constructor_is_refused_at_registration() -> None:
    """A dataclass that its fields cannot rebuild is refused when it is registered."""

    @dataclasses.dataclass
    class Total:
        net: int
        gross: int = dataclasses.field(init=False, default=0)

    with pytest.raises(ConfigError, match="register_type"):
        codec.register(Total)


def test_an_initvar_is_refused_at_registration() -> None:
    """A constructor that takes more than the fields is refused when it is registered."""

    @dataclasses.dataclass
    class Seeded:
        seed: dataclasses.InitVar[int]

    with pytest.raises(ConfigError, match="register_type"):
        codec.register(Seeded)


def test_another_class_is_refused_at_registration() -> None:
    """``register`` is for dataclasses and Enums."""
    with pytest.raises(ConfigError, match="neither a dataclass nor an Enum"):
        codec.register(Unknown)


def test_a_class_may_be_registered_twice() -> None:
    """Registering the same class again changes nothing."""
    assert codec.register(Price) is Price


def test_two_classes_cannot_have_one_name() -> None:
    """A name that belongs to another class is refused, and so are the codec's own tags."""

    class First:
        pass

    class Second:
        pass

    codec.register_type(First, "test:name", lambda first: None, lambda payload: First())
    for name in ("test:name", "tuple", "enum"):
        with pytest.raises(ConfigError, match="another one"):
            codec.register_type(Second, name, lambda second: None, lambda payload: Second())


def test_a_builtin_type_cannot_be_registered() -> None:
    """What the codec itself knows keeps its form."""
    with pytest.raises(ConfigError, match="codec itself"):
        codec.register_type(UUID, "test:uuid", str, UUID)


class Money:
    def __init__(self, amount: Decimal) -> None:
        self.amount = amount


codec.register_type(Money, "shop:money", lambda money: {"amount": money.amount}, lambda d: Money(d["amount"]))


def test_a_registered_type_comes_back() -> None:
    """What ``to_primitive`` gives is itself encoded, so it may be anything that travels."""
    assert round_trip((Money(Decimal("1.50")),))[0].amount == Decimal("1.50")


def test_data_that_does_not_fit_a_registered_type_is_a_decode_error() -> None:
    """A LookupError of ``from_primitive`` says that the data is wrong."""
    with pytest.raises(DecodeError, match="shop:money"):
        codec.decode({"~": "shop:money", "v": {}})


def test_trouble_of_a_registered_type_is_not_blamed_on_the_data() -> None:
    """A database that is away while an object is loaded is no DecodeError."""

    class Record:
        pass

    def load(payload: object) -> Record:
        raise ConnectionError("the database is away")

    codec.register_type(Record, "test:record", lambda record: 1, load)
    with pytest.raises(ConnectionError):
        round_trip(Record())


def test_a_type_that_becomes_itself_ends_at_the_limit() -> None:
    """A ``to_primitive`` that returns its argument is stopped by the limit on levels."""

    class Mirror:
        pass

    codec.register_type(Mirror, "test:mirror", lambda mirror: mirror, lambda payload: Mirror())
    with pytest.raises(ValueLimitError):
        codec.encode(Mirror(), "value")


def test_uuids_and_enums_are_keys() -> None:
    """Keys of any hashable type that travels are kept."""
    value = {uuid4(): 1, Color.RED: 2, (1, "a"): 3, None: 4, b"x": 5}
    assert round_trip(value) == value
