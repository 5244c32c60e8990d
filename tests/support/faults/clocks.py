"""Clocks that can be put forward and back, for one worker: libfaketime, told by a file.

The monotonic clock stays, as it does on a machine whose time is set. Imports the standard library alone.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Mapping
from pathlib import Path

#: Where libfaketime looks for the time.
_VARIABLE = "FAKETIME_TIMESTAMP_FILE"

#: Where Debian's package libfaketime puts it, and where its own makefile does.
_PLACES = ("/usr/lib/*/faketime", "/usr/local/lib/faketime")


def find_library() -> Path | None:
    """libfaketime; None if it is not installed."""
    found = [path for place in _PLACES for path in Path("/").glob(place[1:] + "/libfaketime.so.1")]
    return found[0] if found else None


def repair_sleep() -> None:
    """Sleep by another system call, in a process under libfaketime: with a monotonic clock that is left as it
    is, it refuses that of ``time.sleep``.
    """
    if _VARIABLE in os.environ:
        time.sleep = lambda seconds: select.select((), (), (), seconds) and None


class Clock:
    """A clock, which is right at first.

    Args:
        path: A file for it.
        library: What :func:`find_library` has found.
    """

    def __init__(self, path: Path, library: Path) -> None:
        self._path, self._library = path, library
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Be so many seconds ahead."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}\n")
        new.rename(self._path)

    @property
    def environment(self) -> Mapping[str, str]:
        """What lets a process go by this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            _VARIABLE: str(self._path),
            "FAKETIME_CACHE_DURATION": "0",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
