"""What the capture policy left out: noted at the capture, known to the job, told when the job reads it.

Names and reasons, never values. May import the floors of values; knows no framework. The objects that
ask here are in :mod:`ctxjobs.hosts.guards`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeVar

from ctxjobs.errors import NotCapturedError
from ctxjobs.policy import LOCAL, dotted, header_name, never_travels
from ctxjobs.snapshot import Snapshot

_E = TypeVar("_E", bound=NotCapturedError)

#: How many names are noted; what the app chose first, headers, which the client chose, last.
MAX_NAMES: Final = 50
#: Longer names are not noted, a part of one would match nothing.
MAX_NAME_LENGTH: Final = 100

_KINDS: Final = ("request", "g", "session", "headers")
#: What of a request is read from its body.
BODY_PARTS: Final = frozenset({"form", "files", "json"})


def bounded(names: Mapping[str, Iterable[object]]) -> dict[str, tuple[str, ...]]:
    """What a snapshot holds of *names*, by kind: few, short, and nothing that a log cannot show."""
    out: dict[str, tuple[str, ...]] = {}
    room = MAX_NAMES
    for kind in _KINDS:
        if not (there := names.get(kind)):
            continue
        if kept := tuple([str(name) for name in there if _is_notable(name)][:room]):
            out[kind] = kept
            room -= len(kept)
    return out


@lru_cache(maxsize=1024, typed=True)
def _is_notable(name: Hashable) -> bool:
    """Asked for the same few names, above all headers, over and over."""
    return type(name) is str and len(name) <= MAX_NAME_LENGTH and name.isprintable()


class Misses:
    """What one run of a job does not have.

    Args:
        snapshot: What the job has.
        job_id: The job; ``-`` without one.

    Attributes:
        names: What was left out, by kind: names on ``g``, session keys, headers as the environ spells
            them, and of the ``request`` its ``cookies``, ``form``, ``files``, ``json``.
        reasons: Why, where it is not that the policy does not list it; by path, such as ``g.db``.
        looked_for: Paths of what the job has looked for, by whatever means.
    """

    __slots__ = ("job_id", "looked_for", "names", "reasons")

    def __init__(self, snapshot: Snapshot, job_id: str = "-") -> None:
        self.job_id = job_id
        self.reasons = snapshot.skipped
        self.names = {kind: set(snapshot.left_out.get(kind, ())) for kind in _KINDS}
        for path in self.reasons:
            kind, _, name = path.partition(".")
            if name and kind in self.names:
                self.names[kind].add(environ_name(name) if kind == "headers" else name)
        self.looked_for: set[str] = set()

    def tells(self, *kinds: str) -> bool:
        """Whether there is anything to tell of these *kinds*."""
        for kind in kinds:  # noqa: SIM110 - several times for each job, and any() takes twice as long
            if self.names[kind]:
                return True
        return False

    def note(self, kind: str, name: str) -> bool:
        """Whether *name* was left out; if it was, the job has looked for it."""
        missing = name in self.names[kind] if kind in self.names else kind in self.names["request"]
        if missing:
            self.looked_for.add(_path(kind, name))
        return missing

    def refuse(self, error: type[_E], kind: str, name: str) -> None:
        """Raise *error* if *name* was left out."""
        if self.note(kind, name):
            path = _path(kind, name)
            raise error(self.job_id, path, *self._why(kind, name)) from None

    def forget(self, kind: str, names: Iterable[str]) -> None:
        """The job has set *names* itself."""
        self.names[kind].difference_update(names)

    def note_taken(self, snapshot: Snapshot) -> None:
        """The job has enqueued another one, which got *snapshot*."""

    def why_withheld(self, kind: str, name: str) -> str | None:
        """Why *name* could not travel, whatever lists it; None if a list could have taken it."""
        if never_travels(kind, name):
            return "it never travels with a job"
        if kind in BODY_PARTS or name == "CONTENT_TYPE":
            return self.reasons.get("body") or self.reasons.get(dotted("headers", header_name(name)))
        return self.reasons.get(dotted(kind, header_name(name) if kind == "headers" else name))

    def _why(self, kind: str, name: str) -> tuple[str, str]:
        reason = self.why_withheld(kind, name)
        if reason == LOCAL:
            return reason, "Take it out of Capture(local=...), or pass an id of it as an argument."
        if never_travels(kind, name):
            return (
                str(reason),
                "Read in the view what the job needs, and pass that, or an id, as an argument.",
            )
        if kind in BODY_PARTS or name == "CONTENT_TYPE":
            return (
                reason or "the capture policy takes no body",
                "Add Capture(body_bytes=...), at least as large as the body, or pass it as an argument.",
            )
        if reason is not None and kind == "headers":
            return reason, "Pass what the job needs of it as an argument."
        if reason is not None:
            return reason.rstrip("."), (
                f"Pass an id of it as an argument; Capture({kind}=(..., {name!r})) makes the enqueue "
                "fail instead."
            )
        listed = f"(*SAFE_HEADERS, {_shown(kind, name)!r})" if kind == "headers" else f"(..., {name!r})"
        return _UNLISTED.get((kind, name[:1]), "the capture policy does not list it"), (
            f"Add it: Capture({kind}={listed})."
        )

    # --- a job that enqueues a job --------------------------------------------------------

    def hand_on(self, names: dict[str, list[str]], skipped: dict[str, str]) -> None:
        """Add what this job does not have to *names* and *skipped*, which are of a job that it enqueues."""
        for kind, missing in self.names.items():
            for name in sorted(missing):
                path = dotted(kind, _shown(kind, name))
                if reason := self.reasons.get(path):
                    skipped[path] = reason
                else:
                    names.setdefault(kind, []).append(name)
        if reason := self.reasons.get("body"):
            skipped.setdefault("body", reason)


_UNLISTED: Final = {
    ("g", "_"): 'the capture policy does not list it, and g="public" takes no name with a leading underscore'
}


def _path(kind: str, name: str) -> str:
    """What code writes to read it."""
    if kind == "g":
        return f"g.{name}"
    if kind == "session":
        return f"session[{name!r}]"
    if kind == "json":
        return "request.json"
    return f"request.{kind}[{_shown(kind, name)!r}]"


def _shown(kind: str, name: str) -> str:
    return header_name(name) if kind == "headers" else name


def environ_name(header: object) -> str:
    """The name of *header* as :class:`Misses` has it: as the environ spells it, without ``HTTP_``."""
    return str(header).upper().replace("-", "_")
