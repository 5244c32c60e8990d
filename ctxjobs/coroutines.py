"""Run one coroutine to its end, from synchronous code.

May import nothing of ctxjobs. Knows nothing of contexts: a task starts with a copy of the caller's
context variables, so contexts pushed by the caller are active inside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

_log = logging.getLogger("ctxjobs")
_T = TypeVar("_T")


def run_coroutine(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Run *coroutine* on an event loop of its own; cancel and name the tasks that it leaves running.

    Args:
        coroutine: What to run.

    Returns:
        What it returns.
    """
    return asyncio.run(_main(coroutine))


async def _main(coroutine: Coroutine[Any, Any, _T]) -> _T:
    try:
        return await coroutine
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # asyncio.run cancels them and waits for their end
            _log.warning("task %r was left running, and is cancelled", task.get_name())
