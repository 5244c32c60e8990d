"""Waiting for a job without losing one, and without waking anybody else.

One connection for each queue waits in BLMOVE, which moves a job to a list of this worker's own; the next
cycle takes it from there. If the worker dies in between, that list tells which job was on its way. A stop, or
a signal of any kind, ends the wait at once. May import :mod:`ctxjobs_worker.link`; knows no job.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Sequence
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from ctxjobs.keys import taking_key
from ctxjobs_worker.link import Link

#: How long Redis lets one BLMOVE wait, in seconds. It also bounds for how long one of a worker that is gone
#: may still be carried out.
WAIT_S: Final = 5.0
#: When a worker that is gone is looked at once more, in seconds: later than any BLMOVE of its is carried out.
LAST_LOOK_S: Final = 15
#: How much later its answer may come before the connection counts as lost.
_GRACE_S: Final = 5.0


class Waiter:
    """What one worker waits with.

    Args:
        client: Says where Redis is.
        worker: Name of the worker.
        queues: Names of its queues.
        wakeup: A descriptor that can be read from once a signal has come; None if none are answered.
    """

    def __init__(self, client: Redis, worker: str, queues: Sequence[str], wakeup: int | None = None) -> None:
        self._waits = [_Wait(Link(client), worker, queue) for queue in queues]
        self._wakeup = wakeup

    def wait(self, timeout_s: float = WAIT_S) -> None:
        """Return when there is a job, when a signal comes, or after *timeout_s*.

        Raises:
            RedisError: Redis is not there.
        """
        for each in self._waits:
            if not each.is_pending:
                each.begin(min(timeout_s, WAIT_S))
        with selectors.DefaultSelector() as selector:
            for each in self._waits:
                selector.register(each.link.fileno(), selectors.EVENT_READ, each)
            if self._wakeup is not None:
                selector.register(self._wakeup, selectors.EVENT_READ)
            ready = selector.select(min(timeout_s, WAIT_S) + _GRACE_S)
        if not ready:
            self.close()  # whatever it was, these connections answer no more
        for key, _ in ready:
            if key.data is None:
                drain(self._wakeup)
            else:
                key.data.end()

    def interruptions(self) -> list[tuple[Any, ...]]:
        """The commands that end what still waits; send them, then call :meth:`settle`."""
        return [("CLIENT", "UNBLOCK", each.client_id) for each in self._waits if each.is_pending]

    def settle(self) -> None:
        """Read the last answers of what was waiting and was interrupted.

        Raises:
            RedisError: Redis is not there any more.
        """
        for each in self._waits:
            if each.is_pending:
                each.end()

    def close(self) -> None:
        """Close the connections. What they were waiting for may still be moved, for :data:`WAIT_S`."""
        for each in self._waits:
            each.is_pending = False
            each.link.drop()


class _Wait:
    """One connection, for one queue."""

    def __init__(self, link: Link, worker: str, queue: str) -> None:
        self.link = link
        self.client_id = 0
        self.is_pending = False
        self._keys = (f"rq:queue:{queue}", taking_key(queue, worker))

    def begin(self, seconds: float) -> None:
        if not self.link.is_open:
            self.client_id = self.link.ask("CLIENT", "ID")
        self.link.send(("BLMOVE", *self._keys, "LEFT", "RIGHT", seconds))
        self.is_pending = True

    def end(self) -> None:
        self.is_pending = False
        try:
            self.link.receive()
        except ResponseError:
            self.link.drop()  # the queue is no list, or somebody ended the wait with an error
        except RedisError:
            self.link.drop()
            raise


def drain(descriptor: int | None) -> None:
    """Read what signals have written to their wakeup descriptor."""
    if descriptor is not None:
        try:
            os.read(descriptor, 4096)
        except BlockingIOError:
            return
