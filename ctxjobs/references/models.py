"""What a loader is, and which models this process knows: the allow-list of references.

May import the standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

#: What to do when an object that a job refers to is gone: fail the job, give it None, or drop it.
Gone: TypeAlias = Literal["fail", "none", "drop"]


@runtime_checkable
class ModelLoader(Protocol):
    """How objects of one model are found again: for anything that is not SQLAlchemy."""

    def key_of(self, obj: Any, /) -> Any:
        """What *obj* is found by: plain values that travel. None for an object that is not stored yet."""
        ...

    def load(self, key: Any, /) -> Any:
        """The object with this key, or None if it is gone; called inside the job's contexts."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """A model whose objects may travel as references.

    Attributes:
        cls: Its class.
        name: Its name on the wire.
        gone: What to do when an object is gone.
        key_of: The key of an object; raises UnencodableValueError for one that cannot travel.
        load: The object with a key, loaded for an app; None if it is gone.
    """

    cls: type
    name: str
    gone: Gone
    key_of: Callable[[Any], Any]
    load: Callable[[Any, Any], Any]


#: By name: those of the process. Classes are registered while modules are imported.
models: dict[str, Model] = {}
