"""Values that can travel, for Hypothesis, and an equality that tells True from 1 and 1 from 1.0."""

from __future__ import annotations

from datetime import timezone
from enum import Enum, Flag, IntEnum
from typing import Any

from hypothesis import strategies as st

from ctxjobs.codec import decoding


class Color(Enum):
    RED = "r"
    BLUE = ("b", 1)


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Right(Flag):
    READ = 1
    WRITE = 2


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(["~", "~v", "v"])
zones = st.none() | st.just(timezone.utc) | st.timezones()
hashables = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
    | st.binary(max_size=12)
    | st.datetimes(timezones=zones)
    | st.times(timezones=zones)
    | st.dates()
    | st.timedeltas()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.sampled_from([*Color, *Level, Right.READ, Right.READ | Right.WRITE, Right(0)]),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(hashables, max_size=3)
        | st.dictionaries(texts, inner, max_size=4)
        | st.dictionaries(hashables, inner, max_size=3)
    ),
    max_leaves=10,
)

tags = st.sampled_from(sorted(decoding.OWN_TAGS))
#: Anything that JSON can say, rich in what the codec gives a meaning to.
json_shaped = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["~", "v", "0x1f", "2024-02-30", "10:00", "UTC", "Europe", "../x", "1e5", "support.values:Color"]
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3) | st.just("~x"), inner, max_size=3)
        | st.fixed_dictionaries({"~": tags | inner, "v": inner})
    ),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and have equal types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, set | frozenset):
        # Equal items are one item in a set: which of them is kept is not compared.
        return bool(one == other)
    if isinstance(one, float):
        return one.hex() == other.hex()
    return bool(one == other) and repr(one) == repr(other)
