"""Redis fails, in all the ways that it has, under load: every job runs once, and none of them twice.

Nothing is in flight at these faults: what a worker has taken stands in Redis, and what it has done it reports
as soon as Redis is back. One worker for all of it, with a line to its Redis that can be cut. Redis only
answers what is on its disk, so what it has answered outlives it.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from support.faults.bench import Bench, assert_clean
from support.faults.crew import stop
from support.faults.proxy import Line
from support.faults.servers import AOF, Server
from support.waiting import wait_until


@dataclass
class Place:
    """Where it happens."""

    bench: Bench
    server: Server
    line: Line

    def wait_for_runs(self, count: int) -> None:
        """Wait until so many jobs more have started."""
        ledger = self.bench.crew.ledger
        before = ledger.starts()
        wait_until(lambda: ledger.starts() >= before + count, what=f"{count} runs")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A worker with two children, all day."""
    folder = tmp_path_factory.mktemp("redis-faults")
    with ExitStack() as stack:
        server = stack.enter_context(Server(folder / "redis", *AOF))
        line = stack.enter_context(Line(server.socket_path, random.Random(7)))
        bench = stack.enter_context(Bench(folder, server.url, detour=line.url))
        stack.enter_context(bench.crew.kept_worker("-c", "2"))
        yield Place(bench, server, line)


@pytest.fixture
def place(running: Place) -> Iterator[Place]:
    """All of it, with some work to do; in the end, all of it has been done."""
    running.bench.order("flaky", 10, count=30, retries=1)  # which takes a while, and RQ's own code
    for _ in range(3):
        running.bench.order_some_of_each()
    yield running
    assert_clean(running.bench.settle(timeout_s=30))


def test_redis_is_killed_and_started_again(place: Place) -> None:
    """From its append-only file, twice, in the middle of the work."""
    for _ in range(2):
        place.wait_for_runs(10)
        place.server.kill()
        place.server.start()


def test_redis_is_away_for_a_while(place: Place) -> None:
    """It is killed, and only comes back when supervisor and children have noticed."""
    place.wait_for_runs(10)
    place.server.kill()
    wait_until(lambda: "the supervisor asks again" in place.bench.crew.logs(), what="the supervisor notices")
    place.server.start()


def test_a_child_dies_while_redis_is_away(place: Place) -> None:
    """What it held goes back when Redis is back, and another child takes its place."""
    place.wait_for_runs(10)
    crew, children = place.bench.crew, place.bench.crew.family().children
    assert all(stop(pid) for pid in children)  # so that it is known what they hold
    crew.note("kill-children", children[0], children)
    place.server.kill()
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    log_bytes = len(crew.logs())
    wait_until(lambda: "the supervisor asks again" in crew.logs()[log_bytes:], what="the supervisor notices")
    place.server.start()


def test_redis_is_paused(place: Place) -> None:
    """It holds its connections, and answers nothing; then it answers all that it was asked meanwhile."""
    place.wait_for_runs(10)
    place.server.pause()
    log_bytes = len(place.bench.crew.logs())
    try:
        wait_until(lambda: "Timeout" in place.bench.crew.logs()[log_bytes:], what="somebody waits in vain")
    finally:
        place.server.resume()


def test_connections_are_reset_in_the_middle_of_a_reply(place: Place) -> None:
    """Again and again, whatever the reply was to: nobody knows whether Redis has carried it out."""
    cuts = place.line.cuts
    place.line.cut_share = 0.1
    wait_until(lambda: place.line.cuts >= cuts + 30, timeout_s=30, what="30 cuts")
    place.line.cut_share = 0.0


def test_all_connections_are_reset_at_once(place: Place) -> None:
    """Those that wait for jobs, too."""
    place.wait_for_runs(10)
    place.line.cut_all()


def test_the_line_is_slow(place: Place) -> None:
    """5 ms either way."""
    place.line.delay_s = 0.005
    try:
        assert_clean(place.bench.settle(timeout_s=30))
    finally:
        place.line.delay_s = 0.0


def test_redis_has_no_memory(place: Place) -> None:
    """``maxmemory`` is reached, and nothing can be written, until there is more of it."""
    place.wait_for_runs(10)
    log_bytes = len(place.bench.crew.logs())
    place.bench.connection.config_set("maxmemory", "1mb")
    wait_until(
        lambda: place.bench.crew.logs()[log_bytes:].count("command not allowed when used memory") >= 30,
        what="the children notice",
    )
    place.bench.connection.config_set("maxmemory", "0")


def test_redis_is_read_only(place: Place) -> None:
    """It is a replica for a while, of a master that is not there."""
    place.wait_for_runs(10)
    log_bytes = len(place.bench.crew.logs())
    place.bench.connection.replicaof("127.0.0.1", "1")
    wait_until(lambda: "read only" in place.bench.crew.logs()[log_bytes:], what="the children notice")
    place.bench.connection.replicaof("NO", "ONE")


def test_the_script_cache_is_flushed(place: Place) -> None:
    """Twenty times, while jobs run."""
    for _ in range(20):
        place.wait_for_runs(5)
        place.bench.connection.script_flush()
