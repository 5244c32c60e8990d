"""References: what may become one, what never does, and what stands in its place until it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import same

from ctxjobs import codec, register_model
from ctxjobs.errors import (
    ConfigError,
    DecodeError,
    JobDroppedError,
    ReferenceGoneError,
    UnencodableValueError,
    UnknownModelError,
)
from ctxjobs.references import Noting, Unloaded, load, unloaded
from ctxjobs.references.models import models
from ctxjobs.serializer import ContextSerializer, dump_call, load_call


class Document:
    """Something that is kept in no SQL database."""

    def __init__(self, key: Any, title: str = "") -> None:
        self.key = key
        self.title = title


class Shelf:
    """The loader of documents, and where they are kept."""

    def __init__(self) -> None:
        self.kept: dict[Any, Document] = {}
        self.asked: list[Any] = []

    def put(self, key: Any) -> Document:
        return self.kept.setdefault(key, Document(key))

    def key_of(self, obj: Document, /) -> Any:
        return obj.key

    def load(self, key: Any, /) -> Document | None:
        self.asked.append(key)
        return self.kept.get(key)


NAME = f"{__name__}:Document"


@pytest.fixture(autouse=True)
def own_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The list of models is empty before each test, and as it was after it."""
    monkeypatch.setattr("ctxjobs.codec.encoding.encoders", dict(codec.encoding.encoders))
    kept = dict(models)
    models.clear()
    yield
    models.clear()
    models.update(kept)


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    register_model(Document, loader=shelf)
    return shelf


def sent(value: Any) -> Any:
    """What *value* is after a trip as an argument, loaded."""
    data = dump_call("shop.send", (value,), {})
    return load_call(data, partial(load, app=None))[2][0]


def refusal(value: Any, **options: Any) -> str:
    with pytest.raises(UnencodableValueError) as caught:
        codec.encode(value, "x", **options)
    return str(caught.value)


# --- What becomes a reference --------------------------------------------------------------


def test_an_object_travels_as_its_name_and_key(shelf: Shelf) -> None:
    """On the wire there is the name of the model and the key, and nothing of the object."""
    encoded = codec.encode(Document(7, "SECRET"), "x", references=True)
    assert codec.loads(codec.dumps(encoded)) == {"~": "ref", "v": [NAME, 7]}


@pytest.mark.parametrize("key", [7, "seven", b"7", (7, "x"), 7.5, UUID(int=7)], ids=repr)
def test_a_key_keeps_its_type(shelf: Shelf, key: Any) -> None:
    """A key is any value that travels, and the loader gets it as it was."""
    assert sent(shelf.put(key)) is shelf.kept[key]
    assert same(shelf.asked, [key])


def test_an_object_that_has_no_key_yet_is_refused(shelf: Shelf) -> None:
    """Nobody could find it; the error says what to do first."""
    assert "store it first" in refusal(Document(None), references=True)


@codec.register
@dataclass(frozen=True)
class Strict:
    """A dataclass that insists on an object."""

    document: Document

    def __post_init__(self) -> None:
        if not isinstance(self.document, Document):
            raise TypeError(f"{self.document!r} is no document")


def test_objects_are_found_wherever_they_stand(shelf: Shelf) -> None:
    """Lists, tuples, sets, values and keys of dicts, and registered dataclasses hold the object itself."""
    it = shelf.put(7)
    value = [it, (it, [it]), {it}, frozenset([it]), {"a": it}, {it: 1}, {(it, 2): it}, Strict(it)]
    assert sent(value) == value


def test_a_subclass_is_another_class(shelf: Shelf) -> None:
    """Objects of a subclass would come back as something else; registered by itself, it travels."""

    class Letter(Document):
        pass

    assert "Letter cannot be encoded" in refusal(Letter(7), references=True)


def test_a_key_holds_no_object(shelf: Shelf) -> None:
    """A key that is itself an object of a model is refused: a key is loaded by nobody."""
    assert "pass or return its id" in refusal(Document(Document(7)), references=True)


def test_a_place_that_nobody_loads_for_refuses_objects(shelf: Shelf) -> None:
    """Unless it is asked for references, the codec refuses objects and says what to return instead."""
    assert "return its id" in refusal([Document(7)])


def test_results_and_meta_hold_no_objects(shelf: Shelf) -> None:
    """RQ's serializer writes results and meta; nobody loads what they refer to."""
    with pytest.raises(UnencodableValueError, match="return its id"):
        ContextSerializer.dumps(Document(7))


# --- What never becomes one (GHSA-MPWP-4H2M-765C) ------------------------------------------

texts = st.sampled_from(
    ["~", "v", "ref", NAME, f"gid://app/{NAME}/7", json.dumps({"~": "ref", "v": [NAME, 7]}), "7", ""]
)
hostile_keys = texts | st.tuples(texts, texts) | st.binary(max_size=3)
hostile = st.recursive(
    texts | st.just(7) | st.binary(max_size=3) | st.just(json.dumps({"~": "ref", "v": [NAME, 7]}).encode()),
    lambda inner: (
        st.just({"~": "ref", "v": [NAME, 7]})
        | st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hostile_keys, inner, max_size=3)
        | st.fixed_dictionaries({"~": texts | inner, "v": st.tuples(texts, inner).map(list) | inner})
        | st.tuples(st.just("ref"), inner)
    ),
    max_leaves=8,
)


@given(hostile)
def test_no_value_that_a_user_controls_becomes_a_reference(value: Any) -> None:
    """Strings, bytes, lists and dicts that look like a reference come back as what they were."""

    def referent(name: str, key: Any) -> Any:
        raise AssertionError(f"{name} {key} would be loaded")

    for references in (True, False):
        encoded = codec.loads(codec.dumps(codec.encode(value, "x", references=references)))
        assert same(codec.decode(encoded, "x", referent), value)
    data = dump_call("shop.send", (value,), {"~": value, "ref": value})
    called = load_call(data, partial(codec.decode, referent=referent))
    assert same(called[2:], ((value,), {"~": value, "ref": value}))


@given(hostile)
def test_no_key_that_a_user_controls_becomes_another_reference(key: Any) -> None:
    """The key of an object is a value like others: what it holds is never loaded."""
    encoded = codec.encode(codec.Reference(NAME, key), "x")
    assert same(codec.decode(codec.loads(codec.dumps(encoded))), codec.Reference(NAME, key))


def test_a_reference_in_a_key_is_not_loaded(shelf: Shelf) -> None:
    """The loader gets what stands in the key, and nobody loads that."""
    inner = codec.Reference(NAME, 8)
    shelf.put(inner)
    sent(codec.Reference(NAME, inner))
    assert shelf.asked == [inner]


# --- What is loaded ------------------------------------------------------------------------


def gone(policy: Any) -> Any:
    """Load a value that refers to a document that is gone."""
    register_model(Document, loader=Shelf(), gone=policy)
    return sent({"page": [1, Document(7)]})


def test_gone_fails() -> None:
    """The error names model, key and place."""
    with pytest.raises(ReferenceGoneError) as caught:
        gone("fail")
    assert (caught.value.path, caught.value.model, caught.value.key) == ("args[0].page[1]", NAME, "7")


def test_gone_is_none() -> None:
    """None stands in the place of the object, and the rest is there."""
    assert gone("none") == {"page": [1, None]}


def test_gone_drops() -> None:
    """The job is dropped, and the reason names model, key and place."""
    with pytest.raises(JobDroppedError, match=rf"args\[0\].page\[1\] refers to {NAME} 7, which is gone"):
        gone("drop")


def test_a_model_that_is_not_registered_is_not_loaded() -> None:
    """Only what is on the list is loaded; the error names the place and says what to do."""
    with pytest.raises(UnknownModelError, match=r"args\[0\]\.x refers to os:system.*register_model"):
        sent({"x": codec.Reference("os:system", "ls")})


def test_what_a_loader_raises_passes(monkeypatch: pytest.MonkeyPatch, shelf: Shelf) -> None:
    """Trouble of a loader is not blamed on the data, not even a LookupError inside a container."""
    monkeypatch.delattr(Shelf, "load")
    with pytest.raises(AttributeError, match="load"):
        sent([({"a": Document(7)},)])


@pytest.mark.parametrize("payload", [1, [], [NAME], [NAME, 7, 8], [7, NAME], {"v": 1}], ids=repr)
def test_a_reference_of_another_shape_is_a_decode_error(shelf: Shelf, payload: Any) -> None:
    """What the codec does not write as a reference does not decode, and nothing is loaded."""
    with pytest.raises(DecodeError):
        load({"~": "ref", "v": payload}, "x", app=None)
    assert shelf.asked == []


# --- Until it is loaded --------------------------------------------------------------------


def test_decoding_loads_nothing(shelf: Shelf) -> None:
    """Whoever only looks sees the reference in the place of the object."""
    _, _, args, _ = load_call(dump_call("shop.send", ([shelf.put(7)],), {}))
    assert args == ([codec.Reference(NAME, 7)],)
    assert shelf.asked == []


def test_what_cannot_be_built_of_references_is_shown_unloaded(shelf: Shelf) -> None:
    """A dataclass that insists on the object does not keep anyone from looking at the job."""
    decode = Noting()
    _, _, args, _ = load_call(dump_call("shop.send", (Strict(shelf.put(7)),), {}), decode)
    assert type(args[0]) is Unloaded
    assert args[0].load(None) == Strict(shelf.kept[7])


def test_what_is_broken_is_not_taken_for_unloaded() -> None:
    """Without a reference, what does not decode is an error at once."""
    with pytest.raises(DecodeError):
        unloaded({"~": "uuid", "v": "x"}, "g.a")


def test_only_values_with_references_are_left_unloaded(shelf: Shelf) -> None:
    """The others are decoded; and the values that are left show nothing but their place."""
    values = {"plain": (1, 2), "one": shelf.put(7), "many": [shelf.put(8)]}
    encoded = {name: codec.encode(value, name, references=True) for name, value in values.items()}
    decoded = {name: unloaded(primitive, f"g.{name}") for name, primitive in encoded.items()}
    assert decoded["plain"] == (1, 2)
    assert repr(decoded["many"]) == "Unloaded(path='g.many')"
    assert decoded["one"].load(None) is shelf.kept[7]


def test_a_reference_travels_as_itself(shelf: Shelf) -> None:
    """A callback may hand on what it sees in the arguments of its job: it is loaded where it arrives."""
    shelf.put(7)
    assert sent([codec.Reference(NAME, 7)]) == [shelf.kept[7]]


# --- Registration --------------------------------------------------------------------------


def test_it_is_a_decorator() -> None:
    """With arguments, ``register_model`` gives a decorator that returns the class."""

    @register_model(name="shop:note", loader=Shelf())
    class Note(Document):
        pass

    assert models["shop:note"].cls is Note


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (Document, {}, "SQLAlchemy does not map this class"),
        (Document, {"loader": Shelf(), "gone": "ignore"}, "gone='ignore'"),
        (Document, {"loader": object()}, "key_of"),
        (Document, {"loader": Shelf(), "session": dict}, "without session="),
        (dict, {"loader": Shelf()}, "codec itself knows"),
    ],
)
def test_what_cannot_work_is_refused(cls: type, options: dict[str, Any], message: str) -> None:
    """A model that no worker could load is refused where it is registered."""
    with pytest.raises(ConfigError, match=message):
        register_model(cls, **options)
    assert not models


def test_two_models_cannot_have_one_name(shelf: Shelf) -> None:
    """A name that belongs to another class is refused."""
    with pytest.raises(ConfigError, match="another one"):
        register_model(Shelf, name=NAME, loader=shelf)


def test_an_app_factory_may_be_called_again() -> None:
    """A class that a factory makes anew takes the place of the one before."""

    def factory() -> type:
        @register_model(loader=Shelf())
        class Local:
            pass

        return Local

    factory()
    newest = factory()
    assert [model.cls for model in models.values()] == [newest]
