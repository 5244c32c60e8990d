"""Values that cannot travel, and stored ones that cannot be read. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import CallerError, StoredDataError


@dataclass(eq=False, repr=False)
class UnencodableValueError(CallerError, TypeError):
    """A value has a type that cannot travel with a job.

    Attributes:
        path: Where the value stands, such as ``g.order.lines[3].price``.
        type_name: Name of its type.
        advice: What to do instead.
    """

    path: str
    type_name: str
    advice: str
    template: ClassVar[str] = "{path}: {type_name} cannot be encoded. {advice}"


@dataclass(eq=False, repr=False)
class ValueLimitError(CallerError, ValueError):
    """A value is nested too deeply, takes too many bytes or has too many parts.

    Attributes:
        path: Where the value stands.
        what: What was measured: ``"levels"``, ``"bytes"`` or ``"lists and dicts"``.
        size: The size found, in that unit.
        limit: The largest size allowed, in that unit.
    """

    path: str
    what: str
    size: int
    limit: int
    template: ClassVar[str] = (
        "{path} takes {size} {what}; the limit is {limit}. Pass an id and load the object inside the job."
    )


@dataclass(eq=False, repr=False)
class SnapshotTooLargeError(CallerError, ValueError):
    """The captured context does not fit into the job.

    Attributes:
        size_bytes: Encoded size.
        limit_bytes: Largest size allowed.
        largest: Name of the largest value, the first one to look at.
    """

    size_bytes: int
    limit_bytes: int
    largest: str
    template: ClassVar[str] = (
        "The context captured for this job takes {size_bytes} bytes; the limit is {limit_bytes}. Its largest "
        "value is {largest}. Keep an id there and load the object inside the job, leave it out of "
        "CTXJOBS_CAPTURE, or raise CTXJOBS_SNAPSHOT_LIMIT_BYTES."
    )


@dataclass(eq=False, repr=False)
class DecodeError(StoredDataError, ValueError):
    """Stored data is not what the codec writes.

    Attributes:
        path: Where in the value.
        reason: What is wrong there.
    """

    path: str
    reason: str
    template: ClassVar[str] = (
        "{path} cannot be decoded: {reason}. It was changed in Redis, or written by another version of "
        "the app; enqueue the job again."
    )
