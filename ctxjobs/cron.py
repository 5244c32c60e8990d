"""``CronScheduler``: RQ's, whose jobs have a signed envelope and run in the contexts of their app.

Its state in Redis, its configuration and its clock are RQ's. May import the floor of ``jobs``; knows no
command line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import rq.cron
from redis import Redis
from rq.defaults import DEFAULT_RESULT_TTL
from rq.exceptions import DuplicateJobError
from rq.utils import now

from ctxjobs import rqcompat
from ctxjobs.errors import ConfigError, CronConfigError, CtxJobsError
from ctxjobs.functions import check_call
from ctxjobs.hosts import context_vars, run_clean
from ctxjobs.jobs import Enqueuer, JobFunction
from ctxjobs.registry import BoundApp, registry, short_traceback
from ctxjobs.running import cv_job
from ctxjobs.serializer import dump_call
from ctxjobs.triggers import triggered_by

if TYPE_CHECKING:
    from rq.job import Job

T = TypeVar("T")

_log = logging.getLogger("ctxjobs")


class CronScheduler(rq.cron.CronScheduler):
    """RQ's CronScheduler; its jobs run in the system context of their app, and were triggered by ``cron``.

    What RQ's ``register`` leaves open is as the options of ``@job`` say; the queue is always the one that it
    names. Plain functions become plain RQ jobs, as with RQ.

    Args:
        connection: Redis.
        logging_level: As for RQ's; its default is ``INFO``.
        name: As for RQ's.
        app: The app, bound, of functions under the unbound ``@ctxjobs.job``; others know theirs.

    Raises:
        ConfigError: *app* is not bound.
    """

    def __init__(
        self,
        connection: Redis,
        logging_level: str | int = logging.INFO,
        name: str = "",
        *,
        app: Any = None,
    ) -> None:
        super().__init__(connection, logging_level, name)
        self._app = None if app is None else registry.find(app)
        self._refused: Exception | None = None
        if app is not None and self._app is None:
            reason = "this app is not bound; call CtxJobs(app) or init_app(app) first."
            raise ConfigError("CronScheduler(app=...)", reason)

    def register(self, func: Any, queue_name: str, *args: Any, **options: Any) -> rq.cron.CronJob:
        """Have *func* enqueued again and again; the arguments are those of RQ's ``register``.

        Raises:
            ArgumentsError: A job function does not take the arguments.
            UnencodableValueError: One of these does not encode.
            UnboundJobError: It is bound to no app that is loaded, and the scheduler has none.
        """
        try:
            cron_job = super().register(func, queue_name, *args, **options)
            function = registry.functions.get(getattr(func, "path", ""))
            if function is not None and function is func:
                cron_job = ContextCronJob(cron_job, cast("JobFunction[Any, Any]", func), self._app)
                rqcompat.replace_last(self, cron_job)
        except Exception as exc:
            self._refused = exc  # RQ logs it and goes on, without this job
            raise
        return cron_job

    def load_config_from_file(self, config_path: str) -> None:
        """As RQ's; but every job of the file is registered, or none is run.

        Args:
            config_path: Path of the file, or dotted name of the module.

        Raises:
            CronConfigError: It cannot be imported, or RQ cannot register one of its jobs.
            ArgumentsError, UnencodableValueError: As for :meth:`register`.
        """
        self._refused = None
        try:
            super().load_config_from_file(config_path)
            if self._refused is not None:
                raise self._refused
        except CtxJobsError:
            raise
        except Exception as exc:
            raise CronConfigError(config_path, short_traceback(exc.__cause__ or exc)) from exc

    def enqueue_jobs(self) -> list[rq.cron.CronJob]:
        """As RQ's; a job that is there already, and is ``unique``, is left out this time."""
        enqueue_time = now()
        enqueued = []
        for cron_job in self.get_jobs():
            if cron_job.should_run():
                try:
                    cron_job.enqueue(self.connection)
                except DuplicateJobError as exc:
                    _log.info("cron: %s is not enqueued: %s", cron_job.name, exc)
                cron_job.set_enqueue_time(enqueue_time)
                enqueued.append(cron_job)
        return enqueued


class ContextCronJob(rq.cron.CronJob):
    """RQ's CronJob for a job function.

    Args:
        cron_job: What RQ has registered.
        function: The function.
        app: The app to enqueue for, if the function is bound to none.
    """

    def __init__(
        self, cron_job: rq.cron.CronJob, function: JobFunction[Any, Any], app: BoundApp | None
    ) -> None:
        vars(self).update(vars(cron_job))
        self._function, self._app = function, app
        # What could only fail later fails now.
        check_call(function, self.args, self.kwargs)
        dump_call(function.path, self.args, self.kwargs, function.parameters)
        _system(self._enqueuer().prepare)

    def enqueue(self, connection: Redis) -> Job:
        """As RQ's, whatever contexts are active here.

        Raises:
            DuplicateJobError: The function is ``unique``, and its job is there.
        """
        with connection.pipeline() as pipeline:
            enqueuer = self._enqueuer(connection).options(pipeline=pipeline)
            job = _system(lambda: enqueuer.enqueue(*self.args, **self.kwargs))
            rqcompat.record_cron_run(self, job, pipeline)
            pipeline.execute()
        _log.info("cron: %s is enqueued as job %s on %s", self.name, job.id, self.queue_name)
        return job

    def _enqueuer(self, connection: Redis | None = None) -> Enqueuer[Any]:
        options: Any = dict(self.job_options)
        if options.get("result_ttl") == DEFAULT_RESULT_TTL:
            del options["result_ttl"]  # RQ's register says this when nobody has said anything
        if "job_timeout" in options:
            options["timeout"] = options.pop("job_timeout")
        enqueuer = self._function.options(queue=self.queue_name, after="now", **options)
        return enqueuer if self._app is None else enqueuer.through(self._app, connection)


def _system(call: Callable[[], T]) -> T:
    """Make *call* outside of all contexts, as cron."""
    with triggered_by("cron"):
        return run_clean((*context_vars(), cv_job), call)
