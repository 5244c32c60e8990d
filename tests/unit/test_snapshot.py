"""The snapshot: what goes in comes out, nothing else comes in, and what is too large is named."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.values import json_shaped, values

from ctxjobs import codec
from ctxjobs.errors import DecodeError, SnapshotTooLargeError
from ctxjobs.snapshot import Lineage, RequestData, Snapshot

fuzz = settings(max_examples=100, deadline=None)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
encoded = values.map(lambda value: codec.encode(value, "value"))
requests = st.builds(
    RequestData,
    st.dictionaries(names, names, max_size=4),
    st.none() | names,
    st.none() | names,
    st.none() | st.binary(max_size=30),
)
lineages = st.builds(Lineage, request=st.none() | names) | st.builds(
    lambda job, parent, request: Lineage(request=request).child_of(job).child_of(parent),
    names,
    names,
    st.none() | names,
)
snapshots = st.builds(
    Snapshot,
    app_id=names,
    trigger=st.sampled_from(["request", "job", "cli", "cron", "code"]),
    lineage=lineages.filter(lambda lineage: lineage.hop == 0 or lineage.parent or lineage.request),
    request=st.none() | requests,
    session=st.none() | st.dictionaries(names, encoded, max_size=3),
    g=st.dictionaries(names, encoded, max_size=3),
    skipped=st.dictionaries(names, names, max_size=3),
    left_out=st.dictionaries(names, st.lists(names, max_size=3).map(tuple), max_size=3),
    propagators=st.dictionaries(names, encoded, max_size=3),
    cleared=st.lists(names, max_size=3).map(tuple),
    overrides=st.lists(names, max_size=3).map(tuple),
    system=st.lists(names, max_size=3).map(tuple),
    hidden=st.lists(names, max_size=3).map(tuple),
)


@fuzz
@given(snapshots)
def test_a_snapshot_comes_back(snapshot: Snapshot) -> None:
    """What was captured is what is restored, through the bytes that lie in Redis."""
    assert Snapshot.from_primitive(codec.loads(snapshot.to_bytes(1 << 20))) == snapshot


@fuzz
@given(json_shaped | st.fixed_dictionaries({"v": st.just(1), "app": json_shaped, "trigger": json_shaped}))
def test_anything_else_is_a_decode_error(data: Any) -> None:
    """Whatever JSON says that no snapshot says, there is one kind of error."""
    try:
        Snapshot.from_primitive(data)
    except DecodeError:
        return
    assert data["v"] == 1


@fuzz
@given(snapshots, json_shaped, st.data())
def test_a_snapshot_with_another_part_is_a_decode_error_or_a_snapshot(
    snapshot: Snapshot, part: Any, data: st.DataObject
) -> None:
    """One part of it is replaced by whatever JSON can say, at any level."""
    primitive: Any = snapshot.to_primitive()
    node = primitive
    while True:
        key = data.draw(st.sampled_from(list(node) if isinstance(node, dict) else range(len(node))))
        if not (isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans())):
            break
        node = node[key]
    node[key] = part
    with suppress(DecodeError):
        assert type(Snapshot.from_primitive(primitive)) is Snapshot


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"v": 2}, "version 2, this release reads 1"),
        ({"trigger": "magic"}, "trigger 'magic'"),
        ({"request": [{}, None]}, "not the shape that ctxjobs writes"),
        ({"request": [{}, None, None, {"~": "os.system"}]}, "request.body"),
        ({"lineage": [1, 2, 3, 4]}, "not the shape that ctxjobs writes"),
        ({"lineage": ["a", "b", 3, "c", "d"]}, "not the shape that ctxjobs writes"),
        ({"propagators": [1]}, "not the shape that ctxjobs writes"),
        ({"g": [1]}, "not the shape that ctxjobs writes"),
        ({"overrides": [["db"]]}, "not the shape that ctxjobs writes"),
        ({"hidden": [7]}, "not the shape that ctxjobs writes"),
        ({"left_out": {"g": [["db"]]}}, "not the shape that ctxjobs writes"),
    ],
)
def test_a_changed_snapshot_says_what_is_wrong(change: dict[str, Any], expected: str) -> None:
    """The error names the part that does not read."""
    with pytest.raises(DecodeError, match=expected):
        Snapshot.from_primitive({**Snapshot("shop").to_primitive(), **change})


LARGE = "x" * 500


@pytest.mark.parametrize(
    ("snapshot", "largest"),
    [
        (Snapshot("shop", g={"small": 1, "report": LARGE}), "g.report"),
        (Snapshot("shop", session={"cart": LARGE}, g={"small": 1}), "session['cart']"),
        (Snapshot("shop", request=RequestData({}, body=LARGE.encode())), "request.body"),
        (Snapshot("shop", request=RequestData({"HTTP_X": LARGE})), "request.environ['HTTP_X']"),
        (Snapshot("shop" * 200), "the request"),
    ],
)
def test_too_large_names_the_largest_value(snapshot: Snapshot, largest: str) -> None:
    """A snapshot over the limit names the value to look at first, its size and the limit."""
    with pytest.raises(SnapshotTooLargeError) as caught:
        snapshot.to_bytes(400)
    assert (caught.value.largest, caught.value.limit_bytes) == (largest, 400)
    assert caught.value.size_bytes == len(snapshot.to_bytes(10_000))


def test_the_limit_itself_is_allowed() -> None:
    """A snapshot that takes exactly the limit fits."""
    size = len(Snapshot("shop").to_bytes(10_000))
    assert len(Snapshot("shop").to_bytes(size)) == size


def test_lineage_keeps_its_root() -> None:
    """A job of a job of a job knows the first one and the one that enqueued it."""
    lineage = Lineage().child_of("first").child_of("second").child_of("third")
    assert lineage == Lineage(root="first", parent="third", hop=3)


SECRETIVE = Snapshot(
    "shop",
    request=RequestData(
        {"REQUEST_METHOD": "POST", "QUERY_STRING": "SECRET", "HTTP_X_TENANT": "SECRET", "HTTP_HOST": "shop"},
        "index",
        "/",
        b"SECRET",
    ),
    session={"card": "SECRET", "a.b": "SECRET", "cart": 17},
    g={"token": {"~": "SECRET"}, "tenant": "acme"},
    propagators={"structlog": {"key": "SECRET"}, "login": "42"},
    hidden=(
        "environ.QUERY_STRING",
        "headers.X-Tenant",
        "body",
        "session.card",
        "session.a.b",
        "g.token",
        "propagators.structlog",
    ),
)


def test_hidden_values_are_not_shown() -> None:
    """Each kind of value can be hidden; the others are shown, as they travel."""
    shown = SECRETIVE.shown()
    assert "SECRET" not in repr(shown)
    assert repr(shown).count("(hidden)") == len(SECRETIVE.hidden)
    assert (shown["g"]["tenant"], shown["session"]["cart"], shown["propagators"]["login"]) == (
        "acme",
        17,
        "42",
    )
    assert shown["request"]["headers"] == {"X-Tenant": "(hidden)", "Host": "shop"}
    assert codec.loads(codec.dumps(shown)) == shown


def test_a_repr_has_names_and_no_values() -> None:
    """Neither hidden values nor others get into logs and tracebacks by a repr."""
    text = repr(SECRETIVE)
    assert [value for value in ("SECRET", "acme", "17", "'42'") if value in text] == []
    assert [
        name for name in ("token", "tenant", "card", "HTTP_X_TENANT", "structlog") if name not in text
    ] == []


def test_a_hidden_value_that_does_not_decode_tells_nothing_of_itself() -> None:
    """Not even what the codec says about it."""
    with pytest.raises(DecodeError, match=r"g\.token cannot be decoded: why is not shown") as caught:
        SECRETIVE.decoded("g")
    assert caught.value.__cause__ is None
