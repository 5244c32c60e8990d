"""What every test may use: a Redis and a PostgreSQL of its own, an environment that no shell has touched.

The servers are started for the run. A Redis or PostgreSQL that happens to run on this machine is never used
and never flushed.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from support.postgres import find_programs, running_postgres

from ctxjobs.embedded import EmbeddedRedis

_TESTS = Path(__file__).parent
#: Tests that read one account of the matrix (``tests/hosts/conftest.py``) have its name first.
_ACCOUNT = re.compile(r"tests/hosts/.*\[((?:native|flask)-(?:rq-simple|rq|ctxjobs))\b")
#: With several processes (``-n``), what takes long begins first.
_LONGEST_FIRST = ("faults", "interop", "hosts", "process", "databases", "browser")


def pytest_configure(config: pytest.Config) -> None:
    """Forget what the shell of the person who runs the tests may hold: settings, an ignored Ctrl-C."""
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("CTXJOBS_", "RQ_"))]:
        del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep together in one process what shares fixtures that take long: a module, or an account."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            account = _ACCOUNT.match(nodeid)
            return account[1] if account else nodeid.partition("::")[0]

    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    if hasattr(config, "workerinput"):
        items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else ""
    return _LONGEST_FIRST.index(folder) if folder in _LONGEST_FIRST else len(_LONGEST_FIRST)


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


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy's URL of a private PostgreSQL that lives as long as the run."""
    programs = find_programs()
    if programs is None and os.environ.get("CI") == "true":
        pytest.fail("PostgreSQL is not installed, and CI has to test with it: apt-get install postgresql")
    if programs is None:
        pytest.skip("PostgreSQL is not installed; Debian's package is 'postgresql'")
    with running_postgres(programs) as url:
        yield url
