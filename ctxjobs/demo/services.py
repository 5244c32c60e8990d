"""What the demo runs: a web server on a real socket, and a worker in a process of its own.

May import werkzeug and click. Knows no jobs and no Redis; it starts, watches and ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, Final

import click
from werkzeug.serving import WSGIRequestHandler, make_server

#: How long a worker may take to finish its jobs, in seconds; then it is told again, and at last killed.
STOP_DEADLINE_S: Final = 10.0
LAST_LINES: Final = 15


class _QuietHandler(WSGIRequestHandler):
    """Answers requests without a line on stderr for each."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@contextmanager
def web_server(app: Any) -> Iterator[int]:
    """Serve *app* on a free port of 127.0.0.1, with a thread for each connection; the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_QuietHandler)
    thread = threading.Thread(target=server.serve_forever, name="ctxjobs-demo-web", daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A ``ctxjobs worker`` that runs.

    Attributes:
        process: Its supervisor.
        log: What it prints.
    """

    process: subprocess.Popen[bytes]
    log: IO[bytes]

    def check(self) -> None:
        """Do nothing if the worker runs.

        Raises:
            click.ClickException: It has ended; with the last lines that it printed.
        """
        if self.process.poll() is not None:
            raise click.ClickException(
                f"The worker ended with exit code {self.process.returncode}. {self.last_lines()}"
            )

    def last_lines(self) -> str:
        """The last lines that the worker printed, with a heading."""
        self.log.seek(0)
        lines = b"".join(self.log.readlines()[-LAST_LINES:]).decode(errors="replace").strip()
        return f"Its last lines:\n{lines}" if lines else "It printed nothing."


@contextmanager
def worker_process(app: str, children: int) -> Iterator[WorkerProcess]:
    """Run a ``ctxjobs worker`` with a scheduler.

    Args:
        app: The app whose jobs to run, as ``module:factory()``.
        children: How many jobs run at once.
    """
    options = ("--app", app, "--with-scheduler", "-c", str(children), "--logging-level", "WARNING")
    command = (sys.executable, "-m", "ctxjobs", "worker", *options)
    with tempfile.TemporaryFile() as log:
        # A session of its own: the terminal's Ctrl-C goes to the demo, which shuts down in order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield WorkerProcess(process, log)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for _ in range(2):  # it finishes its jobs when told once, and ends at once when told twice
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            continue
        return
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class StopRequests:
    """Remembers SIGINT and SIGTERM inside a ``with`` block, so that nothing is cut off half-way.

    Attributes:
        asked: Whether somebody wants the demo to stop.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequests:
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._before[signum] = signal.signal(signum, self._ask)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _ask(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True
