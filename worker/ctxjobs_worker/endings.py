"""Children that have ended: how, what goes back of what they held, and what is left to do for others.

May import the upkeep and what the oversight knows of a child; decides nothing about processes.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass
from typing import Literal

from redis.exceptions import RedisError

from ctxjobs_worker.options import EXIT_OK, EXIT_RECYCLED, Remains
from ctxjobs_worker.oversight import Watched, remains_of
from ctxjobs_worker.upkeep import Upkeep

_log = logging.getLogger("ctxjobs.worker")


@dataclass(frozen=True, slots=True)
class Ending:
    """A child that has ended, and what it leaves in Redis is still to be seen to.

    Attributes:
        child: The child.
        running: Token of the job that it ran; 0 if there was none.
        left: What it was given to look after, and has not.
        code: Its exit code, or the negative number of the signal that ended it.
    """

    child: Watched
    running: int
    left: tuple[Remains, ...]
    code: int

    @property
    def is_orderly(self) -> bool:
        """Whether it gave back by itself what it held."""
        return self.code in (EXIT_OK, EXIT_RECYCLED) and not self.running

    def how(self, current: int | None) -> Literal["done", "recycled", "job", "failed"]:
        """What it was, for the lifecycle, while the generation *current* runs jobs."""
        if self.running:
            return "job"
        if self.code == EXIT_OK:
            # One of an older generation may leave a slot that is wanted by now.
            return "done" if self.child.generation == current else "recycled"
        return "recycled" if self.code == EXIT_RECYCLED else "failed"

    def release(self, upkeep: Upkeep) -> tuple[Remains, ...]:
        """Let go back what the child held.

        Returns:
            What is left to do for others to look after.

        Raises:
            RedisError: Redis does not answer, or did not a moment ago.
        """
        child = self.child
        if self.is_orderly:
            return ()
        if not upkeep.is_reachable:
            raise RedisError("it did not answer a moment ago")
        try:
            if child.gives_back:
                upkeep.release(child.identity, "stop")
                return ()
            running = upkeep.release(child.identity, "died", self.running)
        except RedisError as exc:
            upkeep.failed(exc)
            raise
        if running is None:
            return self.left
        return (*self.left, remains_of(child, running, self.running, ending_of(self.code)))

    def log(self, *, is_draining: bool) -> None:
        """Log what is not a matter of course."""
        pid = self.child.pid
        if self.code == EXIT_RECYCLED:
            _log.info("child %d has had its time, or was left unclean by its job; starting another one", pid)
        elif not self.is_orderly and not is_draining:
            _log.warning("child %d ended with %s; starting another one", pid, ending_of(self.code))


def ending_of(code: int) -> str:
    """An exit code, or the negative number of a signal, in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def is_alive(pid: int) -> bool:
    """Whether this process runs, which is nobody's child here, or has become ours."""
    try:
        ended, _ = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return ended == 0
