"""A worker, ours or a stock one, as a process of its own, in a session of its own, with the app ``depot``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.waiting import wait_until

TESTS = Path(__file__).parents[1]
#: For processes of their own: the modules of the tests, then whatever this process was given.
PYTHONPATH = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
#: In the environment of processes that are many, or that are timed: coverage would take longer than they do.
UNMEASURED = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
DEPOT = ("--app", "support.depot:create_app()")


@dataclass(frozen=True)
class WorkerProcess:
    """A worker that was started.

    Attributes:
        process: Its supervisor.
        log_path: What it and all its children print, on either stream.
    """

    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.log, what=f"{text!r} in its log")

    def stop(self) -> None:
        """Send SIGTERM, as a process manager does."""
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, *, timeout_s: float = 15.0) -> int:
        return self.process.wait(timeout_s)


@contextmanager
def run_worker(
    log_path: Path,
    *args: str,
    app: tuple[str, ...] = DEPOT,
    redis_url: str = "",
    env: Mapping[str, str] | None = None,
) -> Iterator[WorkerProcess]:
    """Run a worker; kill what is left of it and of its children at the end of the block.

    Args:
        log_path: File for all that it prints.
        args: More arguments for the command.
        app: The options that name its apps.
        redis_url: Its ``CTXJOBS_REDIS_URL``.
        env: More of its environment.
    """
    command = ("-m", "ctxjobs", "worker", *app, *args)
    with _running(log_path, command, CTXJOBS_REDIS_URL=redis_url, **(env or {})) as worker:
        yield worker


@contextmanager
def run_stock_worker(
    log_path: Path, *args: str, app: str = DEPOT[1], redis_url: str = ""
) -> Iterator[WorkerProcess]:
    """Run a stock ``rq worker``, as :func:`run_worker` runs ours.

    Args:
        log_path: File for all that it prints.
        args: More arguments for the command.
        app: Its ``CTXJOBS_APP``.
        redis_url: Its Redis.
    """
    command = ("-m", "rq.cli", "worker", "--url", redis_url, *args)
    with _running(log_path, command, CTXJOBS_REDIS_URL=redis_url, CTXJOBS_APP=app) as worker:
        yield worker


@contextmanager
def _running(log_path: Path, command: tuple[str, ...], **environ: str) -> Iterator[WorkerProcess]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *command],
            env={**os.environ, "PYTHONPATH": PYTHONPATH, **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    with process:
        try:
            yield WorkerProcess(process, log_path)
        except BaseException:
            print(log_path.read_text(errors="replace"))  # pytest shows it with the failure
            raise
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
