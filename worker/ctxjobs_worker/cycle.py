"""The cycle: what a worker asks Redis for in one round trip, as a typed call of ``scripts/cycle.lua``.

The script says what it writes. This file numbers the requests, so that one whose answer got lost can be sent
again, and reads the answers. May import :mod:`ctxjobs_worker.link`; knows neither RQ nor what a job does.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.resources import files
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from ctxjobs.keys import REDELIVERED_FIELD
from ctxjobs_worker.link import Link

_REDELIVERED: Final = REDELIVERED_FIELD.encode()
_encode: Final = msgspec.msgpack.Encoder().encode

#: How long a started job counts as alive without another sign of life, in seconds. RQ's own; signs are given
#: three times as often.
LEASE_S: Final = 90

_USURPED, _SUSPENDED, _UNREGISTERED = 1, 2, 4


class Script:
    """One of the scripts, for EVALSHA, and for EVAL where Redis does not know it.

    Args:
        name: The file in ``scripts``, without its suffix.
    """

    def __init__(self, name: str) -> None:
        folder = files("ctxjobs_worker") / "scripts"
        self._text = "\n".join((folder / f"{part}.lua").read_text() for part in ("common", name))
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def command(self, request: Sequence[Any]) -> tuple[Any, ...]:
        """The command that carries out *request*."""
        return ("EVALSHA", self._sha, 0, _encode(request))

    def ask(self, link: Link, request: Sequence[Any]) -> Any:
        """Carry out *request*, and return the answer.

        Raises:
            RedisError: Redis is not there, or refused it.
        """
        link.send(self.command(request))
        return self.answer(link, request)

    def answer(self, link: Link, request: Sequence[Any]) -> Any:
        """The answer to *request*, which was sent."""
        try:
            return link.receive()
        except NoScriptError:
            return link.ask("EVAL", self._text, 0, _encode(request))


_CYCLE: Final = Script("cycle")


class Now(NamedTuple):
    """One moment, in the forms in which RQ writes it.

    Attributes:
        text: As in hashes of jobs and workers.
        number: Seconds since the epoch, as text.
    """

    text: str
    number: str

    @classmethod
    def read(cls) -> Now:
        """This moment, by the clock of this machine."""
        seconds = time.time()
        moment = datetime.fromtimestamp(seconds, timezone.utc)
        return cls(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), repr(seconds))


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose cycle it is.

    Attributes:
        worker: Name of the worker, in RQ.
        token: 16 hexadecimal digits of this process; the beginning of its execution ids.
        queues: Names of its queues.
    """

    worker: str
    token: str
    queues: tuple[str, ...]

    def execution_id(self, seq: int, index: int = 0) -> str:
        """Id of the execution that request *seq* has taken as its *index*-th: 32 digits, as RQ's have."""
        return f"{self.token}{seq:012x}{index:04x}"


@dataclass(slots=True)
class Taken:
    """A job that was taken.

    Attributes:
        queue: The queue in which it was.
        job_id: Its id.
        execution_id: Id of this execution.
        fields: Its hash.
        has_started: Whether it counts as started in Redis; if not, it is a lease.
        at: When it was asked for, on the monotonic clock: no later than it was taken.
    """

    queue: str
    job_id: str
    execution_id: str
    fields: dict[bytes, bytes]
    has_started: bool
    at: float

    @property
    def is_redelivered(self) -> bool:
        """Whether it went back to its queue before, because its process was gone."""
        return _REDELIVERED in self.fields


#: An outcome as the script wants it: see ``done`` in ``scripts/cycle.lua``.
Done = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one cycle.

    Attributes:
        taken: Jobs, in the order in which they are to run.
        slow: Execution ids of done jobs that RQ's own code has to end.
        lost: Execution ids of done or starting jobs that somebody else has taken over meanwhile.
        dropped: What was in a queue and is no job.
        is_usurped: Another process has this worker's name.
        is_suspended: Workers are suspended.
        is_unregistered: RQ does not know this worker any more.
    """

    taken: Sequence[Taken]
    slow: Sequence[str]
    lost: Sequence[str]
    dropped: Sequence[str]
    is_usurped: bool
    is_suspended: bool
    is_unregistered: bool


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for.

    Attributes:
        done: Jobs to report.
        starts: Execution id of the lease that starts now; empty if none does.
        back: Execution ids of leases to give back, in order.
        queues: Where to take jobs from, the most urgent first; empty means the worker's queues.
        take: How many.
        at_once: Whether the first job that is taken starts at once; else all of them are leases.
        in_turn: Whether to take one from each queue in turn.
        runs_on: Whether a job that the worker holds goes on running.
        forget: Execution ids of what was taken and is no job.
    """

    done: Sequence[Done] = ()
    starts: str = ""
    back: Sequence[str] = ()
    queues: Sequence[str] = ()
    take: int = 0
    at_once: bool = True
    in_turn: bool = False
    runs_on: bool = False
    forget: Sequence[str] = ()


class Cycle:
    """The cycles of one worker; one is under way at a time.

    Args:
        link: Its connection.
        identity: Whose they are.
        worker_ttl: How long RQ's hash of the worker is kept, in seconds.
    """

    def __init__(self, link: Link, identity: Identity, worker_ttl: int) -> None:
        self.link = link
        self._identity = identity
        self._worker_ttl = worker_ttl
        self._seq = 0
        self._under_way: tuple[Any, ...] | None = None
        self._before = 0
        self._is_sent = False
        self._at_once = False
        self._sent_at = 0.0
        self.started_at = Now("", "")

    @property
    def is_under_way(self) -> bool:
        """Whether a request was sent, or is to be sent again, whose answer was not read."""
        return self._under_way is not None

    def send(self, request: Request, *before: tuple[Any, ...]) -> None:
        """Send *request*, and the commands *before* it.

        Raises:
            RedisError: Redis is not there; :meth:`receive` sends it again.
        """
        self._seq += 1
        self.started_at = Now.read()
        self._sent_at = time.monotonic()
        self._at_once = request.at_once
        self._under_way = (
            self._identity.worker,
            self._identity.token,
            self._seq,
            *self.started_at,
            LEASE_S,
            self._worker_ttl,
            request.done,
            request.starts,
            request.back,
            request.queues or self._identity.queues,
            request.take,
            self._identity.execution_id(self._seq)[:-4],
            request.at_once,
            request.in_turn,
            request.runs_on,
            request.forget,
        )
        self._before, self._is_sent = len(before), False
        self.link.send(*before, _CYCLE.command(self._under_way))
        self._is_sent = True

    def receive(self) -> Reply:
        """The answer to the request that is under way; sends it again if the connection was lost.

        Those to the commands before it are passed over: they are asked for their effect, and may be refused.

        Raises:
            RedisError: Redis is not there; call this again later.
        """
        if self._under_way is None:
            raise RuntimeError("no request is under way")
        if not self._is_sent or not self.link.is_open:
            self._before = 0
            self.link.send(_CYCLE.command(self._under_way))
        self._is_sent = False  # whatever comes now, it is no answer that is still on its way
        while self._before:
            self._before -= 1
            with suppress(ResponseError):
                self.link.receive()
        answer = _CYCLE.answer(self.link, self._under_way)
        self._under_way = None
        return self._read(answer)

    def _read(self, answer: Sequence[Any]) -> Reply:
        flags, taken, slow, lost, dropped = answer
        jobs = []
        for number, (queue, job_id, execution_id, flat) in enumerate(taken):
            fields = iter(flat)
            starts = self._at_once and number == 0
            hash_ = dict(zip(fields, fields, strict=True))
            name = job_id.decode(errors="backslashreplace")
            jobs.append(Taken(queue.decode(), name, execution_id.decode(), hash_, starts, self._sent_at))
        return Reply(
            jobs,
            _texts(slow),
            _texts(lost),
            _texts(dropped),
            bool(flags & _USURPED),
            bool(flags & _SUSPENDED),
            bool(flags & _UNREGISTERED),
        )


def _texts(values: Sequence[bytes]) -> list[str]:
    return [value.decode(errors="replace") for value in values]
