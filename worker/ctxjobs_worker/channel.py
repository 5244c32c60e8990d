"""The loader's process, and the pipe to it: JSON objects, one a line, over a socket pair.

May import the standard library only, and in the loader's process the loader. Knows no meaning of what it
carries.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

_CHUNK_BYTES: Final = 65_536
_LOADER: Final = "ctxjobs_worker.loader"


#: Two connected sockets: the supervisor's, and the loader's.
Pair = tuple[socket.socket, socket.socket]


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
        anew: Whether to start a new interpreter, which imports everything as it is now; else this process
            is forked, which must have neither threads nor connections, and what is imported is in memory
            once.
    """

    def __init__(self, descriptor: int, count: int, *, anew: bool) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            start = _start if anew else _fork
            self._wait = start((ours, theirs), descriptor, str(count))
        self.channel = Channel(ours)

    def close(self) -> None:
        """Close the pipe: the loader lets its children finish their jobs, and ends."""
        self.channel.close()

    def wait(self) -> int:
        """Wait for its end; its exit code, or the negative number of the signal that ended it."""
        return self._wait()


def _start(pair: Pair, descriptor: int, count: str) -> Callable[[], int]:
    inherited = (pair[1].fileno(), descriptor)
    command = [sys.executable, "-m", _LOADER, *map(str, inherited), count]
    return subprocess.Popen(command, pass_fds=inherited).wait


def _fork(pair: Pair, descriptor: int, count: str) -> Callable[[], int]:
    gc.collect()
    gc.freeze()  # a collection would write to every page, and so make copies of them
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        inherited = (pair[1].detach(), descriptor)
        _close_all_but({0, 1, 2, *inherited})
        pair[0].detach()
        code = importlib.import_module(_LOADER).main([_LOADER, *map(str, inherited), count])
    except BaseException:  # noqa: BLE001 - whatever it was, this process ends here
        traceback.print_exc()
    finally:
        logging.shutdown()
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    """Close every other descriptor, as a new process would not have inherited it."""
    for descriptor in map(int, os.listdir("/dev/fd")):
        if descriptor not in kept:
            with suppress(OSError):  # the listing had one of its own
                os.close(descriptor)
