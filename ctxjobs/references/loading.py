"""From references to objects: when, by which app, and what if one is gone.

May import ``models``, :mod:`ctxjobs.codec` and :mod:`ctxjobs.errors`; whoever calls has pushed the contexts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ctxjobs import codec
from ctxjobs.codec import Primitive, Reference
from ctxjobs.errors import DecodeError, JobDroppedError, ReferenceGoneError, UnknownModelError
from ctxjobs.references.models import models


@dataclass(frozen=True, slots=True)
class Unloaded:
    """A value that holds references, until the contexts are there in which they can be loaded.

    Attributes:
        path: Where it stands.
        primitive: The value, encoded.
    """

    path: str
    primitive: Primitive = field(repr=False)

    def load(self, app: Any, hidden: bool = False) -> Any:
        """The value, with the objects of *app* that its references stand for; raises as :func:`load`."""
        return load(self.primitive, self.path, app, hidden)


class Noting:
    """Decodes, with a :class:`ctxjobs.codec.Reference` in each place of one; loads nothing.

    Attributes:
        met: Whether there was any.
    """

    def __init__(self) -> None:
        self.met = False

    def __call__(self, primitive: Primitive, path: str) -> Any:
        """Decode *primitive*; an :class:`Unloaded` stands for what cannot be built of references.

        Raises:
            DecodeError: It is not what the codec writes.
        """
        try:
            return codec.decode(primitive, path, self._note)
        except DecodeError:
            if self.met:  # a registered class that wants to see an object: loading tells who is right
                return Unloaded(path, primitive)
            raise

    def _note(self, name: str, key: Any) -> Reference:
        self.met = True
        return Reference(name, key)


def unloaded(primitive: Primitive, path: str) -> Any:
    """Decode a value that holds no references; an :class:`Unloaded` stands for one that does.

    Args:
        primitive: What ``encode`` returned.
        path: Where it stands, as errors shall name it.

    Raises:
        DecodeError: It is not what the codec writes.
    """
    if type(primitive) is not dict and type(primitive) is not list:
        return codec.decode(primitive, path)
    decode = Noting()
    value = decode(primitive, path)
    return Unloaded(path, primitive) if decode.met else value


def load(primitive: Primitive, path: str, app: Any, hidden: bool = False) -> Any:
    """Decode *primitive*, with the objects that its references stand for.

    Args:
        primitive: What ``encode`` returned.
        path: Where it stands, as errors shall name it.
        app: The app whose contexts are pushed.
        hidden: Whether the value is not to be shown; errors then name no place within it and no key.

    Raises:
        ReferenceGoneError: An object is gone, and its model says ``gone="fail"``.
        JobDroppedError: It says ``gone="drop"``.
        UnknownModelError: A model is not registered in this process.
        ConfigError: A model has no session.
        DecodeError: It is not what the codec writes.
    """
    try:
        return codec.decode(primitive, path, partial(_load, app))
    except UnknownModelError as error:
        error.path = path if hidden else error.path
        raise
    except DecodeError:
        if not hidden:
            raise
        raise DecodeError(path, "why is not shown, because the value is hidden") from None
    except ReferenceGoneError as gone:
        if hidden:
            gone.path, gone.key = path, "(hidden)"
        if models[gone.model].gone == "drop":
            raise JobDroppedError(f"{gone.path} refers to {gone.model} {gone.key}, which is gone") from gone
        raise


def _load(app: Any, name: str, key: Any) -> Any:
    model = models.get(name)
    if model is None:
        raise UnknownModelError("", name)
    found = model.load(key, app)
    if found is None and model.gone != "none":
        raise ReferenceGoneError("", name, repr(key)[:100])
    return found
