"""Waiting for what another process does: by condition and deadline, never for a fixed time.

Imports the standard library alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

POLL_S = 0.01


def wait_until(condition: Callable[[], object], *, timeout_s: float = 10.0, what: str) -> None:
    """Return as soon as a condition is true.

    Args:
        condition: Asked again and again, every 10 ms.
        timeout_s: The longest to wait, in seconds.
        what: What is waited for, for the message.

    Raises:
        TimeoutError: The condition was still false at the end.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout_s:g} seconds in vain for this: {what}")
        threading.Event().wait(POLL_S)


def is_running(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie (in a container nobody may reap orphans).

    Args:
        pid: Its process id.

    Returns:
        False as soon as it has ended.
    """
    try:
        os.kill(pid, 0)
        return not Path("/proc/self").exists() or _state(pid) not in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
