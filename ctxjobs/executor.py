"""``ContextExecutor``: threads whose work runs in a copy of the contexts that submitted it.

The same rules as for a job, without a queue in between: what is pushed, and how it is unwound, is in
:mod:`ctxjobs.hosts`. May import propagators and below; knows no RQ, and needs no app to be bound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import ContextStack, active_hosts, context_vars, run_clean
from ctxjobs.propagators import scopes_around, take_for_thread

_log = logging.getLogger("ctxjobs")

P = ParamSpec("P")
R = TypeVar("R")


class ContextExecutor(Executor):
    """An executor whose work sees ``current_app``, ``g``, ``request`` and ``session`` of who submitted it.

    Each call has contexts of its own, made in its thread from what was active when it was submitted, so
    it may run beside the request, after it, and beside other calls. Teardown functions run once after
    each call, with its exception or None. Submitted outside of any context, a call runs without one.

    - ``g`` is a shallow copy: the same values under new names. Names with a leading underscore, and
      values with a ``close`` method, are left out: teardown functions would close them twice.
    - ``request`` is a new one of the same method, URL, address and headers. It has the body or the form
      if the submitter had read it; no uploaded files, nor what was set on the request object.
    - ``session`` is a copy to read; nothing saves it.
    - Users, locales and what else a propagator calls essential are put back as in a job.
    - Other context variables, those of logging and tracing, have the submitter's values.

    Neither before_request nor after_request functions run.

    Args:
        executor: What runs the work, in this process; shut down together with this one. None means a
            ``ThreadPoolExecutor``.

    Raises:
        ConfigError: It is a ``ProcessPoolExecutor``; contexts do not leave their process.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        if any(cls.__name__ == "ProcessPoolExecutor" for cls in type(executor).__mro__):
            raise ConfigError(
                "ContextExecutor(executor)",
                "A ProcessPoolExecutor runs its work in other processes, where there are no contexts. Give a "
                "ThreadPoolExecutor, or enqueue the work as a job.",
            )
        self._executor = ThreadPoolExecutor() if executor is None else executor

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Call *fn* in another thread, in a copy of the contexts that are active now.

        Args:
            fn: A function; not a coroutine function.
            args: Its positional arguments.
            kwargs: Its keyword arguments.

        Returns:
            The future of its result. Its exception is what *fn* raised; or TeardownError if *fn*
            returned and teardown functions raised.

        Raises:
            RuntimeError: The executor was shut down.
            UnencodableValueError, ValueLimitError: The value of a propagator does not encode.
        """
        stacks = []
        for host, active in active_hosts():
            copy = host.copy(active)
            scopes, around = take_for_thread(host, active), partial(scopes_around, host)
            stacks.append(ContextStack(host, copy.snapshot, copy.fill, scopes, around=around))
        variables = run_clean(context_vars(), copy_context)  # the submitter's, without its contexts
        return self._executor.submit(variables.run, _run, stacks, partial(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more work.

        Args:
            wait: Return after the work that was submitted.
            cancel_futures: Cancel what has not begun.
        """
        self._executor.shutdown(wait, cancel_futures=cancel_futures)


def _run(stacks: Sequence[ContextStack], call: partial[R]) -> R:
    try:
        with ExitStack() as entered:
            for stack in stacks:
                entered.enter_context(stack)
            return call()
    finally:
        for stack in stacks:
            for leak in (*stack.leaks, *stack.in_vain):
                _log.warning(
                    "%s in a ContextExecutor: %s", getattr(call.func, "__qualname__", call.func), leak
                )
