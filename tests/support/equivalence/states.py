"""What is in Redis: all of it as it is, and what of it belongs to some jobs, in a form that can be compared.

What cannot be equal is masked, here and nowhere else, each with its reason. Knows nothing of ctxjobs but the
names of its keys and fields.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

from redis import Redis

#: The hash in which jobs write down what they have seen, by job id; no part of any state.
LOOKS: Final = "looks"

#: The fields of RQ's hash of a worker in which two workers differ: each has its process, and its time.
_WORKERS_OWN: Final = ("birth", "ip_address", "pid", "total_working_time")

#: The fields that are ours, in RQ's hashes of jobs. Our keys begin with ``ctxjobs:``.
OUR_FIELDS: Final = ("ctxjobs", "ctxjobs_redelivered")

_JOB: Final = "rq:job:"
_WORKER: Final = "rq:worker:"
_ID = re.compile(r"[0-9a-f]{32}")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")


#: A worker gives a sign of life once in so many seconds, as RQ's.
_BEATS_S: Final = 30.0


@dataclass(frozen=True)
class Entry:
    """One key.

    Attributes:
        type: Its type, as Redis says.
        expires_at: When it expires, in seconds since the epoch; None means never.
        value: Its value, by redis-py's types.
    """

    type: str
    expires_at: float | None
    value: Any


@dataclass(frozen=True)
class State:
    """All that is in Redis, but for what is ours.

    Attributes:
        at: When it was read, in seconds since the epoch.
        entries: By key.
    """

    at: float
    entries: Mapping[str, Entry] = field(repr=False)


def read(connection: Redis) -> State:
    """Read it."""
    seconds, microseconds = connection.time()
    now = seconds + microseconds / 1e6
    names = sorted(raw.decode() for raw in connection.scan_iter(count=1000))
    keys = [key for key in names if key != LOOKS and not key.startswith("ctxjobs:")]
    pipeline: Any = connection.pipeline(transaction=False)
    for key in keys:
        pipeline.type(key)
    types = [type_.decode() for type_ in pipeline.execute()]
    for key, type_ in zip(keys, types, strict=True):
        pipeline.pttl(key)
        _ask(pipeline, key, type_)
    answers = iter(pipeline.execute())
    lives = zip(keys, types, answers, answers, strict=True)
    return State(
        now,
        {
            key: Entry(type_, None if ms < 0 else now + ms / 1000, value)
            for key, type_, ms, value in lives
            if value
        },
    )


def _ask(pipeline: Any, key: str, type_: str) -> None:
    readers: dict[str, Callable[[], Any]] = {
        "none": lambda: pipeline.get(key),
        "string": lambda: pipeline.get(key),
        "hash": lambda: pipeline.hgetall(key),
        "list": lambda: pipeline.lrange(key, 0, -1),
        "set": lambda: pipeline.smembers(key),
        "zset": lambda: pipeline.zrange(key, 0, -1, withscores=True),
        "stream": lambda: pipeline.xrange(key),
    }
    readers[type_]()


class Comparable:
    """What of a state belongs to some jobs, in a form that can be compared.

    Jobs do not run at the same time under two workers. So a time is in seconds relative to the latest one
    that the hash of its job has; without such a job, it is in seconds from when the state was read, or past.

    Args:
        state: The state.
        before: The one before any worker came: times that were there already stay as they were.
        belongs: Whether a key does.
        number: What becomes of a number that is a time.
    """

    def __init__(
        self,
        state: State,
        before: State,
        belongs: Callable[[str], bool],
        number: Callable[[float], Any] = float,
    ) -> None:
        self._state, self._before, self._number = state, before, number
        self._keys = [key for key in state.entries if belongs(key)]
        jobs = {key[len(_JOB) :]: state.entries[key] for key in self._keys if key.startswith(_JOB)}
        clocks = {job_id: _latest(entry.value) for job_id, entry in jobs.items() if entry.type == "hash"}
        workers = [key[len(_WORKER) :] for key in state.entries if key.startswith(_WORKER)]
        self._names = re.compile("|".join(map(re.escape, workers)) or "(?!)")
        self._clocks = {job_id: clock for job_id, clock in clocks.items() if clock is not None}

    def value(self) -> dict[str, Any]:
        """It, by key: type, time to live, value."""
        found = {self._anonymous(key): self._entry(key, self._state.entries[key]) for key in self._keys}
        return {key: entry for key, entry in found.items() if entry[2] != []}

    def _time(self, about: str, seconds: float) -> Any:
        """A time in what is called *about*: a key, or a member of a registry."""
        job_id = next((part for part in about.split(":") if part in self._clocks), "")
        if job_id not in self._clocks and seconds <= self._state.at:
            return "past"
        return self._number(seconds - self._clocks.get(job_id, self._state.at))

    def _entry(self, key: str, entry: Entry) -> tuple[str, Any, Any]:
        return entry.type, self._expiry(key, entry), getattr(self, f"_{entry.type}")(key, entry.value)

    def _expiry(self, key: str, entry: Entry) -> Any:
        if entry.expires_at is None:
            return None
        if key.startswith(_WORKER) and entry.expires_at > self._state.at + _BEATS_S:
            return "later"  # ours are kept for longer than RQ's while they run a job
        before = self._before.entries.get(key)
        if before is not None and abs((before.expires_at or 0.0) - entry.expires_at) < 0.1:
            return "as before"  # nobody has touched it
        return self._time(key, entry.expires_at)

    def _anonymous(self, name: str) -> str:
        return _ID.sub("<id>", self._names.sub("<worker>", name))

    def _string(self, key: str, value: bytes) -> Any:
        return value

    def _list(self, key: str, value: list[bytes]) -> list[bytes]:
        return value

    def _set(self, key: str, value: set[bytes]) -> set[str]:
        return {self._anonymous(member.decode()) for member in value}

    def _zset(self, key: str, value: list[tuple[bytes, float]]) -> list[tuple[str, Any]]:
        before = dict(self._before.entries[key].value) if key in self._before.entries else {}
        # What is past is removed by whoever cleans up next.
        members = [
            (
                self._anonymous(member.decode()),
                "as before" if before.get(member) == score else self._score(member.decode(), score),
            )
            for member, score in value
            if self._score(member.decode(), score) != "past"
        ]
        return sorted(members, key=lambda one: one[0])  # those of one second have no order

    def _score(self, member: str, score: float) -> Any:
        return self._time(member, score) if 1e9 < score < 1e11 else score

    def _hash(self, key: str, value: dict[bytes, bytes]) -> dict[str, Any]:
        before = self._before.entries.get(key)
        old = before.value if before is not None else {}
        return {
            name.decode(): "as before"
            if _content(name, old.get(name, b"")) == _content(name, text) != b""
            else self._field(key, name.decode(), text)
            for name, text in value.items()
            if name.decode() not in OUR_FIELDS
        }

    def _stream(self, key: str, value: list[tuple[bytes, dict[bytes, bytes]]]) -> list[dict[str, Any]]:
        # The ids are times and numbers that Redis gives.
        return [
            {name.decode(): self._field(key, name.decode(), text) for name, text in one.items()}
            for _, one in value
        ]

    def _field(self, key: str, name: str, raw: bytes) -> Any:
        text = raw.decode(errors="replace")
        if key.startswith(_WORKER) and name in _WORKERS_OWN:
            return f"<{name}>"
        if _DATE.fullmatch(text):
            return self._time(key, _timestamp(text))
        if re.fullmatch(r"1\d{9}\.\d+", text):
            return self._time(key, float(text))
        if name in ("worker_name", "execution_id", "id") and raw:
            return f"<{name}>"  # each worker has names of its own, and each run an id
        if name == "exc_string":
            return _last_line(zlib.decompress(b64decode(raw)).decode())
        if name == "exc_info":
            return _last_line(zlib.decompress(raw).decode())
        if name == "webhooks":
            return re.sub(r":\d+", ":<port>", text)  # each worker reports to a server of its own
        return raw


def _content(name: bytes, raw: bytes) -> bytes:
    """What a field holds: RQ compresses the call, and reads what is not compressed, as ours is."""
    try:
        return zlib.decompress(raw) if name == b"data" else raw
    except zlib.error:
        return raw


def _latest(fields: dict[bytes, bytes]) -> float | None:
    """The latest of the times that RQ has in the hash of a job."""
    names = (b"started_at", b"ended_at", b"last_heartbeat", b"enqueued_at")
    return max((_timestamp(fields[name].decode()) for name in names if fields.get(name)), default=None)


def _timestamp(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()


def _last_line(trace: str) -> str:
    """The error of a traceback: the lines of the worker that are above it are others in each worker."""
    if trace.startswith("Work-horse terminated unexpectedly;"):
        return "Work-horse terminated unexpectedly"  # RQ goes on with numbers, and we with a sentence
    return f"Traceback: {trace.splitlines()[-1]}" if trace.startswith("Traceback") else trace
