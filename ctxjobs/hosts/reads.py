"""What an audited run of a job reads: noted by guards that also look at what is there.

Only for audited runs; no other one pays for it. Names, never values. May import the guards, the misses and
the floors of values; imports no framework. What is done with the notes is in :mod:`ctxjobs.audit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ctxjobs.hosts.guards import Guards, _GuardedG, _GuardedHeaders, _GuardedRequest, _GuardedSession
from ctxjobs.hosts.misses import BODY_PARTS, Misses, environ_name
from ctxjobs.policy import dotted, header_name, is_header
from ctxjobs.snapshot import Snapshot


class Reads(Misses):
    """What one run of a job has, reads and does not have.

    Args:
        snapshot: What the job has.
        job_id: The job; ``-`` without one.

    Attributes:
        captured: Paths of what the job has, as a policy names them: ``g.tenant``, ``body``.
        read: Paths of what it has read of that, whether it used it or asked whether it is there.
        missed: Paths of what it looked for and a list of the policy could have taken.
        withheld: Paths of what it looked for and no list could have taken; ``cookies`` for all of these.
        body_bytes: Size of the body that it has read; 0 for none.
    """

    __slots__ = ("_body", "_there", "body_bytes", "captured", "missed", "read", "withheld")

    def __init__(self, snapshot: Snapshot, job_id: str = "-") -> None:
        super().__init__(snapshot, job_id)
        self._there = _names_of(snapshot)
        self._body = snapshot.request.body if snapshot.request else None
        self.captured = {_path(kind, name) for kind, names in self._there.items() for name in names}
        if self._body:
            self.captured.add("body")
        self.read: set[str] = set()
        self.missed: set[str] = set()
        self.withheld: set[str] = set()
        self.body_bytes = 0

    def tells(self, *kinds: str) -> bool:
        """Whether there is anything to note of these *kinds*."""
        there = any(self._there.get(kind) for kind in kinds) or ("request" in kinds and bool(self._body))
        return there or super().tells(*kinds)

    def note(self, kind: str, name: str) -> bool:
        """Note that the job has looked for *name*, be it there or not."""
        if self.note_there(kind, name):
            return False
        missing = super().note(kind, name)
        if missing:
            (self.withheld if self.why_withheld(kind, name) else self.missed).add(_path(kind, name))
        return missing

    def note_there(self, kind: str, name: str) -> bool:
        """Note that the job has read *name*, if it is there; whether it is."""
        there = name in self._there.get(kind, ())
        if there:
            self.read.add(_path(kind, name))
        return there

    def note_all(self, kind: str) -> None:
        """The job goes through all that is there."""
        self.read.update(_path(kind, name) for name in self._there[kind])

    def note_body(self) -> None:
        """The job reads the body."""
        if self._body:
            self.read.add("body")
            self.body_bytes = len(self._body)

    def note_taken(self, snapshot: Snapshot) -> None:
        """The job has handed on what *snapshot* holds, so it needs that itself."""
        for kind, names in _names_of(snapshot).items():
            for name in names & self._there[kind]:
                self.note(kind, name)
        if snapshot.request is not None and snapshot.request.body:
            self.note_body()

    def forget(self, kind: str, names: Iterable[str]) -> None:
        """The job has set *names* itself, and from now on reads its own values."""
        super().forget(kind, names)
        self._there[kind].difference_update(names)


def _names_of(snapshot: Snapshot) -> dict[str, set[str]]:
    environ = () if snapshot.request is None else snapshot.request.environ
    return {
        "g": set(snapshot.g),
        "session": set(snapshot.session or ()),
        "headers": {key.removeprefix("HTTP_") for key in environ if is_header(key)},
    }


def _path(kind: str, name: str) -> str:
    """As a policy names it; what is read from the body counts as the body."""
    if kind in BODY_PARTS or (kind == "headers" and name == "CONTENT_TYPE"):
        return "body"
    if kind == "cookies":
        return kind
    return dotted(kind, header_name(name) if kind == "headers" else name)


def _reads(guarded: Any) -> Reads:
    reads: Reads = object.__getattribute__(guarded, "__misses__")
    return reads


class _AuditedG(_GuardedG):
    __slots__ = ()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name[:2] != "__":
            _reads(self).note("g", name)
        return value

    def pop(self, name: str, *default: Any) -> Any:
        _reads(self).note("g", name)
        return super().pop(name, *default)

    def __iter__(self) -> Iterator[str]:
        _reads(self).note_all("g")
        return super().__iter__()


class _AuditedSession(_GuardedSession):
    def __getitem__(self, key: str) -> Any:
        _reads(self).note("session", key)
        return super().__getitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        _reads(self).note("session", key)
        return super().pop(key, *default)

    def __iter__(self) -> Iterator[str]:
        _reads(self).note_all("session")
        return super().__iter__()

    if not TYPE_CHECKING:  # dict's own give views of several types

        def keys(self):
            _reads(self).note_all("session")
            return super().keys()

        def values(self):
            _reads(self).note_all("session")
            return super().values()

        def items(self):
            _reads(self).note_all("session")
            return super().items()


class _AuditedHeaders(_GuardedHeaders):
    def __getitem__(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(key, str):
            self._note_header(key)
        return super().__getitem__(key, *args, **kwargs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        _reads(self).note_all("headers")
        return super().__iter__()

    def getlist(self, key: str, *args: Any, **kwargs: Any) -> Any:
        reads = _reads(self)
        before = set(reads.read)
        values = super().getlist(key, *args, **kwargs)  # goes through all headers to find some
        reads.read = before
        reads.note_there("headers", environ_name(key))
        return values


class _AuditedRequest(_GuardedRequest):
    @cached_property
    def stream(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # Werkzeug's is its own kind
        """The input, through which data, form, files and JSON are read."""
        _reads(self).note_body()
        return super().stream


#: The guards of audited runs.
AUDITED: Guards = Guards(_AuditedG, _AuditedSession, _AuditedHeaders, _AuditedRequest)
