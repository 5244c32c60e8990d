"""rq-dashboard in a real browser, while ``ctxjobs worker`` runs a job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rq import Worker
from support.browser import PROGRAM, Chromium
from support.dashboard import dashboard_app, served
from support.rq_beside import let_go, run_one_child, start_holding
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(
    not PROGRAM.exists() and "CI" not in os.environ,
    reason=f"{PROGRAM} is not installed (Debian: apt-get install chromium); CI never skips this",
)


@pytest.fixture
def address(redis_url: str, redis_connection: Redis, tmp_path: Path) -> Iterator[str]:
    """Address of a dashboard, while a child runs a job."""
    with (
        run_one_child(tmp_path / "log", redis_connection, redis_url),
        served(dashboard_app(redis_url)) as address,
    ):
        start_holding(redis_connection, "long")
        yield address
        let_go(redis_connection, "long")


def test_it_shows_what_a_child_runs(address: str, redis_connection: Redis) -> None:
    """The page of the workers shows a child by its name, and the function that it runs."""
    with Chromium() as browser:
        browser.open(f"{address}/rq/0/view/workers")
        shown = "document.body ? document.body.innerText : ''"
        wait_until(
            lambda: "support.depot.hold" in browser.evaluate(shown), timeout_s=20, what="the job on the page"
        )
        [child] = Worker.all(redis_connection)
        assert child.name in browser.evaluate(shown)
        if folder := os.environ.get("SCREENSHOTS"):
            browser.screenshot(Path(folder, "rq-dashboard.png"))
