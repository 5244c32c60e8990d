"""The pipe between supervisor and loader: JSON objects, one a line, over a socket pair.

May import the standard library only. Knows no meaning of what it carries.
"""

from __future__ import annotations

import json
import socket
from typing import Any, Final

_CHUNK_BYTES: Final = 65_536


class Channel:
    """One end of the pipe.

    Args:
        sock: A connected stream socket; closed by :meth:`close`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._rest = b""

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._sock.fileno()

    def send(self, **message: Any) -> bool:
        """Send one message; False if the other end is gone."""
        try:
            self._sock.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have arrived, after waiting for some; None if the other end is gone."""
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Close this end."""
        self._sock.close()
