"""The line between a worker and Redis, which can be cut in the middle of a reply, and slowed down.

A TCP port that leads to Redis' unix socket. Imports the standard library alone.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 65_536
#: For SO_LINGER: a close is a reset.
_AT_ONCE = struct.pack("ii", 1, 0)


class Line:
    """The line. Runs in a thread of its own, inside a ``with`` block.

    Args:
        upstream: Redis' socket.
        rng: Decides what is cut, and where.

    Attributes:
        port: Where workers find it, on 127.0.0.1.
        cuts: How often it was cut.
        cut_share: Which share of the pieces of replies is cut in two and ends its connection with a reset.
        delay_s: How long each piece travels, in seconds, either way.
        bytes_per_s: How much of it passes in a second; 0 is no limit.
    """

    def __init__(self, upstream: Path, rng: random.Random) -> None:
        self._upstream, self._rng = upstream, rng
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.port = 0
        self.cuts = 0
        self.cut_share = 0.0
        self.delay_s = 0.0
        self.bytes_per_s = 0

    @property
    def url(self) -> str:
        """For a worker."""
        return f"redis://127.0.0.1:{self.port}/0"

    def cut_all(self) -> None:
        """Reset all connections, whatever is under way on them."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def __enter__(self) -> Line:
        self._thread.start()
        self._ready.wait(5)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._reset_all()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            try:
                theirs = await asyncio.open_unix_connection(str(self._upstream))
            except OSError:
                _reset(writer)  # Redis is not there: nor is its port
                return
            pair = {writer, theirs[1]}
            self._writers |= pair
            try:
                await _first(self._pump(reader, theirs[1], False), self._pump(theirs[0], writer, True))
            finally:
                self._writers -= pair
                for one in pair:
                    _reset(one)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_reply: bool) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            if self.bytes_per_s:
                await asyncio.sleep(len(data) / self.bytes_per_s)
            if is_reply and self._rng.random() < self.cut_share:
                self.cuts += 1
                writer.write(data[: self._rng.randrange(len(data))])
                return
            writer.write(data)
            await writer.drain()

    def _reset_all(self) -> None:
        for writer in self._writers:
            _reset(writer)


async def _first(*ways: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
