"""Coroutines in synchronous code: run one to its end; mark a function that returns them.

May import nothing of ctxjobs. Knows nothing of contexts: a task starts with a copy of the caller's
context variables, so contexts pushed by the caller are active inside.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine
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


def mark_coroutine_function(function: Callable[..., Any]) -> None:
    """Calls of *function* return coroutines, though it is none itself; tell those who ask."""
    if mark := getattr(inspect, "markcoroutinefunction", None):  # Python 3.12
        mark(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - what asyncio looks for
