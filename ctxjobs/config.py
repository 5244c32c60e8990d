"""Settings: what an app's configuration and the environment say about ctxjobs.

May import :mod:`ctxjobs.errors` only. Knows names, types and defaults; decides nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from ctxjobs.errors import ConfigError

#: Largest encoded snapshot. A request of 12 headers and 6 ``g`` keys takes about 800 bytes.
SNAPSHOT_LIMIT_BYTES: Final = 32_768
#: Jobs that enqueue jobs that enqueue jobs: how deep, before it is taken for a loop.
MAX_HOPS: Final = 16
#: RQ's own default.
DEFAULT_QUEUE: Final = "default"
#: What jobs can be found by: kind -> where the value is.
DEFAULT_INDEX: Final[Mapping[str, str]] = {
    "request": "lineage.request",
    "root": "lineage.root",
    "tenant": "g.tenant",
    "user": "login",
}

_PREFIX = "CTXJOBS_"
#: Key of the function that computes a user's stamp.
USER_STAMP: Final = _PREFIX + "USER_STAMP"
#: redis-py takes the password from the query, too.
_QUERY_PASSWORD: Final = re.compile(r"([?&]password=)[^&#]*")
#: Where a value of the index is: a name on ``g``, a session key, the lineage, or a propagator.
_PLACE: Final = re.compile(r"(?:g|session)\..+|lineage\.(?:request|root)|[^.]+")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What one app says about its jobs; each field is the key ``CTXJOBS_<NAME>``.

    Attributes:
        redis_url: Redis that carries the jobs; None if nothing names one.
        app_id: The app's name in envelopes; None means its import name.
        queue: Name of the queue for jobs that name none.
        capture: The app's :class:`~ctxjobs.Capture` policy; None means the safe default.
        secret_key: Signs envelopes; None means the app's own ``SECRET_KEY``.
        secret_key_fallbacks: Older keys that still verify; None means the app's own.
        snapshot_limit_bytes: Largest encoded snapshot.
        max_age_s: Seconds after which a job that is due is too old to run; None means never.
        max_hops: Longest chain of jobs that enqueue jobs.
        index: What jobs can be found by: where the value of a kind is, by kind; empty if there is no index.
        user_stamp: Computes of a user what must not change while a job waits; None means nothing.
        system_context: The :class:`~ctxjobs.Override` for jobs of commands and cron; None means none.
        inline: Whether jobs run where they are enqueued, without Redis; "raise": and ``enqueue`` raises what
            a failed job has raised.
        audit: Share of the runs whose reads are recorded, from 0 to 1.
    """

    redis_url: str | None = field(repr=False)  # it may hold a password
    app_id: str | None
    queue: str
    capture: Any
    secret_key: str | bytes | None = field(repr=False)
    secret_key_fallbacks: Sequence[str | bytes] | None = field(repr=False)
    snapshot_limit_bytes: int
    max_age_s: float | None
    max_hops: int
    index: Mapping[str, str]
    user_stamp: Callable[[Any], Any] | None = None
    system_context: Any = None
    inline: bool | Literal["raise"] = False
    audit: float = 0.0

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings from *config*, and from *environ* where *config* is silent.

        Args:
            config: An app's configuration; only its ``CTXJOBS_*`` keys are read.
            environ: The environment; its values are strings and are converted.

        Raises:
            ConfigError: A value has the wrong type.
        """

        def read(name: str, default: _T, convert: Callable[[Any], _T]) -> _T:
            return _read(config, environ, _PREFIX + name, default, convert)

        return cls(
            redis_url=read("REDIS_URL", None, str),
            app_id=read("APP_ID", None, str),
            queue=read("QUEUE", DEFAULT_QUEUE, str),
            capture=config.get(_PREFIX + "CAPTURE"),
            secret_key=read("SECRET_KEY", None, _key),
            secret_key_fallbacks=config.get(_PREFIX + "SECRET_KEY_FALLBACKS"),
            snapshot_limit_bytes=read("SNAPSHOT_LIMIT_BYTES", SNAPSHOT_LIMIT_BYTES, int),
            max_age_s=read("MAX_AGE_S", None, float),
            max_hops=read("MAX_HOPS", MAX_HOPS, int),
            index=_read(config, {}, _PREFIX + "INDEX", DEFAULT_INDEX, _places),
            user_stamp=_read(config, {}, USER_STAMP, None, _function),
            system_context=config.get(_PREFIX + "SYSTEM_CONTEXT"),
            inline=read("INLINE", False, _inline),
            audit=read("AUDIT", 0.0, _share),
        )


def redis_url_from_environment(environ: Mapping[str, str] = os.environ) -> str | None:
    """Redis named by ``CTXJOBS_REDIS_URL`` in *environ*, or None."""
    return environ.get(_PREFIX + "REDIS_URL") or None


def safe_url(url: str) -> str:
    """*url* without its password, for messages."""
    url = _QUERY_PASSWORD.sub(r"\1***", url)
    parts = urlsplit(url)
    if not parts.password:
        return url
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username or ''}:***@{host}").geturl()


def _read(
    config: Mapping[str, Any],
    environ: Mapping[str, str],
    key: str,
    default: _T,
    convert: Callable[[Any], _T],
) -> _T:
    value = config.get(key)
    if value is None:
        value = environ.get(key)
    if value is None:
        return default
    try:
        return convert(value)
    except (TypeError, ValueError) as exc:
        raise ConfigError(key, f"{type(value).__name__} cannot be used here ({exc})") from exc


def _places(value: Any) -> Mapping[str, str]:
    """*value* over the default; a kind whose place is None is left out, and False leaves out all."""
    if value is False:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError("expected a dict such as {'tenant': 'g.org_id'}, or False")
    if unknown := ", ".join(repr(kind) for kind in value if kind not in DEFAULT_INDEX):
        raise ValueError(f"{unknown} is no kind that jobs are found by: {', '.join(DEFAULT_INDEX)}")
    places = {kind: place for kind, place in {**DEFAULT_INDEX, **value}.items() if place is not None}
    if wrong := ", ".join(kind for kind, place in places.items() if not _PLACE.fullmatch(str(place))):
        raise ValueError(f"{wrong}: expected 'g.NAME', 'session.NAME' or the name of a propagator")
    return places


def _function(value: Any) -> Callable[[Any], Any]:
    if callable(value):
        function: Callable[[Any], Any] = value
        return function
    raise TypeError("give a function that takes a user")


def _inline(value: Any) -> bool | Literal["raise"]:
    words: dict[str, bool | Literal["raise"]] = {"": False, "0": False, "1": True, "raise": "raise"}
    words.update({"false": False, "true": True})
    try:
        return words[str(value).lower()]
    except KeyError:
        raise ValueError("expected 0, 1 or 'raise'") from None


def _key(value: Any) -> str | bytes:
    if isinstance(value, str | bytes):
        return value
    raise TypeError("a secret key is str or bytes")


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError("a number from 0 to 1 is expected")
    return share
