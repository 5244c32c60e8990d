"""``ctxjobs cron`` as users start it, and what a real worker makes of its jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from support.matrix.workers import run_worker
from support.waiting import wait_until
from support.worker_process import PYTHONPATH

CHORES = "support.cron_jobs:create_app()"


@contextmanager
def run_cron(log: Path, redis_url: str, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a scheduler; kill it at the end of the block if it still runs."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "ctxjobs", "cron", *args],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, "CTXJOBS_REDIS_URL": redis_url},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    with process:
        try:
            yield process
        except BaseException:
            print(log.read_text())  # pytest shows it with the failure
            raise
        finally:
            with suppress(ProcessLookupError):
                process.kill()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda signum: signum.name)
def test_jobs_are_enqueued_again_and_again(
    redis_connection: redis.Redis, redis_url: str, tmp_path: Path, signum: signal.Signals
) -> None:
    """Every second there is a job, a worker runs it in the app's context, and a signal ends it in order."""
    with run_cron(tmp_path / "log", redis_url, "support.cron_config", "--app", CHORES) as process:
        wait_until(lambda: redis_connection.llen("rq:queue:default") >= 3, what="three jobs")
        process.send_signal(signum)
        assert process.wait(10) == 0
    assert redis_connection.zcard("rq:cron_schedulers") == 0
    run_worker("ctxjobs", [CHORES], redis_url, ["default"], "--allow-plain", "support.cron_jobs.plain")
    ran = redis_connection.lrange("ran", 0, -1)
    assert ran.count(b"plain") == 1
    assert set(ran) == {b"plain", b"attic support.cron_jobs cron False"}


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (("support.cron_config", "--app", "support.depot:shop"), 4, "App 'support.depot:shop' could not be"),
        (("no_such_config", "--app", CHORES), 4, "Cron configuration 'no_such_config' cannot be used"),
        (
            ("support.cron_config", "--app", CHORES, "--url", "redis://:pw@localhost:1/0"),
            3,
            "Redis at redis://",
        ),
        (("support.cron_config",), 2, "Missing option '--app'"),
    ],
    ids=["app", "config", "redis", "usage"],
)
def test_exit_codes(tmp_path: Path, arguments: tuple[str, ...], code: int, expected: str) -> None:
    """What is wrong is said in a line or two, without a traceback of ours."""
    log = tmp_path / "log"
    with run_cron(log, "redis://localhost:1/0", *arguments) as process:
        assert process.wait(15) == code
    assert expected in log.read_text()
    assert ":pw@" not in log.read_text()
    assert "ctxjobs/" not in log.read_text()
