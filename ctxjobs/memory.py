"""The Redis of inline mode, which is in this process: redis-py's client, on a server of fakeredis.

May import redis-py and :mod:`ctxjobs.errors`; fakeredis only when a client is made. Knows no jobs.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import redis

from ctxjobs.errors import NoInlineRedisError


class MemoryRedis(redis.Redis):
    """A client of a server of its own, which is empty and ends with it.

    A class of ours, and not fakeredis's client: by it a job in inline mode is known.

    Raises:
        NoInlineRedisError: fakeredis is not installed, or lupa, without which it runs no scripts.
    """

    def __init__(self) -> None:
        _needed("lupa")
        fakeredis = _needed("fakeredis")
        super().__init__(
            connection_pool=redis.ConnectionPool(
                connection_class=fakeredis.FakeRedisConnection, server=fakeredis.FakeServer()
            )
        )


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as exc:
        raise NoInlineRedisError(package, str(exc)) from exc
