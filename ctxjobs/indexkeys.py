"""The index: under which keys a job is entered, by what it was enqueued in.

Pure functions on snapshots. May import the snapshot and the names of keys; knows neither RQ nor Redis.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from uuid import UUID

from ctxjobs.keys import index_key
from ctxjobs.snapshot import Snapshot


def index_keys(app_id: str, places: Mapping[str, str], snapshot: Snapshot) -> tuple[str, ...]:
    """The keys that a job with *snapshot* has an entry in.

    Args:
        app_id: The job's app.
        places: Where the value of a kind is, by kind (``CTXJOBS_INDEX``).
        snapshot: What the job was enqueued in.
    """
    keys = []
    for kind, where, name in _parsed(*places.items()):
        if where == "lineage":
            value = getattr(snapshot.lineage, name)
        elif where == "g":
            value = snapshot.g.get(name)
        elif where == "session":
            value = (snapshot.session or {}).get(name)
        else:
            value = snapshot.propagators.get(where)
            if type(value) is dict and "~" not in value:
                value = value.get("id")
        if value is not None and (text := as_text(value)) is not None:
            keys.append(index_key(app_id, kind, text))
    return tuple(keys)


@lru_cache(maxsize=64)
def _parsed(*places: tuple[str, str]) -> list[tuple[str, str, str]]:
    """The kinds, each with the parts of its place."""
    parted = [(kind, place.partition(".")) for kind, place in places]
    return [(kind, where, name) for kind, (where, _, name) in parted]


def as_text(value: Any) -> str | None:
    """An encoded *value* as the text that it is looked up by: of a str, an int or a UUID; None of all else.

    A number and its digits are one, because Flask-Login makes a str of every id.
    """
    cls = type(value)
    if cls is str or cls is int:
        return str(value) or None
    return str(UUID(value["v"])) if cls is dict and value.get("~") == "uuid" else None
