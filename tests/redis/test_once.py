"""Transactions that are written once: when their answer gets lost, and when they are carried out late."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import WatchError
from support.faults.proxy import Line

from ctxjobs_worker.once import Once, WrittenError


@pytest.fixture
def line(redis_url: str, redis_connection: redis.Redis) -> Iterator[Line]:
    """A line to an empty Redis, which can be cut."""
    with Line(Path(redis_url.removeprefix("unix://")), random.Random(1)) as line:
        yield line


def test_a_transaction_whose_answer_was_lost_is_not_written_again(
    line: Line, redis_connection: redis.Redis
) -> None:
    """Who tries again is told that it is written."""
    with redis.Redis.from_url(line.url) as client:
        once = Once(client, "key", lambda: not client.exists("key"))
        pipeline = once.pipeline()
        pipeline.watch("another")
        line.cut_share = 1.0
        pipeline.multi()
        with pytest.raises(WatchError):
            pipeline.rpush("key", "value").execute()
        line.cut_share = 0.0
        with pytest.raises(WrittenError):
            once.pipeline().rpush("key", "value").execute()
    assert redis_connection.lrange("key", 0, -1) == [b"value"]


def test_a_transaction_that_comes_late_is_not_written_again(redis_connection: redis.Redis) -> None:
    """One that was sent, and waited somewhere until another one had written the same."""
    late = Once(redis_connection, "key", lambda: True).pipeline()
    late.watch("another")
    late.multi()
    late.rpush("key", "value")
    Once(redis_connection, "key", lambda: True).pipeline().rpush("key", "value").execute()
    with pytest.raises(WatchError):
        late.execute()
    assert redis_connection.lrange("key", 0, -1) == [b"value"]


def test_what_comes_after_it_is_as_ever(redis_connection: redis.Redis) -> None:
    """RQ counts in a second transaction, when there is nothing left to ask."""
    once = Once(redis_connection, "key", lambda: not redis_connection.exists("key"))
    pipeline = once.pipeline()
    pipeline.rpush("key", "value").execute()
    pipeline.incr("count").execute()
    assert redis_connection.get("count") == b"1"
