"""The pytest plugin of ctxjobs: fixtures for tests of jobs, and a leak check.

pytest loads this file wherever ctxjobs is installed, in projects that never test a job, too. So it imports
pytest alone, and each fixture imports what it needs. For the same reason it is a package of its own:
``import ctxjobs.anything`` takes a quarter of a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from redis import Redis

    from ctxjobs.testing import EnqueuedJobs
    from ctxjobs_pytest.draining import TestWorker

_OPTION = "ctxjobs_leaks"
_MARKER = (
    "ctxjobs_allow_leaks: do not look for contexts, threads and database sessions that this test leaves."
)


class PrivateRedis(NamedTuple):
    """A Redis for tests.

    Attributes:
        url: For ``CTXJOBS_REDIS_URL``.
        connection: A client of it.
    """

    url: str
    connection: Redis


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what switches the leak check on."""
    text = "Fail each test that leaves a context pushed, a thread running or a database session open."
    parser.getgroup("ctxjobs").addoption("--ctxjobs-leaks", action="store_true", help=text)
    parser.addini(_OPTION, text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Load the leak check, if it is switched on."""
    config.addinivalue_line("markers", _MARKER)
    if config.getoption(_OPTION) or config.getini(_OPTION):
        from ctxjobs_pytest.leak_check import LeakCheck

        config.pluginmanager.register(LeakCheck(), "ctxjobs_leak_check")


@pytest.fixture(scope="session")
def _ctxjobs_server_url() -> Iterator[str]:
    from ctxjobs.embedded import EmbeddedRedis

    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture
def ctxjobs_redis(_ctxjobs_server_url: str) -> Iterator[PrivateRedis]:
    """A Redis of this test run alone, empty: its ``url`` and a ``connection``.

    Give the app its URL: ``create_app({"CTXJOBS_REDIS_URL": ctxjobs_redis.url})``, or ``monkeypatch.setenv``.
    """
    from redis import Redis

    with Redis.from_url(_ctxjobs_server_url) as connection:
        connection.flushall()
        yield PrivateRedis(_ctxjobs_server_url, connection)


@pytest.fixture
def ctxjobs_worker(ctxjobs_redis: PrivateRedis) -> TestWorker:
    """Runs the jobs that are on the queues of ``ctxjobs_redis``, when told to: ``ctxjobs_worker.run()``."""
    from ctxjobs_pytest.draining import TestWorker

    return TestWorker(ctxjobs_redis.connection)


@pytest.fixture
def enqueued_jobs() -> Iterator[EnqueuedJobs]:
    """The jobs that this process enqueues during the test, in order; with assertions about them."""
    from ctxjobs.testing import EnqueuedJobs

    with EnqueuedJobs().recording() as jobs:
        yield jobs
