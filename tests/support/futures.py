"""Waiting for what runs in a thread, with a deadline.

Imports the standard library alone.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

DEADLINE_S = 10


def result(future: Future[Any]) -> Any:
    """What *future* ends with; a TimeoutError if it does not end."""
    return future.result(timeout=DEADLINE_S)
