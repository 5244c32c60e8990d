"""Stock-taking: what stands in Redis of the bench's jobs, read without ctxjobs.

Worker processes use it, too. Imports redis-py and RQ's names alone.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, field

import msgspec
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

#: RQ's registries of a queue that hold job ids, by the status of those jobs.
REGISTRIES = {
    "finished": "rq:finished:{}",
    "failed": "rq:failed:{}",
    "deferred": "rq:deferred:{}",
    "scheduled": "rq:scheduled:{}",
    "canceled": "rq:canceled:{}",
}


def job_id(number: int) -> str:
    """The id of a job."""
    return f"job-{number}"


def number_of(name: str | bytes) -> int:
    """The number of a job with this id, which may be followed by a colon and an execution id."""
    text = name.decode() if isinstance(name, bytes) else name
    return int(text.partition(":")[0].removeprefix("job-"))


def patient_client(url: str) -> redis.Redis:
    """A client that asks for ten seconds before it gives up."""
    return redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.05), 200))


def held_by(pids: Collection[int], url: str) -> set[int]:
    """Numbers of the jobs that the workers of these processes hold: taken, and not reported."""
    with closing(patient_client(url)) as connection:
        return held(connection, pids)


def held(connection: redis.Redis, pids: Collection[int] | None = None) -> set[int]:
    """As :func:`held_by`; of all workers, if *pids* is None."""
    numbers = set()
    for key in connection.scan_iter("ctxjobs:leases:*", count=1000):
        pid = int(re.findall(r"\.(\d+)\.[0-9a-f]+$", key.decode())[0])
        if pids is None or pid in pids:
            numbers |= {number_of(msgspec.msgpack.decode(one)[1]) for one in connection.hvals(key)}
    return numbers


@dataclass(slots=True)
class Stock:
    """What stands in Redis.

    Attributes:
        status: Of each job, by its number, as its hash says.
        places: The queues and registries in which each job is.
        reasons: Why each failed job failed: the end of what RQ keeps of it.
        results: How many results of each job there are.
        left: What should not be there when nothing runs: started jobs, leases, jobs on their way.
    """

    status: dict[int, str] = field(default_factory=dict)
    places: dict[int, list[str]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    results: dict[int, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def statuses(connection: redis.Redis, numbers: Collection[int]) -> dict[int, str]:
    """What the hashes of these jobs say of their state."""
    with connection.pipeline(transaction=False) as pipeline:
        for number in numbers:
            pipeline.hget(f"rq:job:{job_id(number)}", "status")
        answers = pipeline.execute()
    return {number: (answer or b"(no job)").decode() for number, answer in zip(numbers, answers, strict=True)}


def take_stock(connection: redis.Redis, numbers: Collection[int], queues: Collection[str]) -> Stock:
    """All that is known of these jobs."""
    stock = Stock(statuses(connection, numbers))
    for queue in queues:
        _note(stock, f"queue {queue}", connection.lrange(f"rq:queue:{queue}", 0, -1))
        for status, key in REGISTRIES.items():
            _note(stock, status, connection.zrange(key.format(queue), 0, -1))
        started = connection.zrange(f"rq:wip:{queue}", 0, -1)
        _note(stock, "started", started)
        stock.left += [f"started: {member.decode()}" for member in started]
    for key in connection.scan_iter("ctxjobs:*", count=1000):
        if key.startswith(b"ctxjobs:leases:"):
            jobs = [number_of(msgspec.msgpack.decode(one)[1]) for one in connection.hvals(key)]
            stock.left.append(f"{key.decode()}: {sorted(jobs)}")
        elif key.startswith(b"ctxjobs:taking:"):
            stock.left.append(f"{key.decode()}: {connection.lrange(key, 0, -1)!r}")
    with connection.pipeline(transaction=False) as pipeline:
        for number in numbers:
            pipeline.xrevrange(f"rq:results:{job_id(number)}")
        answers = pipeline.execute()
    for number, results in zip(numbers, answers, strict=True):
        stock.results[number] = len(results)
        if results and (packed := results[0][1].get(b"exc_string")):
            lines = zlib.decompress(b64decode(packed)).decode().strip().splitlines()
            stock.reasons[number] = lines[-1] if lines else "(no reason)"
    return stock


def _note(stock: Stock, place: str, members: Collection[bytes]) -> None:
    for member in members:
        stock.places.setdefault(number_of(member), []).append(place)
