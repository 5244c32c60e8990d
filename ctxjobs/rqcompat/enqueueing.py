"""Jobs that are made here, up to the point where they are written: what RQ 2.12 does, in a third of its time.

Where more is to be done than is known here, that is said, and RQ's own methods do it. Touches what RQ calls
private, as the rest of this package. May import rq; knows no envelope, no script and no Redis.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from datetime import datetime, timezone
from functools import partial
from operator import itemgetter
from os import urandom
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from rq.job import Job, JobStatus

from ctxjobs.rqcompat import set_call

if TYPE_CHECKING:
    from redis import Redis
    from rq import Queue

_J = TypeVar("_J", bound=Job)

#: What RQ has set of a job that it has just made.
_BLANK: Final = vars(Job("blank", connection=cast("Redis", object())))
_CONTAINERS: Final = {name: type(value) for name, value in _BLANK.items() if type(value) in (list, dict)}
#: What :func:`plain_fields` looks at; all else has to be as RQ has set it.
_PLAIN: Final = frozenset(
    {
        "_id", "connection", "created_at", "_data", "_func_name", "_instance", "_args", "_kwargs", "_status",
        "description", "origin", "enqueued_at", "timeout", "result_ttl", "failure_ttl", "ttl", "meta",
        "group_id", "serializer", "log", "redis_server_version", "_cached_result",
    }
)  # fmt: skip
_rest: Final = itemgetter(*(_BLANK.keys() - _PLAIN))
_BLANK_REST: Final = _rest(_BLANK)
#: Options of ``create_job`` that :func:`new_job` takes; durations among them where they are whole seconds.
_DURATIONS: Final = frozenset({"timeout", "result_ttl", "failure_ttl", "ttl"})
_OPTIONS: Final = frozenset({"job_id", "description", "meta", "status", "group_id"}) | _DURATIONS
#: Shorter calls are stored as they are; RQ reads both. Measured: zlib sets itself up for 5 us, each time.
_WORTH_DEFLATING_BYTES: Final = 1024


_now: Final = partial(datetime.now, timezone.utc)


def is_plain(options: Mapping[str, Any]) -> bool:
    """Whether :func:`new_job` takes *options*, which are those of ``Queue.create_job``."""
    for name, value in options.items():
        if value is None:
            continue
        if name not in _OPTIONS or (name in _DURATIONS and (type(value) is not int or value < 1)):
            return False
    return True


def blank_state(connection: Any) -> dict[str, Any]:
    """The attributes of a job that RQ has just made."""
    state = _BLANK.copy()
    for name, kind in _CONTAINERS.items():
        state[name] = kind()
    state["connection"], state["created_at"] = connection, _now()
    return state


def new_job(cls: type[_J], queue: Queue, options: Mapping[str, Any]) -> _J:
    """What ``Queue.create_job`` makes, but for the call, with options that are :func:`is_plain`."""
    job = cls.__new__(cls)
    state = job.__dict__ = blank_state(queue.connection)
    state["origin"] = queue.name
    state["timeout"], state["_status"], state["_id"] = queue._default_timeout, JobStatus.QUEUED, None
    for name, value in options.items():
        if value is not None and name != "job_id":
            state["_status" if name == "status" else name] = value
    if (job_id := options.get("job_id")) is not None:
        job.id = job_id
    return job


def _new_id() -> str:
    """As ``str(uuid4())``."""
    digits = urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def plain_fields(job: Job) -> tuple[list[Any], bytes, str, str] | None:
    """What RQ's ``to_dict`` says of *job* that is not empty, if that is no more than is known here.

    Returns:
        Names and values, one after the other; its call; when it was made; and when it was put on its queue,
        empty for a job that waits for its time.
    """
    state = vars(job)
    if _rest(state) != _BLANK_REST or not _KNOWS_FIELDS:
        return None
    data, at = state["_data"], state["enqueued_at"]
    created_at, enqueued_at = utc_text(state["created_at"]), "" if at is None else utc_text(at)
    fields = ["created_at", created_at, "status", state["_status"], "data"]
    fields.append(data if len(data) < _WORTH_DEFLATING_BYTES else zlib.compress(data))
    for name in ("description", "origin", "timeout", "result_ttl", "failure_ttl", "ttl", "group_id"):
        value = state[name]
        if value or (value == 0 and name != "ttl"):
            fields += (name, value)
    if enqueued_at:
        fields += ("enqueued_at", enqueued_at)
    if state["meta"]:
        fields += ("meta", job.serializer.dumps(job.meta))
    return fields, data, created_at, enqueued_at


def utc_text(moment: datetime) -> str:
    """As RQ's ``utcformat``. A second's text is kept until the next one: most of it is always the same."""
    global _second
    second = (moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second)
    known = _second
    if known[0] != second:
        known = _second = (second, moment.strftime("%Y-%m-%dT%H:%M:%S"))
    return f"{known[1]}.{moment.microsecond:06}Z"


_second: tuple[tuple[int, ...], str] = ((), "")


def _fields_of_blank() -> set[str]:
    blank = Job("blank", connection=cast("Redis", object()))
    set_call(blank, "", (), {}, b"")
    return set(blank.to_dict())


#: Whether RQ writes of every job what is known here. What is empty of it, scripts/enqueue.lua writes.
_KNOWS_FIELDS: Final = _fields_of_blank() == {
    "created_at", "data", "status", "success_callback_name", "failure_callback_name", "stopped_callback_name",
    "started_at", "ended_at", "last_heartbeat", "worker_name", "group_id",
}  # fmt: skip


def is_ready(job: Job) -> bool:
    """Whether *job* waits for no other job."""
    return not job._dependency_ids and job._status != JobStatus.DEFERRED


def has_id(job: Job) -> bool:
    """Whether *job* has an id already; RQ makes one when somebody asks for it."""
    return job._id is not None


def note_enqueued(queue: Queue, job: Job) -> None:
    """Note on *job* what RQ notes, but for the version of Redis, which takes a round trip to find out."""
    job._id = job._id or _new_id()
    job.origin, job.enqueued_at, job._status = queue.name, _now(), JobStatus.QUEUED
    if job.timeout is None:
        job.timeout = queue._default_timeout


def note_scheduled(job: Job) -> None:
    """Note on *job* what RQ notes."""
    job._id = job._id or _new_id()
    job._status = JobStatus.SCHEDULED
