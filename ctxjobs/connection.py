"""The Redis that carries an app's jobs; what is said when it is not there.

May import the floor of the registry; the only border where redis-py's errors become ours.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ctxjobs.config import safe_url
from ctxjobs.errors import ConfigError, RedisUnavailableError
from ctxjobs.registry import BoundApp


def connection_of(app: BoundApp) -> redis.Redis:
    """The Redis that carries the jobs of *app*; in inline mode, the one in this process.

    Raises:
        ConfigError: Nothing names one.
    """
    if app.memory is not None:
        return app.memory
    if not app.settings.redis_url:
        raise ConfigError(
            "CTXJOBS_REDIS_URL",
            f"is not set for app {app.id!r}; set it in the app's config or in the environment, such as "
            "redis://localhost:6379/0.",
        )
    return _connect(app.settings.redis_url)


@functools.cache
def _connect(url: str) -> redis.Redis:
    return redis.Redis.from_url(url)


@contextmanager
def translated(app: BoundApp) -> Iterator[None]:
    """Redis being away, inside this block, is told as an error of ours.

    Raises:
        RedisUnavailableError: It does not answer; names its URL, without the password.
    """
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as exc:
        if app.memory is not None:
            raise  # an inline job's own
        raise RedisUnavailableError(safe_url(str(app.settings.redis_url)), str(exc)) from exc
