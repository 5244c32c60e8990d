"""The container's healthcheck, run as the container runs it: a process of its own, against a real Redis."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from rq import Worker
from support.waiting import wait_until

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "worker" / "healthcheck.py"
LONG_AGO = "2001-02-03T04:05:06.000007Z"

APP = """
from ctxjobs import App, CtxJobs

app = App("tiny")
app.config["SECRET_KEY"] = "for a test"
CtxJobs(app)
"""


def check(url: str | None) -> subprocess.CompletedProcess[str]:
    """Run the script with a Redis URL in its environment, or without."""
    environment = {**os.environ, **({} if url is None else {"CTXJOBS_REDIS_URL": url})}
    command = [sys.executable, "-W", "error", str(SCRIPT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)


def is_healthy(url: str) -> bool:
    return check(url).returncode == 0


def register(connection: redis.Redis, hostname: str, **fields: str) -> None:
    """Register a child in Redis as RQ does, then overwrite fields of its hash."""
    worker = Worker(["default"], name=f"{hostname}.7.89abcdef", connection=connection)
    worker.register_birth()
    connection.hset(worker.key, mapping={"last_heartbeat": LONG_AGO, **fields})


@contextmanager
def running_worker(folder: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real worker with one child; killed at the end if it still runs."""
    (folder / "tiny.py").write_text(APP)
    path = os.pathsep.join([str(ROOT), str(ROOT / "worker")])
    environment = {**os.environ, "CTXJOBS_REDIS_URL": url, "PYTHONPATH": path}
    command = [sys.executable, "-m", "ctxjobs", "worker", "--app", "tiny:app"]
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()


def test_no_worker_is_unhealthy(redis_url: str, redis_connection: redis.Redis) -> None:
    """Without a worker the check fails, and names the host that it looked for."""
    result = check(redis_url)
    expected = f"unhealthy: no child on {socket.gethostname()} has a fresh heartbeat\n"
    assert (result.returncode, result.stderr) == (1, expected)


def test_worker_is_healthy_until_it_stops(
    redis_url: str, redis_connection: redis.Redis, tmp_path: Path
) -> None:
    """The check succeeds while a worker of this host runs, and no longer once it has stopped."""
    with running_worker(tmp_path, redis_url) as worker:
        wait_until(lambda: is_healthy(redis_url), timeout_s=30, what="the worker is healthy")
        worker.terminate()
        assert worker.wait(30) == 0
    assert not is_healthy(redis_url)


@pytest.mark.parametrize("hostname", ["elsewhere", f"{socket.gethostname()}.example"])
def test_worker_of_another_host_does_not_count(
    redis_url: str, redis_connection: redis.Redis, hostname: str
) -> None:
    """A busy child of another container, even one whose name starts alike, does not make this one healthy."""
    register(redis_connection, hostname, current_job="1")
    assert not is_healthy(redis_url)


def test_silent_child_is_unhealthy(redis_url: str, redis_connection: redis.Redis) -> None:
    """A child that waits for jobs and has not given a sign of life for long is not healthy."""
    register(redis_connection, socket.gethostname())
    assert not is_healthy(redis_url)


def test_busy_child_is_healthy(redis_url: str, redis_connection: redis.Redis) -> None:
    """A child in a long job, during which it writes no heartbeat, is healthy."""
    register(redis_connection, socket.gethostname(), current_job="1")
    assert is_healthy(redis_url)


def test_child_whose_hash_expired_is_unhealthy(redis_url: str, redis_connection: redis.Redis) -> None:
    """A child that RQ still lists, but whose hash has expired, is not healthy."""
    register(redis_connection, socket.gethostname(), current_job="1")
    redis_connection.delete(f"rq:worker:{socket.gethostname()}.7.89abcdef")
    assert not is_healthy(redis_url)


def test_no_redis_is_unhealthy_and_keeps_the_password() -> None:
    """A Redis that refuses connections is unhealthy; the reason does not show the password."""
    result = check("redis://:s3cret@localhost:1/0")
    assert result.returncode == 1
    assert result.stderr.startswith("unhealthy: Redis: ")
    assert "s3cret" not in result.stderr


def test_redis_that_hangs_is_unhealthy_within_the_deadline() -> None:
    """A Redis that accepts and never answers is unhealthy after 3 seconds."""
    with socket.create_server(("localhost", 0)) as server:
        started = time.monotonic()
        result = check(f"redis://localhost:{server.getsockname()[1]}/0")
    assert (result.returncode, result.stderr) == (1, "unhealthy: Redis: no answer in 3 s\n")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("url", "reason"),
    [(None, "CTXJOBS_REDIS_URL is not set"), ("localhost:6379", "Redis: Redis URL must specify one of")],
)
def test_missing_or_malformed_url_is_named(url: str | None, reason: str) -> None:
    """Without a usable URL the check fails and says why."""
    result = check(url)
    assert result.returncode == 1
    assert result.stderr.startswith(f"unhealthy: {reason}")
