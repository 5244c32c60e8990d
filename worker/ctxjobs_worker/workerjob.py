"""What a worker runs, and what it refuses: one job, from Redis to its outcome.

A job with an envelope runs as :class:`ctxjobs.rqjob.ContextJob` says: verify, restore, call, tear down,
then its callbacks in contexts of their own. This file adds plain RQ jobs, which have no context to
restore: an operator may allow them, by the names of their functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from ctxjobs import rqcompat
from ctxjobs.errors import LeakError, PlainJobError
from ctxjobs.leaks import Watch, leaked
from ctxjobs.propagation import Phase, system_snapshot
from ctxjobs.registry import registry
from ctxjobs.rqjob import ContextJob
from ctxjobs.running import JobPart
from ctxjobs.snapshot import Snapshot
from ctxjobs_worker.alarm import alarm
from ctxjobs_worker.options import OnLeak

_log = logging.getLogger("ctxjobs")

_CALLBACK_FIELDS = ("success_callback_name", "failure_callback_name", "stopped_callback_name")


class WorkerJob(ContextJob):
    """A job as a worker sees it.

    Attributes:
        allow_plain: Patterns (``fnmatch``) of the functions that plain RQ jobs may call.
        system_app: Id of the app whose system context plain jobs run in; None runs them as RQ does.
        on_leak: ``fail``: what returned and left something behind has failed.
    """

    allow_plain: ClassVar[Sequence[str]] = ("*",)
    system_app: ClassVar[str | None] = None
    on_leak: ClassVar[OnLeak] = "log"

    def admit_plain(self, fields: Mapping[str, bytes]) -> None:
        """Allow a plain job whose function and callbacks match a pattern.

        Raises:
            PlainJobError: One of them does not match, or the function is a job function, which never
                runs without its envelope.
        """
        function = rqcompat.plain_function(fields.get("data", b""))
        if path := _job_function(function):
            raise _without_envelope(self.id, path)
        named = (fields.get(name, b"").decode(errors="replace") for name in _CALLBACK_FIELDS)
        callbacks = [name for name in named if name]
        if not all(self._allows(name) for name in (function, *callbacks)):
            super().admit_plain(fields)

    def _allows(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.allow_plain)

    def run(self) -> Any:
        """Run the job; a plain one in the system context."""
        if self.refusal is not None or self.snapshot is not None:
            return super().run()
        if path := _job_function(str(self.func_name), self.func):  # its module was only imported now
            refusal = _without_envelope(self.id, path)
            self._refuse(refusal)
            raise refusal
        if self.system_app is None:
            return self.execute_plain()
        return self._run_in(system_snapshot(self.system_app), "function", self.execute_plain)

    def begin_phase(self, phase: Phase) -> None:
        """Each part of a job has all of its time."""
        alarm.begin()

    def _run_in(self, snapshot: Snapshot, part: JobPart, call: Callable[[], Any]) -> Any:
        """As a library runs it; then look for what was left behind."""
        watch = Watch(app.host.app for app in registry.apps.values())
        known = len(self.leaks)
        try:
            result = super()._run_in(snapshot, part, call)
        finally:
            if left := watch.leaks():
                leaked.send(self.id, left=left)
                self.leaks = [*self.leaks, *left]
            for leak in left:
                _log.warning("job %s: %s", self.id, leak)
        if self.on_leak == "fail" and self.leaks[known:]:
            raise LeakError(self.id, "; ".join(self.leaks[known:]))
        return result


def worker_job(
    allow_plain: Sequence[str], system_app: str | None, on_leak: OnLeak = "log"
) -> type[WorkerJob]:
    """The job class of a worker with these settings; RQ makes the instances."""
    settings = {"allow_plain": tuple(allow_plain), "system_app": system_app, "on_leak": on_leak}
    return type("WorkerJob", (WorkerJob,), settings)


def _job_function(name: str, func: Any = None) -> str | None:
    """Path of the job function that *name* or *func* is, or is a part or an alias of; None if it is none."""
    for path, function in registry.functions.items():
        if name == path or name.startswith(path + ".") or func is function or func is function.func:
            return path
    return None


def _without_envelope(job_id: str, function: str) -> PlainJobError:
    return PlainJobError(
        job_id,
        f"{function} is a job function, and its job has no envelope: plain RQ or an older release wrote it",
        f"Enqueue it with {function.rpartition('.')[2]}.enqueue(...) or through ctxjobs.Queue.",
    )
