"""Coroutines in synchronous code: run one to its end; mark a function that returns them.

May import nothing of ctxjobs. Knows nothing of contexts: a task starts with a copy of the caller's
context variables, so contexts pushed by the caller are active inside.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_coroutine(coroutine: Coroutine[Any, Any, _T], leaks: list[str]) -> _T:
    """Run *coroutine* on an event loop of its own; cancel and name the tasks that it leaves running.

    Where the process keeps a loop (:class:`KeptLoop`), it runs on that one.

    Args:
        coroutine: What to run.
        leaks: Gets a sentence for each such task.

    Returns:
        What it returns.
    """
    kept = KeptLoop.of_this_thread
    if kept is None or kept.thread != threading.get_ident():
        return asyncio.run(_main(coroutine, leaks))
    return kept.run(coroutine, leaks)


async def _main(coroutine: Coroutine[Any, Any, _T], leaks: list[str]) -> _T:
    try:
        return await coroutine
    finally:
        leaks += map(_describe, _left())  # asyncio.run cancels them and waits for their end


def _left() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def _describe(task: asyncio.Task[Any]) -> str:
    name = getattr(task.get_coro(), "__qualname__", "?")
    return f"it left task {task.get_name()!r} running, which is cancelled ({name})"


class KeptLoop:
    """An event loop that is kept from one coroutine to the next, in the thread in which it is made.

    Clients that belong to a loop, such as pools of connections, so live on from job to job. What
    ``asyncio.to_thread`` starts does not.

    Args:
        around: Called with each task, and with what runs it to its end; returns what that returns.
    """

    of_this_thread: KeptLoop | None = None

    def __init__(
        self, around: Callable[[asyncio.Task[Any], Callable[[], Any]], Any] = lambda task, run: run()
    ) -> None:
        self.thread = threading.get_ident()
        self._around = around
        self._loop: asyncio.AbstractEventLoop | None = None
        KeptLoop.of_this_thread = self

    def run(self, coroutine: Coroutine[Any, Any, _T], leaks: list[str]) -> _T:
        """Run *coroutine*; see :func:`run_coroutine`."""
        loop = self._opened()
        executor = ThreadPoolExecutor(thread_name_prefix="asyncio")  # it starts threads when it is used
        loop.set_default_executor(executor)
        task = loop.create_task(coroutine)
        try:
            result: _T = self._around(task, lambda: loop.run_until_complete(task))
        finally:
            try:
                loop.run_until_complete(_end_the_rest(leaks))
                executor.shutdown()
            except BaseException:
                self.close()  # it was interrupted, and who knows where
                raise
        return result

    def close(self) -> None:
        """Close the loop; the next coroutine gets another one."""
        loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.set_event_loop(None)
            loop.close()

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop


async def _end_the_rest(leaks: list[str]) -> None:
    left = _left()
    leaks += map(_describe, left)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def mark_coroutine_function(function: Callable[..., Any]) -> None:
    """Calls of *function* return coroutines, though it is none itself; tell those who ask."""
    if mark := getattr(inspect, "markcoroutinefunction", None):  # Python 3.12
        mark(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]  # noqa: SLF001 - what asyncio looks for
