"""Where Redis may be, and as whom: a unix socket, TLS, a user with no more rights than the docs say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import redis
from support import depot
from support.faults.servers import Server
from support.tls import TlsFront
from support.waiting import wait_until
from support.worker_process import run_worker

DOCS = Path(__file__).parents[2] / "docs"
#: The user of the docs, and its password.
USER, PASSWORD = "ctxjobs", "PASSWORD"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "redis") as server:
        yield server


def rules_of_the_docs() -> list[str]:
    """The ACL rules that the docs say, as words."""
    page = (DOCS / "howto" / "run-the-worker.md").read_text()
    [rules] = re.findall(rf"ACL SETUSER {USER} (.+?)```", page, re.DOTALL)
    return rules.split()


def through_the_socket(server: Server, folder: Path) -> AbstractContextManager[str]:
    return nullcontext(server.url)


class through_tls:  # noqa: N801 - one of several functions for the tests
    def __init__(self, server: Server, folder: Path) -> None:
        self._front = TlsFront(folder, server.socket_path)

    def __enter__(self) -> str:
        self._front.__enter__()
        return f"rediss://localhost:{self._front.port}/0?ssl_ca_certs={self._front.authority}"

    def __exit__(self, *exc_info: object) -> None:
        self._front.__exit__(*exc_info)


def as_the_docs_user(server: Server, folder: Path) -> AbstractContextManager[str]:
    with redis.Redis.from_url(server.url) as connection:
        connection.execute_command("ACL", "SETUSER", USER, *rules_of_the_docs(), "~ran")  # the jobs' own key
    return nullcontext(f"unix://{USER}:{PASSWORD}@{server.socket_path}")


@pytest.mark.parametrize("way", [through_the_socket, through_tls, as_the_docs_user])
def test_jobs_are_enqueued_and_run(
    server: Server, tmp_path: Path, way: Callable[[Server, Path], AbstractContextManager[str]]
) -> None:
    """By one URL: jobs, many at once, those that wait for others and for their time, commands, a stop."""
    with way(server, tmp_path) as url, redis.Redis.from_url(server.url) as connection:
        depot.create_app(redis_url=url)
        first = depot.note.enqueue("one")
        depot.note.options(depends_on=first, meta={"why": "it waits"}).enqueue("two")
        depot.note.enqueue_in(1, "later")
        depot.note.enqueue_many([("many",)] * 3)
        with run_worker(tmp_path / "log", "--with-scheduler", "default", "other", redis_url=url) as worker:
            names = {"later", "many", "one", "two"}
            wait_until(lambda: names <= {*depot.ran(connection)}, what="all of them")
            worker.stop()
            assert worker.exit_code() == 0
        assert "NOPERM" not in worker.log
        assert "ERROR" not in worker.log


def test_no_more_than_that_user_may(server: Server, tmp_path: Path) -> None:
    """Its keys and channels are RQ's and ours."""
    with redis.Redis.from_url(server.url) as connection:
        as_the_docs_user(server, tmp_path)
        for command in (
            ("GET", "sessions:1"),
            ("PUBLISH", "news", "x"),
            ("FLUSHALL",),
            ("CONFIG", "GET", "*"),
        ):
            answer = str(connection.execute_command("ACL", "DRYRUN", USER, *command))
            assert "has no permissions" in answer or "no permissions" in answer, command
