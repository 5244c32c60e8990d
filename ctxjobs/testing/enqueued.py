"""The jobs that were enqueued, for assertions about them.

May import the floor of RQ's jobs; knows no test framework.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, overload

from ctxjobs.functions import find_function
from ctxjobs.making import job_sealed
from ctxjobs.registry import RegisteredFunction
from ctxjobs.rqjob import ContextJob


class EnqueuedJobs(Sequence[ContextJob]):
    """The jobs that this process enqueues during a test, in order: what the fixture ``enqueued_jobs`` is.

    It executes nothing and hinders nothing: the jobs are in Redis, or have run, in inline mode. Of each one,
    ``func_name``, ``args``, ``kwargs``, ``origin`` (its queue) and ``snapshot`` are of interest.
    """

    def __init__(self) -> None:
        self._jobs: list[ContextJob] = []

    @contextmanager
    def recording(self) -> Iterator[EnqueuedJobs]:
        """Note the jobs that are enqueued inside of this block."""
        with job_sealed.connected_to(self._jobs.append):
            yield self

    @overload
    def __getitem__(self, index: int) -> ContextJob: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[ContextJob]: ...

    def __getitem__(self, index: Any) -> Any:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"<EnqueuedJobs: {', '.join(map(_describe, self._jobs)) or 'none'}>"

    def of(self, function: Any, *, queue: str | None = None) -> list[ContextJob]:
        """The jobs of one function.

        Args:
            function: A function under ``@job``, or its dotted name.
            queue: Only those on the queue with this name.
        """
        path = find_function(function).path
        return [job for job in self._jobs if job.func_name == path and queue in (None, job.origin)]

    def clear(self) -> None:
        """Forget what was enqueued so far."""
        self._jobs.clear()

    def assert_enqueued(
        self,
        function: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        queue: str | None = None,
        times: int | None = 1,
    ) -> list[ContextJob]:
        """Check that jobs of *function* were enqueued.

        Args:
            function: A function under ``@job``, or its dotted name.
            args: Its positional arguments. With neither these nor *kwargs*, any arguments count; else all
                have to be equal, whether they were passed by position or by name.
            kwargs: Its keyword arguments.
            queue: The name of their queue; None means any.
            times: How many such jobs there have to be; None means one or more.

        Returns:
            These jobs.

        Raises:
            AssertionError: There are more or fewer; tells what was enqueued instead.
        """
        __tracebackhide__ = True
        registered = find_function(function)
        found = self.of(function, queue=queue)
        if args is not None or kwargs is not None:
            wanted = _bound(registered, args or (), kwargs or {})
            found = [job for job in found if _bound(registered, job.args, job.kwargs) == wanted]
        if len(found) == times or (times is None and found):
            return found
        call = _call(registered.path, args, kwargs) + (f" on queue {queue!r}" if queue else "")
        raise AssertionError(
            f"{call} was enqueued {_times(len(found))}, not {_times(times)}.\n{self._listing()}"
        )

    def assert_not_enqueued(self, function: Any = None, *, queue: str | None = None) -> None:
        """Check that no job was enqueued.

        Args:
            function: None of this function; without it, none at all.
            queue: None on the queue with this name; without it, on any.

        Raises:
            AssertionError: There is one; tells all that were enqueued.
        """
        __tracebackhide__ = True
        if function is not None:
            self.assert_enqueued(function, queue=queue, times=0)
        elif any(queue in (None, job.origin) for job in self._jobs):
            where = f" on queue {queue!r}" if queue else ""
            raise AssertionError(f"No job was to be enqueued{where}.\n{self._listing()}")

    def _listing(self) -> str:
        if not self._jobs:
            return "Nothing was enqueued."
        lines = (f"  {number}. {_describe(job)}" for number, job in enumerate(self._jobs, 1))
        return "\n".join(["Enqueued:", *lines])


def _bound(function: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    bound = function.signature.bind(*args, **kwargs)
    bound.apply_defaults()
    return bound.arguments


def _describe(job: ContextJob) -> str:
    return f"{_call(str(job.func_name), job.args, job.kwargs)} on queue {job.origin!r}"


def _call(path: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None) -> str:
    if args is None and kwargs is None:
        return path
    given = [*map(repr, args or ()), *(f"{name}={value!r}" for name, value in (kwargs or {}).items())]
    return f"{path}({', '.join(given)})"


def _times(number: int | None) -> str:
    return "at least once" if number is None else "once" if number == 1 else f"{number} times"
