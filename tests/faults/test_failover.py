"""Sentinel lets a replica take the master's place, under load."""

from __future__ import annotations

import time
from pathlib import Path

from support.faults import stock
from support.faults.bench import Bench, assert_clean
from support.faults.servers import Pair, Server
from support.waiting import wait_until


def test_nothing_is_lost_when_sentinel_fails_over(tmp_path: Path) -> None:
    """What the replica knew as taken may run again: it cannot tell what the master was told since."""
    with (
        Pair(tmp_path).running() as pair,
        Bench(tmp_path, pair.master.url, detour=pair.url) as bench,
        bench.crew.kept_worker("-c", "2"),
    ):
        bench.order(count=200, ms=1)
        ledger = bench.crew.ledger
        wait_until(lambda: ledger.starts() >= 40, what="40 runs")
        pair.master.pause()
        bench.move(pair.replica.url)
        ledger.fault(0, "failover", stock.held(bench.connection))
        pair.master.kill()
        wait_until(pair.has_failed_over, timeout_s=20, what="Sentinel fails over")
        bench.order_some_of_each()
        assert_clean(bench.settle())


def test_nothing_is_lost_when_redis_goes_back_in_time(tmp_path: Path) -> None:
    """It forgets what it has answered lately, as a replica that was behind; what ran since runs again."""
    with Server(tmp_path / "redis") as server, Bench(tmp_path, server.url) as bench:
        ledger = bench.crew.ledger
        with bench.crew.kept_worker("-c", "2"):
            bench.order(count=200, ms=1)
            wait_until(lambda: ledger.starts() >= 40, what="40 runs")
            saved_at = time.monotonic()
            held = stock.held(bench.connection)
            bench.connection.save()
            held |= stock.held(bench.connection)
            before = ledger.starts()
            wait_until(lambda: ledger.starts() >= before + 40, what="40 more")
            server.kill()
            wait_until(lambda: bench.crew.logs().count("does not answer") >= 3, what="all of them notice")
            since = {number for number, runs in ledger.read().runs.items() if runs[-1].start >= saved_at}
            ledger.fault(0, "amnesia", held | since)
            server.start()
            assert_clean(bench.settle())
