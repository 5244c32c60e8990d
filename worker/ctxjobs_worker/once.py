"""Transactions of RQ's that are written once, whatever becomes of their answers.

RQ's handlers put all that an outcome means into one MULTI. If its answer gets lost, nobody knows whether it
was carried out, and RQ just writes it again; or Redis, which was paused, carries out the lost one later. So
the job's hash, which every outcome changes, is watched, and then it is asked whether there is still something
to write. May import redis-py; knows no job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import Pipeline


class WrittenError(BaseException):
    """It is written already. No ``Exception``, because RQ catches these, and goes on."""


class Once:
    """A client whose next transaction is written once; all after it are as ever.

    Args:
        client: The client.
        key: A key that the transaction changes, and so does whoever writes the same.
        is_due: Whether it is still to be written.

    Attributes:
        is_written: Whether it was.
        error: Why it was not, the last time; who asked for it may have been told nothing.
    """

    def __init__(self, client: Redis, key: str, is_due: Callable[[], bool]) -> None:
        self._client = client
        self.key, self.is_due = key, is_due
        self.is_written = False
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As the client's."""
        client: Any = self._client
        return _Transaction(self, client.connection_pool, client.response_callbacks, transaction, shard_hint)


class _Transaction(Pipeline):
    """Raises WrittenError in place of writing it twice."""

    def __init__(self, once: Once, *args: Any) -> None:
        untyped: Any = super()
        untyped.__init__(*args)
        self._once = once

    def watch(self, *names: Any) -> Any:
        """As redis-py's; then ask whether there is something to do."""
        untyped: Any = super()
        if self._once.is_written:
            return untyped.watch(*names)
        answer = untyped.watch(self._once.key, *names)
        if not self._once.is_due():
            raise WrittenError
        return answer

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As redis-py's; what watches nothing watches the key."""
        once = self._once
        if once.is_written:
            return super().execute(raise_on_error)
        try:
            if not self.watching:
                self.watch()
            answers = super().execute(raise_on_error)
        except Exception as exc:
            once.error = exc
            raise
        once.is_written = True
        return answers
