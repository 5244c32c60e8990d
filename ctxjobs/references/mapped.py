"""Classes that SQLAlchemy maps: their key is the primary key, and a session loads them.

May import the standard library and :mod:`ctxjobs.errors`; SQLAlchemy is never imported, only asked once
the app has loaded it. Nothing here reads an attribute of an object: that could flush or query.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ctxjobs.errors import ConfigError, UnencodableValueError

_PENDING = "It is not in the database yet, and has no primary key there: commit it first, or at least flush."
_DELETED = "It is deleted: take out what refers to it, or pass its id for the record."
_OTHER_TABLE = "Its class cannot be told from a row of the class that is registered: register this one, too."


def is_mapped(cls: type) -> bool:
    """Whether SQLAlchemy maps *cls*."""
    return "sqlalchemy" in sys.modules and _inspect(cls) is not None


class MappedModel:
    """The primary key of objects of a mapped class, and the objects of a primary key.

    Args:
        cls: The class.
        session: Gives the session to load with; None means that of Flask-SQLAlchemy.
    """

    def __init__(self, cls: type, session: Callable[[], Any] | None) -> None:
        self._cls = cls
        self._session = session

    def key_of(self, obj: Any) -> Any:
        """Its primary key, as the session knows it: the value, or a tuple if it has several columns.

        Raises:
            UnencodableValueError: It has none yet, is deleted, or would come back as another class.
        """
        state = _inspect(obj)
        advice = self._why_not(obj, state)
        if advice:
            raise UnencodableValueError("", type(obj).__qualname__, advice)
        identity = tuple(state.identity)
        return identity[0] if len(identity) == 1 else identity

    def load(self, key: Any, app: Any) -> Any:
        """The object with this primary key, by the session of *app*; None if there is no such row.

        Raises:
            ConfigError: There is no session.
        """
        return self._session_of(app).get(self._cls, key)

    def _why_not(self, obj: Any, state: Any) -> str | None:
        if state.identity is None:
            return _PENDING
        if state.was_deleted or (state.session is not None and obj in state.session.deleted):
            return _DELETED
        return None if type(obj) is self._cls or self._comes_back(state) else _OTHER_TABLE

    def _comes_back(self, state: Any) -> bool:
        """Whether a row tells the class of this object, which is below ours."""
        mapper = _inspect(self._cls)
        ours = mapper.identity_key_from_primary_key(state.identity)
        return mapper.polymorphic_on is not None and ours[:2] == state.identity_key[:2]

    def _session_of(self, app: Any) -> Any:
        if self._session is not None:
            return self._session()
        scoped = getattr(app.extensions.get("sqlalchemy"), "session", None)
        if scoped is None:
            raise ConfigError(
                f"register_model({self._cls.__qualname__})",
                "there is no session to load it with, as the app has no Flask-SQLAlchemy; give session=.",
            )
        return scoped()


def _inspect(value: Any) -> Any:
    return sys.modules["sqlalchemy"].inspect(value, raiseerr=False)
