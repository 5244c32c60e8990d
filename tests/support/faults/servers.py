"""Redis servers that can be killed, started again on the same socket, and paused; a pair watched by Sentinel.

May import the embedded Redis, for its search of a program, and redis-py.
"""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from support.faults.stock import patient_client
from support.waiting import wait_until

from ctxjobs.embedded import find_server

#: Redis says yes only to what is on disk: what it has answered survives its end.
AOF = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")


class Server:
    """A redis-server of this process.

    Args:
        folder: For its files; made if it is not there.
        options: More arguments.
        port: Where it listens; 0 means on a socket in its folder alone.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.port = folder, port
        self.socket_path = folder / "redis.sock"
        self.url = f"unix://{self.socket_path}" if port == 0 else f"redis://127.0.0.1:{port}/0"
        listen = ["--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket_path)]
        quiet = ["--save", "", "--dir", str(folder), "--logfile", str(folder / "log")]
        self._command = [str(find_server()), *listen, *quiet, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
        wait_until(self._answers, what="Redis answers")

    def kill(self) -> None:
        """Kill it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it in the middle of whatever it does."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def signal(self, signum: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(signum)

    def client(self) -> redis.Redis:
        """A client for the test, which waits until Redis is back."""
        return patient_client(self.url)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1, retry=Retry(ConstantBackoff(0), 0)) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Pair:
    """A master and its replica, and a sentinel that watches them.

    Attributes:
        master: The server that is the master at first.
        replica: The one that takes its place.
        url: For a worker.
    """

    NAME = "jobs"

    def __init__(self, folder: Path) -> None:
        master_port, replica_port, sentinel_port = free_ports(3)
        at_once = ("--repl-diskless-sync-delay", "0")
        self.master = Server(folder / "master", *at_once, port=master_port)
        follows = ("--replicaof", "127.0.0.1", str(master_port))
        self.replica = Server(folder / "replica", *follows, port=replica_port)
        self._sentinel = _Sentinel(folder / "sentinel", sentinel_port, self.NAME, master_port)
        self.url = f"redis+sentinel://127.0.0.1:{sentinel_port}/{self.NAME}/0"

    @contextmanager
    def running(self) -> Iterator[Pair]:
        """All three run inside this block."""
        with self.master, self.replica:
            wait_until(self._is_in_step, what="the replica is in step")
            with self._sentinel:
                wait_until(self._is_known, what="the sentinel knows the replica")
                yield self

    def _is_in_step(self) -> bool:
        with self.replica.client() as client:
            return client.info("replication").get("master_link_status") == "up"

    def _is_known(self) -> bool:
        with self._sentinel.client() as client:
            replicas = client.sentinel_slaves(self.NAME)
            return len(replicas) == 1 and not replicas[0]["is_disconnected"]

    def has_failed_over(self) -> bool:
        """Whether the replica is the master now."""
        with self.replica.client() as client:
            return client.info("replication")["role"] == "master"


class _Sentinel(Server):
    def __init__(self, folder: Path, port: int, name: str, master_port: int) -> None:
        super().__init__(folder, port=port)
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\n"
            f"sentinel monitor {name} 127.0.0.1 {master_port} 1\n"
            f"sentinel down-after-milliseconds {name} 500\n"
            f"sentinel failover-timeout {name} 3000\n"
        )
        self.url = f"redis://127.0.0.1:{port}"
        self._command = [
            str(find_server()),
            str(configuration),
            "--sentinel",
            "--logfile",
            str(folder / "log"),
        ]
