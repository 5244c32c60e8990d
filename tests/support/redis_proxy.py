"""Stands between a client and its Redis: counts what is asked, and breaks connections when it is told to.

Speaks no more of the protocol than where a command begins. Imports the standard library alone.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

_SCRIPTS: Final = (b"EVALSHA", b"EVAL\r\n")


class RedisProxy:
    """A proxy on a port of its own, for one Redis.

    Args:
        path: The unix socket of the Redis.

    Attributes:
        port: Where it listens.
        requests: What clients have sent, one entry for each time that they then waited for an answer.
        lose: Told the number of a script call, from 1 on: whether its answer is lost, and its connection.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scripts = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self.lose: Callable[[int], bool] = lambda number: False

    @property
    def url(self) -> str:
        """For ``redis.Redis.from_url``."""
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> RedisProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(str(self._path))
            while request := self._receive(client):
                server.sendall(request)
                answer = server.recv(1 << 20)
                if self._is_lost(request):
                    return
                client.sendall(answer)

    def _receive(self, client: socket.socket) -> bytes:
        """What the client sends until it has nothing more to send."""
        request = b""
        client.settimeout(None)
        try:
            while part := client.recv(1 << 20):
                request += part
                client.settimeout(0.05)
        except OSError:
            pass
        if request:
            self.requests.append(request)
        return request

    def _is_lost(self, request: bytes) -> bool:
        with self._lock:
            self._scripts += any(name in request[:40] for name in _SCRIPTS)
            return any(name in request[:40] for name in _SCRIPTS) and self.lose(self._scripts)
