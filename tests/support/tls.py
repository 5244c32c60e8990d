"""TLS in front of a unix socket, with a certificate that was made for the run.

May import trustme and the standard library; knows nothing of Redis.
"""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import trustme


class TlsFront:
    """Listens on a port of its own, and hands on what it decrypts.

    Args:
        folder: For the certificate of the authority.
        target: The unix socket.

    Attributes:
        port: Where it listens, on ``localhost``.
        authority: The file with the certificate by which clients know it.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self._target = target
        authority = trustme.CA()
        self.authority = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> TlsFront:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in [self._listener, *self._open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[plain], daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError):  # either side is gone
            outside = self._context.wrap_socket(plain, server_side=True)
            inside = socket.socket(socket.AF_UNIX)
            inside.connect(str(self._target))
            self._open += [outside, inside]
            threading.Thread(target=_hand_on, args=[inside, outside], daemon=True).start()
            _hand_on(outside, inside)


def _hand_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
