"""Coroutines in synchronous code: run one to its end; mark a function that returns them.

May import nothing of ctxjobs. Knows nothing of contexts: a task starts with a copy of the caller's
context variables, so contexts pushed by the caller are active inside.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_coroutine(coroutine: Coroutine[Any, Any, _T], leaks: list[str]) -> _T:
    """Run *coroutine* on an event loop of its own; cancel and name the tasks that it leaves running.

    Args:
        coroutine: What to run.
        leaks: Gets a sentence for each such task.

    Returns:
        What it returns.
    """
    return asyncio.run(_main(coroutine, leaks))


async def _main(coroutine: Coroutine[Any, Any, _T], leaks: list[str]) -> _T:
    try:
        return await coroutine
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # asyncio.run cancels them and waits for their end
            name = getattr(task.get_coro(), "__qualname__", "?")
            leaks.append(f"it left task {task.get_name()!r} running, which is cancelled ({name})")


def mark_coroutine_function(function: Callable[..., Any]) -> None:
    """Calls of *function* return coroutines, though it is none itself; tell those who ask."""
    if mark := getattr(inspect, "markcoroutinefunction", None):  # Python 3.12
        mark(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - what asyncio looks for
