"""The memory of inline mode answers as a real Redis does, command by command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from rq.job import JobStatus

from ctxjobs.memory import MemoryRedis

STEPS: list[Callable[[Any], Any]] = [
    lambda r: r.hset("hash", "name", "value"),
    lambda r: r.hset("hash", mapping={"name": b"\xff", "state": JobStatus.QUEUED, "number": 1.5}),
    lambda r: r.hgetall("hash"),
    lambda r: (r.hget("hash", "state"), r.hget("hash", "none"), r.hget("none", "name")),
    lambda r: (r.hexists("hash", "name"), r.hexists("hash", "none"), r.hlen("hash")),
    lambda r: (r.hincrby("hash", "count", 2), r.hincrby("hash", "count"), r.hget("hash", "count")),
    lambda r: (r.hincrbyfloat("hash", "time", 0.25), r.hget("hash", "time")),
    lambda r: (r.hdel("hash", "name", "none"), r.hgetall("hash")),
    lambda r: (r.sadd("set", "a", "b"), r.sadd("set", "b", "c"), r.scard("set")),
    lambda r: (set(r.smembers("set")), r.sismember("set", "a"), set(r.smembers("none"))),
    lambda r: (r.srem("set", "a", "z"), sorted(r.smembers("set"))),
    lambda r: (r.zadd("zset", {"b": 2, "a": 1, "c": 3}), r.zadd("zset", {"c": 4, "z": 1}, xx=True)),
    lambda r: (r.zrange("zset", 0, -1), r.zrange("zset", 0, 1), r.zcard("zset")),
    lambda r: (r.zscore("zset", "c"), r.zscore("zset", "none")),
    lambda r: (r.zrangebyscore("zset", "-inf", 2), r.zrangebyscore("zset", 2, "+inf")),
    lambda r: (r.zremrangebyscore("zset", 0, 1), r.zrem("zset", "b", "none"), r.zrange("zset", 0, -1)),
    lambda r: (r.rpush("list", "b", "c"), r.lpush("list", "a", "z"), r.llen("list")),
    lambda r: (r.lrange("list", 0, -1), r.lrange("list", 1, 2), r.lrange("none", 0, -1)),
    lambda r: (r.lrem("list", 1, "a"), r.lrem("list", 1, "none"), r.lrange("list", 0, -1)),
    lambda r: (r.xadd("stream", {"n": 1}, maxlen=10) and None, r.xadd("stream", {"n": 2}) and None),
    lambda r: [fields for _, fields in r.xrevrange("stream", "+", "-")],
    lambda r: [fields for _, fields in r.xrevrange("stream", "+", "-", count=1)],
    lambda r: (r.exists("hash", "set", "none"), r.expire("hash", 100), r.expire("none", 100)),
    lambda r: (r.persist("hash"), r.delete("hash", "none"), r.exists("hash")),
]


def test_it_answers_as_redis_does(redis_connection: redis.Redis) -> None:
    """One step after the other, each with the answer of the real one."""
    memory = MemoryRedis()
    for number, step in enumerate(STEPS):
        assert step(memory) == step(redis_connection), number


@pytest.mark.parametrize("transaction", [True, False])
def test_a_pipeline_tells_all_results_at_the_end(redis_connection: redis.Redis, transaction: bool) -> None:
    """In the order of the commands; it can be used again."""
    results = []
    for client in (MemoryRedis(), redis_connection):
        with client.pipeline(transaction) as pipe:
            pipe.hset("hash", "name", "value")
            pipe.hgetall("hash")
            results.append([pipe.execute(), pipe.execute()])
    assert results[0] == results[1] == [[1, {b"name": b"value"}], []]


def test_a_watched_pipeline_answers_at_once(redis_connection: redis.Redis) -> None:
    """Between watch() and multi(), and these answers are not told again."""
    results = []
    for client in (MemoryRedis(), redis_connection):
        client.sadd("set", "a")
        with client.pipeline() as pipe:
            pipe.watch("set")
            read = set(pipe.smembers("set"))
            pipe.multi()
            pipe.srem("set", "a")
            results.append((read, pipe.execute(), client.exists("set")))
    assert results[0] == results[1] == ({b"a"}, [1], 0)
