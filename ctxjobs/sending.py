"""One command to Redis by the short way: past redis-py's ``execute_command`` and past its pool.

Measured with redis-py 8.1: of 145 us for a command with 45 arguments, the method takes 17 and the pool 21,
most of it for statistics that nobody has switched on. Where they do more than that, the command goes through
them as ever. May import redis-py, and hiredis where that is installed; knows no commands.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from time import monotonic
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import redis.client
from redis.connection import ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

_pack: Callable[[tuple[Any, ...]], bytes] | None
_metrics: Callable[[], Any] | None
try:
    from hiredis import pack_command as _pack
except ImportError:
    _pack = None
try:
    from redis.observability import get_observability_instance as _metrics
except ImportError:  # redis-py before 7.2
    _metrics = None

if TYPE_CHECKING:
    from redis import Redis

#: From redis-py 6 on, a pool gives a connection without being told for what.
_HAS_SHORT_WAY: Final = (
    inspect.signature(ConnectionPool.get_connection).parameters["command_name"].default is None
)
_REDIS_PYS: Final = redis.client.__file__
#: Attribute of a pool: connections beside it, each with the time of its last use, the latest last.
_SPARES: Final = "ctxjobs_spares"
#: A connection that was used within that time is taken to be open still.
_FRESH_S: Final = 1.0


def keep_spares(client: Redis) -> None:
    """Let :func:`send` have connections of its own for *client*: as many as threads send at the same time.

    For a client that nobody has given a limit, because they do not count for its pool. Where the pool is of a
    special kind, such as that of Redis Sentinel, its connections are used all the same.
    """
    if type(client.connection_pool) is ConnectionPool:
        setattr(client.connection_pool, _SPARES, [])


def send(client: Redis, command: list[Any], doubt: int | None = None) -> Any:
    """Send one command.

    A connection may break after Redis has done what it was told, and before it has said so. Then the command
    is sent again, and says that it is, as often as the client is configured to; and once over a connection of
    our own, which may have been dead for a moment.

    Args:
        client: Where to.
        command: The command, and its arguments.
        doubt: Where in *command* is a 0 that becomes 1 if it may have been sent before; None for nowhere.

    Returns:
        What Redis says.

    Raises:
        redis.RedisError: As ``execute_command``.
    """
    redis_py: Any = client  # some of its methods have no types
    if _pack is None or not _is_plain(client):
        return redis_py.execute_command(*_doubted(command, doubt))  # which may send it again by itself
    pool = redis_py.connection_pool
    spares = vars(pool).get(_SPARES)
    connection = pool.get_connection() if spares is None else _spare(pool, spares)
    try:
        connection.send_packed_command([_pack(tuple(command))])
        return connection.read_response()
    except (RedisConnectionError, RedisTimeoutError) as exc:  # redis-py has closed the connection
        was_dead = spares is not None and isinstance(exc, RedisConnectionError)
        if connection.retry.get_retries() == 0 and (doubt is None or not was_dead):
            raise
    except RedisError:
        raise  # that is the answer
    except BaseException:
        connection.disconnect()  # else its next user would read the answer
        raise
    finally:
        if spares is None:
            pool.release(connection)
        else:
            spares.append((connection, monotonic()))
    return redis_py.execute_command(*_doubted(command, doubt))


def _doubted(command: list[Any], doubt: int | None) -> list[Any]:
    if doubt is not None:
        command[doubt] = 1
    return command


def _is_plain(client: Redis) -> bool:
    """Whether nobody misses ``execute_command``: a subclass, a tracing library, redis-py's own metrics."""
    execute = type(client).execute_command
    return (
        _HAS_SHORT_WAY
        and client.connection is None  # it has no connection that is its own
        and type(execute) is FunctionType
        and execute.__code__.co_filename == _REDIS_PYS
        and (_metrics is None or not _metrics().is_enabled())
    )


def _spare(pool: Any, spares: list[tuple[Any, float]]) -> Any:
    """A connection like those of *pool*, open or to be opened; the one of *spares* that was used last."""
    while spares:
        connection, used_at = spares.pop()
        if connection.pid == os.getpid():  # else it belongs to the process that this one was forked from
            if monotonic() - used_at > _FRESH_S:
                _close_if_dead(connection)
            return connection
    return pool.connection_class(**pool.connection_kwargs)


def _close_if_dead(connection: Any) -> None:
    """As a pool does: what can be read before anything was asked is the end of the connection."""
    try:
        is_dead = connection.can_read(0)
    except (RedisError, OSError):
        is_dead = True
    if is_dead:
        connection.disconnect()
