"""What ``ctxjobs worker`` was asked to do: one value that all of its processes share.

Travels from supervisor to loader through their pipe, never on a command line (a Redis URL may hold
a password). Imports nothing of ctxjobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import msgspec

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_NO_REDIS: Final = 3
EXIT_NO_APP: Final = 4
#: A child that ended without being asked to: the supervisor starts another one. From sysexits.h.
EXIT_AGAIN: Final = 75
#: A child that a job has spoilt, and that ended in order: the supervisor starts another one at once.
EXIT_RECYCLED: Final = 79

OnLeak = Literal["log", "recycle", "fail"]


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of one worker.

    Attributes:
        apps: Apps to load, each as ``module:attribute`` or ``module:factory()``.
        queues: Names of the queues, most urgent first; empty means the apps' default queues.
        url: Redis; None means what the apps' settings name.
        concurrency: How many children run jobs.
        burst: End when the queues are empty.
        with_scheduler: Enqueue scheduled jobs when they are due.
        allow_plain: Patterns of the functions that plain RQ jobs may call.
        on_leak: What to do about a job that left something behind.
        logging_level: Name of the lowest level that is logged.
    """

    apps: tuple[str, ...]
    queues: tuple[str, ...] = ()
    url: str | None = field(default=None, repr=False)  # it may hold a password
    concurrency: int = 1
    burst: bool = False
    with_scheduler: bool = False
    allow_plain: tuple[str, ...] = ()
    on_leak: OnLeak = "log"
    logging_level: str = "INFO"

    def to_message(self) -> dict[str, Any]:
        """These options as JSON-shaped values."""
        return asdict(self)

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> WorkerOptions:
        """Read what :meth:`to_message` wrote."""
        return msgspec.convert(message, cls)

    def resolved(self, url: str, queues: tuple[str, ...]) -> WorkerOptions:
        """These options, with *url* and *queues* where they are silent."""
        return replace(self, url=self.url or url, queues=self.queues or queues)
