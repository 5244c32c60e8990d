"""The pipe between supervisor and loader: JSON objects, one a line, over a socket pair; and the loader's
process.

May import the standard library only. Knows no meaning of what it carries.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
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


class LoaderProcess:
    """A loader that was started, and this end of the pipe to it.

    Args:
        descriptor: Of the memory that its children share with this process.
        count: How many slots are in it.
    """

    def __init__(self, descriptor: int, count: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "ctxjobs_worker.loader"]
            numbers = [str(theirs.fileno()), str(descriptor), str(count)]
            self._process = subprocess.Popen([*command, *numbers], pass_fds=[theirs.fileno(), descriptor])
        self.channel = Channel(ours)

    def close(self) -> None:
        """Close the pipe: the loader lets its children finish their jobs, and ends."""
        self.channel.close()

    def wait(self) -> int:
        """Wait for its end; its exit code, or the negative number of the signal that ended it."""
        return self._process.wait()
