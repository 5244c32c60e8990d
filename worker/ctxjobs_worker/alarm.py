"""Time limits: one alarm for the process, by which whatever takes too long is interrupted.

The limits of a job are RQ's; each part of it (restore, the call, teardown, a callback) has all of the time.
May import rq's timeouts; knows no job. Only the main thread of a process can be interrupted by a signal.

An alarm rings once more every :data:`AGAIN_S`, so that a teardown that hangs after the first ring is
interrupted, too.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from rq.timeouts import BaseDeathPenalty, BaseTimeoutException

#: How long after a ring the alarm rings again, in seconds, unless it was switched off.
AGAIN_S: Final = 60.0
#: How long what was asked to end may take to do so, in seconds, until the alarm rings again, and raises.
CANCEL_GRACE_S: Final = 5.0
#: How long a command that ends a job waits until it sends its signal again, in seconds.
KILL_AGAIN_S: Final = 0.05

#: ``signal.signal`` without what it does for enums, which takes longer than all the rest of a time limit.
_answer: Final[Callable[[int, Any], Any]] = getattr(signal.signal, "__wrapped__", signal.signal)


class Alarm:
    """The alarm clock of this process.

    Attributes:
        on_set: Told how many seconds are left whenever the alarm is set, and None when it is switched off.
        instead: What to do when it rings the first time, in place of raising; None raises.
        kill: Gives what to raise at the next ring, whatever that is for, or None; None is nothing.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._error: Callable[[], BaseException] | None = None
        self.on_set: Callable[[float | None], None] = lambda seconds: None
        self.instead: Callable[[], None] | None = None
        self.kill: Callable[[], BaseException | None] | None = None

    def install(self) -> None:
        """Answer the signal from now on."""
        _answer(signal.SIGALRM, self._ring)

    def set(self, seconds: float, error: Callable[[], BaseException]) -> None:
        """Raise what *error* returns, unless it is switched off within *seconds*; at most 0 means never."""
        if seconds > 0:
            self._seconds, self._error = seconds, error
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
        self.on_set(seconds if seconds > 0 else None)

    def kill_by(self, kill: Callable[[], BaseException | None]) -> None:
        """Raise what *kill* gives in the main thread, if it is not None; returns once that was asked.

        A signal that comes just before a call blocks does not interrupt it, so it is sent until it was seen.
        """
        self.kill = kill
        main = threading.main_thread().ident or 0
        while self.kill is kill:
            signal.pthread_kill(main, signal.SIGALRM)
            time.sleep(KILL_AGAIN_S)

    def begin(self) -> None:
        """Begin another part of the same: it has as much time again."""
        if self._error is not None:
            self.set(self._seconds, self._error)

    def off(self) -> None:
        """Switch it off."""
        self._error = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        self.on_set(None)

    @contextmanager
    def cancelling(self, cancel: Callable[[], None]) -> Iterator[None]:
        """Inside this block, *cancel* is called in place of raising, which is done at its end."""
        rung = False

        def ring() -> None:
            nonlocal rung
            rung = True
            cancel()

        error, self.instead = self._error, ring
        try:
            yield
        except BaseException as exc:
            if rung and error is not None and not isinstance(exc, type(error())):
                raise error() from exc
            raise
        finally:
            self.instead = None
        if rung and error is not None:
            raise error()

    def _ring(self, signum: int, frame: FrameType | None) -> None:
        error, instead, kill = self._error, self.instead, self.kill
        if kill is not None:
            self.kill = None
            if (killed := kill()) is not None:
                raise killed
            return
        if error is None:
            return  # it was being switched off
        if instead is not None:
            self.instead = None
            signal.setitimer(signal.ITIMER_REAL, CANCEL_GRACE_S, AGAIN_S)
            instead()
        else:
            raise error()


#: The one of this process.
alarm: Final = Alarm()


class AlarmPenalty(BaseDeathPenalty):
    """RQ's way to limit a block of code, by :data:`alarm`.

    Args:
        timeout: How many seconds the block may take; at most 0 means as many as it likes.
        exception: The class of what is raised in it then.
        kwargs: As for RQ's.
    """

    def __init__(
        self, timeout: float, exception: type[BaseException] = BaseTimeoutException, **kwargs: Any
    ) -> None:
        super().__init__(timeout, exception, **kwargs)  # type: ignore[no-untyped-call]  # RQ's has no types
        self._limit_s, self._class = timeout, exception

    def setup_death_penalty(self) -> None:
        """Set the alarm; whatever ran before this may have taken the signal for itself, as RQ does."""
        alarm.install()
        alarm.set(
            self._limit_s,
            lambda: self._class(f"Task exceeded maximum timeout value ({self._limit_s} seconds)"),
        )

    def cancel_death_penalty(self) -> None:
        """Switch it off."""
        alarm.off()
