"""A real process that starts an embedded Redis and then ends in the way that a test wants.

Imports ctxjobs only in that process, by the text it runs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from support.waiting import is_running, wait_until

ROOT = Path(__file__).parents[2]

OWNER = """
import json, os, redis, signal, subprocess, sys, threading
from ctxjobs.embedded import EmbeddedRedis

def server_pid(server):
    with redis.Redis.from_url(server.url) as connection:
        return connection.info("server")["process_id"]

def report(**more):
    facts = {"watcher": server.process.pid, "server": server_pid(server)}
    print(json.dumps({**facts, "socket": str(server.socket_path), **more}), flush=True)

server = EmbeddedRedis()
"""


@dataclass
class Owner:
    """A process that started an embedded Redis and said so."""

    process: subprocess.Popen[str]
    watcher: int
    server: int
    socket: Path
    child: int

    def answers(self) -> bool:
        with redis.Redis(unix_socket_path=str(self.socket)) as connection:
            return bool(connection.ping())

    def wait_for_end(self) -> str:
        """Wait until nothing is left of the server; return what the owner printed on stderr."""
        _, errors = self.process.communicate(timeout=20)
        wait_until(lambda: not is_running(self.server), what="the server ends")
        wait_until(lambda: not is_running(self.watcher), what="the watcher ends")
        wait_until(lambda: not self.socket.parent.exists(), what="the folder is removed")
        return errors


def run_owner(script: str) -> subprocess.Popen[str]:
    """Start a process of its own session, with every warning an error, that runs OWNER and a script."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "dev", "-c", OWNER + textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def owner(script: str) -> Iterator[Owner]:
    """Run an owner until it has reported; kill what is left of it and its children at the end."""
    with run_owner(script) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate()[1]
            facts = json.loads(line)
            socket = Path(facts["socket"])
            yield Owner(process, facts["watcher"], facts["server"], socket, facts.get("child", 0))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
