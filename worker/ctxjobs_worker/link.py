"""One connection to Redis that a process asks and waits on by itself, without the client's own retries.

redis-py sends a command again when its answer got lost, and does not tell. What takes jobs must decide that
by itself, so this asks once; who calls it knows how to ask again. May import redis-py; knows no commands.
"""

from __future__ import annotations

import random
from typing import Any, Final

from redis import Redis
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, ResponseError

#: Pause after a Redis that did not answer: doubles with each failure in a row, and a random half comes off,
#: so that a fleet does not come back at once.
FIRST_PAUSE_S: Final = 0.1
LAST_PAUSE_S: Final = 10.0
#: How Redis begins when it refuses whatever is to be written, or asked, and redis-py has no class for it.
_PASSING: Final = ("MISCONF", "NOREPLICAS", "BUSY ", "MASTERDOWN", "TRYAGAIN")


class Link:
    """One connection; opened when it is first used, and again after each failure.

    Args:
        client: Says where Redis is, and how to get there.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None
        self._failures = 0

    def send(self, *commands: tuple[Any, ...]) -> None:
        """Send *commands*, one after the other, without waiting for their answers.

        Raises:
            RedisError: Redis is not there.
        """
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
            if len(commands) == 1:
                self._connection.send_command(*commands[0])
            else:
                self._connection.send_packed_command(self._connection.pack_commands(commands))
        except BaseException:
            self.drop()
            raise

    def receive(self) -> Any:
        """The answer to the next of the commands that were sent.

        Raises:
            ResponseError: Redis refused it; the connection stays.
            RedisError: Redis is not there any more.
        """
        try:
            answer = self._connection.read_response()
        except BaseException as exc:
            if not is_refusal(exc):
                self.drop()
            raise
        self._failures = 0
        return answer

    def ask(self, *command: Any) -> Any:
        """Send one command, and return its answer.

        Raises:
            RedisError: Redis is not there, or refused it.
        """
        self.send(command)
        return self.receive()

    def fileno(self) -> int:
        """The socket to wait on; redis-py tells nobody which one that is."""
        return int(self._connection._sock.fileno())  # noqa: SLF001 - as said

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    def has_answer(self) -> bool:
        """Whether an answer, or the end of the connection, can be read without waiting."""
        return bool(self._connection.can_read(0))

    def drop(self) -> None:
        """Close the connection, with all answers that have not been read."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
            self._pool.release(connection)

    def pause_s(self) -> float:
        """How long to wait before Redis is asked again, after one more failure."""
        self._failures += 1
        longest = min(FIRST_PAUSE_S * 2.0 ** (self._failures - 1), LAST_PAUSE_S)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads load, it keeps no secret


def is_refusal(exc: BaseException) -> bool:
    """Whether Redis answered, and its answer was no, so that the connection is in order.

    A replica says that it is read-only when it was the master until now: a new connection finds the new one.
    """
    return isinstance(exc, ResponseError) and not isinstance(exc, ReadOnlyError | ClusterDownError)


def may_pass(exc: ResponseError) -> bool:
    """Whether Redis refuses everything for a while, and not this alone."""
    if isinstance(exc, OutOfMemoryError | ReadOnlyError | ClusterDownError):
        return True
    return any(code in str(exc) for code in _PASSING)
