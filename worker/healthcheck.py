"""Does this container's worker live? Exit code 0 if so, else 1 and the reason on stderr.

A script, started anew every few seconds: it imports redis and the standard library, and nothing of
ctxjobs, RQ or the app. It knows what RQ writes about a worker, and how ``ctxjobs_worker.loader`` names
its children: ``<hostname>.<pid>.<random>``.

    CTXJOBS_REDIS_URL=redis://localhost:6379/0 python healthcheck.py
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, Final, NoReturn

import redis

#: The longest that one check takes; a Redis that is slower than this is no good to a worker either.
DEADLINE_S: Final = 3
#: A child that waits for a job writes its heartbeat every five seconds; this allows for a busy machine.
IDLE_LIMIT: Final = timedelta(seconds=30)

_KEY_PREFIX: Final = "rq:worker:"
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


def main() -> None:
    """Check, and exit with 1 unless a child of this host has a fresh heartbeat."""
    signal.signal(signal.SIGALRM, lambda signum, frame: _fail(f"Redis: no answer in {DEADLINE_S} s"))
    signal.alarm(DEADLINE_S)
    try:
        fresh = any(_is_fresh(child) for child in _children(os.environ["CTXJOBS_REDIS_URL"]))
    except KeyError:
        _fail("CTXJOBS_REDIS_URL is not set")
    except (redis.RedisError, ValueError) as exc:
        _fail(f"Redis: {exc}")
    if not fresh:
        _fail(f"no child on {socket.gethostname()} has a fresh heartbeat")


def _children(url: str) -> list[Any]:
    """Current job and last heartbeat of each child of this host that is registered in the Redis at *url*."""
    with redis.Redis.from_url(url, decode_responses=True) as connection, connection.pipeline() as pipe:
        for key in connection.smembers("rq:workers"):
            if _hostname(str(key)) == socket.gethostname():
                pipe.hmget(key, "current_job", "last_heartbeat")
        replies: list[Any] = pipe.execute()
        return replies


def _hostname(key: str) -> str:
    # From the right: a hostname may have dots of its own.
    return key.removeprefix(_KEY_PREFIX).rsplit(".", 2)[0]


def _is_fresh(child: tuple[str | None, str | None]) -> bool:
    current_job, last_heartbeat = child
    if last_heartbeat is None:
        return False  # its hash has expired
    # During a job the supervisor writes them, every half a minute; the hash expires when five are missing.
    return current_job is not None or _age(last_heartbeat) < IDLE_LIMIT


def _age(written: str) -> timedelta:
    then = datetime.strptime(written, _TIME_FORMAT).replace(tzinfo=timezone.utc)
    return datetime.now(timezone.utc) - then


def _fail(reason: str) -> NoReturn:
    sys.exit(f"unhealthy: {reason}")


if __name__ == "__main__":
    main()
