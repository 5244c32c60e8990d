"""The Redis that carries an app's jobs; what is said when it is not there.

May import the floors of the registry and of sending. Here redis-py's errors become ours; but for those that
come after a part of many jobs, in :mod:`ctxjobs.writing`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

import redis
from redis.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import Sentinel

from ctxjobs.config import safe_url
from ctxjobs.errors import ConfigError, RedisUnavailableError
from ctxjobs.registry import BoundApp
from ctxjobs.sending import keep_spares

_SENTINEL_PORT: Final = 26_379
#: How long a sentinel may take to tell who the master is, in seconds; the next one is asked then.
_SENTINEL_TIMEOUT_S: Final = 2.0


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
    client = connect(url)
    if "max_connections=" not in url:
        keep_spares(client)
    return client


def connect(url: str, **options: Any) -> redis.Redis:
    """A client of the Redis that *url* names.

    Args:
        url: As redis-py takes it (``redis://``, ``rediss://`` with TLS, ``unix://``); or, for the master that
            Redis
            Sentinel knows under a name, ``redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST...]/NAME[/DB]``,
            and ``rediss+sentinel://`` for both with TLS. Sentinels that want a password find it in the query
            (``?sentinel_password=``), where all of redis-py's own parameters may stand, too.
        options: As for ``redis.Redis``.

    Raises:
        ConfigError: *url* does not read.
    """
    if not url.startswith("unix:"):
        options.setdefault("socket_keepalive", True)  # so that the end of a machine is noticed some day
    try:
        scheme, _, rest = url.partition("+sentinel://")
        return _by_sentinel(scheme, rest, options) if rest else redis.Redis.from_url(url, **options)
    except ValueError as exc:
        raise ConfigError("CTXJOBS_REDIS_URL", f"{safe_url(url)} does not read: {exc}.") from exc


def _by_sentinel(scheme: str, rest: str, options: Mapping[str, Any]) -> redis.Redis:
    where, _, query = rest.partition("?")
    login_and_hosts, _, name_and_db = where.partition("/")
    login, _, hosts = login_and_hosts.rpartition("@")
    name, _, db = name_and_db.partition("/")
    if scheme not in ("redis", "rediss") or not hosts or not name:
        raise ValueError("expected redis+sentinel://HOST[:PORT][,HOST...]/NAME[/DB]")
    told = _untyped(parse_url)(f"{scheme}://{login}{'@' if login else ''}host/{db}?{query}")
    parameters = {**{key: value for key, value in told.items() if key != "host"}, **options}
    connection_class = parameters.pop("connection_class", None)  # with TLS
    for_sentinels = {key[9:]: parameters.pop(key) for key in [*parameters] if key.startswith("sentinel_")}
    if connection_class is not None:
        parameters["ssl"] = for_sentinels["ssl"] = True
    for_sentinels.setdefault("socket_timeout", _SENTINEL_TIMEOUT_S)
    addresses = [_address(host) for host in hosts.split(",")]
    sentinel = _untyped(Sentinel)(addresses, sentinel_kwargs=for_sentinels)
    master: redis.Redis = sentinel.master_for(name, **parameters)
    return master


def _untyped(callable_: Any) -> Any:
    """*callable_*, of which redis-py tells no types."""
    return callable_


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or _SENTINEL_PORT


class translated:  # noqa: N801 - a context manager, as those of contextlib; a generator takes five times as long
    """Redis being away, inside this block, is told as an error of ours.

    Args:
        app: Whose jobs it carries.

    Raises:
        RedisUnavailableError: It does not answer; names its URL, without the password.
    """

    __slots__ = ("_app",)

    def __init__(self, app: BoundApp) -> None:
        self._app = app

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        # In inline mode it is a job's own.
        if isinstance(exc, RedisConnectionError | RedisTimeoutError) and self._app.memory is None:
            raise RedisUnavailableError(safe_url(str(self._app.settings.redis_url)), str(exc)) from exc
