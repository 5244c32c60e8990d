"""What code left behind: threads that still run, database sessions that are still open.

For a process that does one thing at a time, such as a worker's child or a test run: what begins meanwhile is
put down to that one thing. May import the standard library and blinker; knows a database by the shape of its
extension. Contexts left pushed are found by :mod:`ctxjobs.hosts.stack`, tasks by :mod:`ctxjobs.coroutines`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any, Final

from blinker import Signal

#: Sent with the id of a job, and what it left behind in ``left``.
leaked: Final = Signal()
#: How long a thread that is about to end may take, in seconds. Costs nothing if there is none.
GRACE_S: Final = 0.1


class Watch:
    """A picture of what there is now, to find afterwards what is new.

    Daemon threads are no leaks: they say of themselves that they serve the whole process. Those of Sentry and
    OpenTelemetry start with the first job that needs them.

    Args:
        apps: The apps whose database sessions are looked for.
    """

    def __init__(self, apps: Iterable[Any]) -> None:
        self._threads = set(threading.enumerate())
        self._sessions = [
            (sessions, set(sessions)) for sessions in map(_open_sessions, apps) if sessions is not None
        ]

    def leaks(self) -> list[str]:
        """What is new, each in a sentence; sessions are closed."""
        return [*self._left_threads(), *self._left_sessions()]

    def _left_threads(self) -> Iterator[str]:
        new = [one for one in threading.enumerate() if not one.daemon and one not in self._threads]
        give_up_at = time.monotonic() + GRACE_S
        for thread in new:
            thread.join(max(0.0, give_up_at - time.monotonic()))
            if thread.is_alive():
                yield f"it left thread {thread.name!r} running ({_describe_target(thread)})"

    def _left_sessions(self) -> Iterator[str]:
        for sessions, before in self._sessions:
            for scope in sessions.keys() - before:
                session = sessions.pop(scope)
                with suppress(Exception):  # its connection may be broken
                    session.close()
                yield f"it left a database session open ({type(session).__name__})"


def _open_sessions(app: Any) -> MutableMapping[Any, Any] | None:
    """The open sessions of Flask-SQLAlchemy in *app*, by scope; None if it is not used."""
    scoped = getattr(app.extensions.get("sqlalchemy"), "session", None)
    sessions: MutableMapping[Any, Any] | None = getattr(getattr(scoped, "registry", None), "registry", None)
    return sessions if isinstance(sessions, MutableMapping) else None  # a plain one keeps them by thread


def _describe_target(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None) or type(thread)  # private, and gone once it has run
    return (
        f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', type(target).__qualname__)}"
    )
