"""SIGHUP: fresh code without a stop, by real processes."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from support.waiting import is_running, wait_until
from support.worker_process import PYTHONPATH, WorkerProcess, run_worker

from ctxjobs.registry import registry

SHOP = """
import os
from ctxjobs import App, CtxJobs

EDITION = {edition!r}
app = App(__name__)
app.config.update(SECRET_KEY="k1", CTXJOBS_APP_ID="reloaded", CTXJOBS_REDIS_URL={url!r})
jobs = CtxJobs(app)


@jobs.job
def edition() -> str:
    return f"{{EDITION}} {{os.getpid()}}"


@jobs.job
def hold() -> str:
    from ctxjobs import current_job

    current_job.connection.lpush("held", 1)
    current_job.connection.brpop("go", timeout=30)
    return EDITION
"""


class Shop:
    """An app in a file of its own, whose code changes."""

    def __init__(self, folder: Path, url: str) -> None:
        self._path, self._url = folder / "reloaded_shop.py", url
        self.write("first")
        self.module: Any = importlib.import_module("reloaded_shop")

    def write(self, edition: str) -> None:
        self._path.write_text(SHOP.format(edition=edition, url=self._url))

    def spoil(self) -> None:
        self._path.write_text("raise ZeroDivisionError('no such edition')\n")

    def edition(self) -> str:
        """What the worker's code says that it is, and its process."""
        job = self.module.edition.enqueue()
        wait_until(lambda: job.get_status(refresh=True) == "finished", what="the job has run")
        return str(job.return_value())


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, redis_connection: redis.Redis
) -> Iterator[Shop]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "apps", {})
    yield Shop(tmp_path, redis_url)
    del sys.modules["reloaded_shop"]


@contextmanager
def running(folder: Path, *options: str) -> Iterator[WorkerProcess]:
    path = os.pathsep.join([str(folder), PYTHONPATH])
    with run_worker(
        folder / "log", *options, app=("--app", "reloaded_shop:app"), env={"PYTHONPATH": path}
    ) as worker:
        yield worker


def test_a_reload_brings_fresh_code(tmp_path: Path, shop: Shop) -> None:
    """New children take over, and the supervisor stays."""
    with running(tmp_path) as worker:
        before = shop.edition()
        shop.write("second, and longer")
        worker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shop.edition() != before, what="new code")
        assert shop.edition().startswith("second, and longer")
        assert worker.process.poll() is None


def test_a_running_job_ends_in_the_old_code(
    tmp_path: Path, shop: Shop, redis_connection: redis.Redis
) -> None:
    """Others run in the new one meanwhile; when it has ended, its process goes."""
    with running(tmp_path) as worker:
        before = shop.edition()
        held = shop.module.hold.enqueue()
        wait_until(lambda: redis_connection.llen("held"), what="the job runs")
        shop.write("second, and longer")
        worker.process.send_signal(signal.SIGHUP)
        assert shop.edition().startswith("second, and longer")
        redis_connection.lpush("go", 1)
        wait_until(lambda: held.get_status(refresh=True) == "finished", what="its end")
        assert held.return_value() == "first"
        wait_until(lambda: not is_running(int(before.split()[1])), what="the old child ends")


def test_broken_code_changes_nothing(tmp_path: Path, shop: Shop) -> None:
    """The log has the reason, and the old children go on; mended code is loaded by the next reload."""
    with running(tmp_path) as worker:
        before = shop.edition()
        shop.spoil()
        worker.process.send_signal(signal.SIGHUP)
        worker.wait_for_log("ZeroDivisionError: no such edition")
        assert shop.edition() == before
        shop.write("third, and longer yet")
        worker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: shop.edition() != before, what="new code")
        assert shop.edition().startswith("third, and longer yet")
