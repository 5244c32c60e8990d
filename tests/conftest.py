"""What every test may use: a Redis of its own, and an environment that no shell has touched.

The server is an embedded one, started for the run; a Redis that happens to listen on port 6379 is
never used and never flushed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
import redis

from ctxjobs.embedded import EmbeddedRedis


def pytest_configure() -> None:
    """Forget what the shell of the person who runs the tests may hold: settings, an ignored Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("CTXJOBS_", "RQ_"))]:
        del os.environ[name]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """URL of a private Redis that lives as long as the run."""
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def redis_connection(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the private Redis, every database of which is empty."""
    with redis.Redis.from_url(redis_url) as connection:
        connection.flushall()
        yield connection
