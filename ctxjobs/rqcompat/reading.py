"""Jobs that were read from Redis: what RQ 2.12 makes of their fields, in a tenth of its time.

Where more is in a hash than is known here, or something else, that is said, and RQ's own method does it.
Touches what RQ calls private, as the rest of this package. May import rq; verifies nothing.

Measured: RQ takes 45 us to make an empty job and 60 us to fill it, of which the most goes into ``strptime``
and into asking whether a serializer is one (``bench/steps.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from typing import Any, Final, TypeVar

from rq.job import UNEVALUATED, Job, JobStatus

from ctxjobs.rqcompat import MAX_DURATION_S
from ctxjobs.rqcompat.enqueueing import blank_state

_J = TypeVar("_J", bound=Job)

_STATUS: Final = {status.value.encode(): status for status in JobStatus}


def empty_job(cls: type[_J], job_id: str, connection: Any, serializer: Any) -> _J:
    """What ``Job.__init__`` makes, for any *job_id*: what is in a queue need not be an id that RQ would make.

    Args:
        cls: The job class.
        job_id: Its id.
        connection: Redis.
        serializer: One that RQ has resolved.
    """
    if cls.__init__ is not Job.__init__:
        job = cls(connection=connection, serializer=serializer)
    else:
        job = cls.__new__(cls)
        job.__dict__ = blank_state(connection)
        job.serializer = serializer
    job._id = job_id
    return job


def restore(job: Job, fields: Mapping[str, bytes], ignored: Collection[str] = ()) -> bool:
    """Take over *fields*, as ``Job.restore`` does, if all of them are of the plain kind.

    Args:
        job: The job.
        fields: Its hash; the call among them decompressed.
        ignored: Names of fields that are not RQ's.

    Returns:
        Whether that was done; else nothing was, and ``Job.restore`` is to do it.
    """
    state = {**_ABSENT, "_dependency_ids": [], "meta": {}}
    try:
        for name, value in fields.items():
            if value and name not in ignored:
                attribute, read = _READERS[name]
                state[attribute] = read(value)
        state["_data"] = fields["data"]
    except (LookupError, ValueError, TypeError, AttributeError):
        return False
    if state["created_at"] is None or state["_status"] is None or fields["data"][:1] == b"x":
        return False  # RQ puts something in their place; and it would decompress once more
    vars(job).update(state)
    return True


def _text(value: bytes) -> str:
    return value.decode()


def _moment(value: bytes) -> datetime:
    """As RQ's ``str_to_date``, of what RQ writes now."""
    if len(value) != 27 or (value[4], value[7], value[10], value[19], value[26]) != _MARKS:
        raise ValueError("a time of another form")
    return datetime.fromisoformat(value[:26].decode()).replace(tzinfo=timezone.utc)


_MARKS: Final = tuple(b"--T.Z")


def _seconds(value: bytes) -> int:
    seconds = int(value)
    if not -1 <= seconds <= MAX_DURATION_S:
        raise ValueError("no number of seconds")
    return seconds


def _flag(value: bytes) -> bool:
    return bool(int(value))


def _as_they_are(names: str, read: Callable[[bytes], Any]) -> dict[str, tuple[str, Callable[[bytes], Any]]]:
    return {name: (name, read) for name in names.split()}


#: How fields are read, and into which attributes.
_READERS: Final[dict[str, tuple[str, Callable[[bytes], Any]]]] = {
    **_as_they_are("origin worker_name description group_id", _text),
    **_as_they_are("created_at enqueued_at started_at ended_at last_heartbeat", _moment),
    **_as_they_are("timeout result_ttl failure_ttl ttl", _seconds),
    **_as_they_are("number_of_retries retries_left repeats_left", int),
    **_as_they_are("enqueue_at_front allow_dependency_failures enqueue_at_front_on_retry", _flag),
    "data": ("_data", lambda value: value),
    "status": ("_status", _STATUS.__getitem__),
    "success_callback_name": ("_success_callback_name", _text),
    "failure_callback_name": ("_failure_callback_name", _text),
    "stopped_callback_name": ("_stopped_callback_name", _text),
    "success_callback_timeout": ("_success_callback_timeout", _seconds),
    "failure_callback_timeout": ("_failure_callback_timeout", _seconds),
    "stopped_callback_timeout": ("_stopped_callback_timeout", _seconds),
}
#: What RQ sets where a field is absent; what is not here it leaves as it was.
_ABSENT: Final[dict[str, Any]] = {
    **dict.fromkeys(
        name for name, (attribute, _) in _READERS.items() if name == attribute
    ),
    "_status": None,
    "origin": "",
    "enqueue_at_front_on_retry": False,
    "_func_name": UNEVALUATED,
    "_instance": UNEVALUATED,
    "_args": UNEVALUATED,
    "_kwargs": UNEVALUATED,
}  # fmt: skip
