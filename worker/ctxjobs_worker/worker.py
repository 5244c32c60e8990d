"""``Worker``: RQ's worker, on the engine. One process that runs jobs, one after the other.

Built as RQ builds its own, it runs plain RQ jobs as RQ does, and obeys RQ's commands. Where a subclass or a
patch gives one of RQ's hooks another meaning, RQ's own loop runs. May import the engine and what is below it;
knows no supervisor: :mod:`ctxjobs_worker.child` has one.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, ClassVar, Final

from redis.exceptions import RedisError
from rq.defaults import DEFAULT_LOGGING_DATE_FORMAT, DEFAULT_LOGGING_FORMAT
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.timeouts import BaseDeathPenalty, UnixSignalDeathPenalty
from rq.utils import now
from rq.worker import DequeueStrategy, WorkerStatus

from ctxjobs.keys import ENVELOPE_FIELD, leases_key
from ctxjobs.rqcompat.execution import (
    clean_registries,
    hooks_of,
    overridden_hooks,
    performs_in_its_own_way,
    read_job,
    register_again,
)
from ctxjobs.rqjob import ContextJob, Queue
from ctxjobs_worker.alarm import AlarmPenalty, alarm
from ctxjobs_worker.beats import Beats
from ctxjobs_worker.cycle import Identity, Taken
from ctxjobs_worker.employer import Performs
from ctxjobs_worker.engine import Engine, Limits
from ctxjobs_worker.exchange import Exchange
from ctxjobs_worker.hooked import HookedPerformer, TellsOutcomes
from ctxjobs_worker.options import OnLeak
from ctxjobs_worker.perform import JobKilled, Outcome, Performer, StopNow
from ctxjobs_worker.settling import Settler
from ctxjobs_worker.slots import Slot, Slots
from ctxjobs_worker.workerjob import worker_job

#: Within this time, a second signal is the first one once more: a terminal's, and a process manager's.
SAME_SIGNAL_S: Final = 1.0
#: How long a clean-up waits that Redis has not let through.
_MAINTENANCE_PAUSE_S: Final = 10.0


class Worker(TellsOutcomes):
    """RQ's worker; runs jobs in this process, inside the contexts that they were enqueued in.

    Args:
        args: As for RQ's worker.
        allow_plain: Patterns of the functions that plain RQ jobs may call; None allows all of them,
            without contexts.
        system_app: Id of the app whose system context plain jobs run in; needed with *allow_plain*.
        on_leak: What to do about a job that left something behind: ``log`` it, also end after it to be
            replaced (``recycle``), or also ``fail`` it.
        kwargs: As for RQ's worker.

    Attributes:
        is_stopping: Whether it was asked to stop.
        is_spoilt: Whether the loop ended because a job left something behind.
        penalty: How time is limited.
    """

    #: Whether somebody takes leases back from this worker when a job turns out long; else it takes none.
    _takes_leases: ClassVar[bool] = False
    #: What asks it to stop. RQ's shutdown command is a SIGINT, so it is heard even where a shell ignores it.
    _stop_signals: ClassVar[Sequence[signal.Signals]] = (signal.SIGTERM, signal.SIGINT)

    def __init__(
        self,
        *args: Any,
        allow_plain: Sequence[str] | None = None,
        system_app: str = "",
        on_leak: OnLeak = "log",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        patterns = ("*",) if allow_plain is None else allow_plain
        self._context_class = worker_job(patterns, system_app or None, on_leak)
        self._plain_class = self.job_class if allow_plain is None else self._context_class
        self._on_leak = on_leak
        self._token = secrets.token_hex(8)
        self._running: Job | None = None
        self._engine: Engine | None = None
        self._exchange: Exchange | None = None
        self._stop_asked_at = 0.0
        self._cleaned_at = 0.0
        self._leases = leases_key(self.name)
        self.penalty: type[BaseDeathPenalty] = self.death_penalty_class
        self._wakeup, self._wake = os.pipe()
        for descriptor in (self._wakeup, self._wake):
            os.set_blocking(descriptor, False)
        self.is_stopping = False
        self.is_spoilt = False

    def __del__(self) -> None:
        for descriptor in (getattr(self, "_wakeup", None), getattr(self, "_wake", None)):
            if descriptor is not None:
                os.close(descriptor)

    # --- the loop -------------------------------------------------------------------------

    def work(
        self,
        burst: bool = False,
        logging_level: str | None = None,
        date_format: str = DEFAULT_LOGGING_DATE_FORMAT,
        log_format: str = DEFAULT_LOGGING_FORMAT,
        max_jobs: int | None = None,
        max_idle_time: int | None = None,
        with_scheduler: bool = False,
        dequeue_strategy: DequeueStrategy = DequeueStrategy.DEFAULT,
    ) -> bool:
        """As RQ's.

        Raises:
            SystemExit: It was told twice to stop; its job was given back.
        """
        if hooks := overridden_hooks(self, _HOOKS):
            self.log.info("Worker %s: RQ's own loop runs, because of %s", self.name, ", ".join(hooks))
            if self.job_class is Job:
                self.job_class = self._context_class
            return bool(
                super().work(
                    burst, logging_level, date_format, log_format, max_jobs, max_idle_time, with_scheduler,
                    dequeue_strategy,
                )
            )  # fmt: skip
        rq_worker = _untyped(self)
        rq_worker.bootstrap(logging_level, date_format, log_format)
        self._dequeue_strategy = dequeue_strategy
        if with_scheduler:
            rq_worker._start_scheduler(burst, logging_level, date_format, log_format)  # noqa: SLF001 - ours, by inheritance
        self._install_signal_handlers()
        try:
            with self._signs_of_life():
                return bool(self._run_engine(Limits(burst, max_jobs, max_idle_time)))
        finally:
            rq_worker.teardown()

    def _run_engine(self, limits: Limits) -> int:
        self._exchange = exchange = self._make_exchange()
        performer = self._make_performer()
        self._engine = engine = Engine(
            self, exchange, performer, self._slot(), takes_leases=self._takes_leases
        )
        try:
            self._before_loop(exchange)
            return engine.run(limits)
        except StopNow:
            raise
        except Exception:
            self.log.error("Worker %s: found an unhandled exception, quitting...", self.name, exc_info=True)
            return engine.jobs

    def _before_loop(self, exchange: Exchange) -> None:
        """What is to be done before the first job."""

    def _make_performer(self) -> Performs:
        self.penalty = self.death_penalty_class
        if self.penalty is UnixSignalDeathPenalty:
            alarm.install()
            self.penalty = AlarmPenalty
        settings = (
            self.name,
            self.queue_class.DEFAULT_TIMEOUT,
            self.default_result_ttl,
            self.penalty,
            not self.disable_default_exception_handler,
            self.running,
        )
        is_wrapped = performs_in_its_own_way(self)
        return HookedPerformer(*settings, worker=self) if is_wrapped else Performer(*settings)

    def _make_exchange(self) -> Exchange:
        return Exchange(
            self,
            Identity(self.name, self._token, tuple(self.queue_names())),
            self.connection,
            lambda pause: Settler(self, pause),
            wakeup=self._wakeup,
            worker_ttl=self.worker_ttl + 60,
            in_turn=self._dequeue_strategy == DequeueStrategy.ROUND_ROBIN,
        )

    def _signs_of_life(self) -> AbstractContextManager[Any]:
        return Beats(self.connection, self.name, self.job_monitoring_interval, self.worker_ttl + 60)

    def _slot(self) -> Slot:
        return Slots(1)[0]

    @property
    def is_done(self) -> bool:
        """Whether the loop ended because it was asked to, or because the queues were empty.

        RQ's loop ends over an error in the same way, and logs it.
        """
        return self.is_stopping or (self._engine is not None and self._engine.queues_were_empty)

    # --- what the engine asks for ---------------------------------------------------------

    def read(self, taken: Taken) -> Job | None:
        """The job that *taken* is, verified or refused; None if RQ knows no such job."""
        has_envelope = ENVELOPE_FIELD.encode() in taken.fields
        job_class = self._context_class if has_envelope else self._plain_class
        try:
            try:
                job = self._read_as(job_class, taken)
            except NoSuchJobError:
                raise
            except Exception:  # noqa: BLE001 - whatever RQ says of fields: ours refuses the job, and says why
                job = self._read_as(self._context_class, taken)
        except NoSuchJobError:
            return None
        if isinstance(job, ContextJob):
            job.check_queue(taken.queue)
        return job

    def _read_as(self, job_class: type[Job], taken: Taken) -> Job:
        return read_job(job_class, taken.job_id, taken.fields, self.connection, self.serializer)

    def queue_for(self, taken: Taken, job: Job) -> Any:
        """RQ's queue, of the class that knows jobs like this one."""
        if isinstance(job, ContextJob):
            return Queue(taken.queue, connection=self.connection, job_class=self._context_class)
        return next(queue for queue in self.queues if queue.name == taken.queue)

    def running(self, job: Job | None) -> None:
        """*job* runs from now on; None: none does."""
        self._running = job

    def tell(self, outcome: Outcome) -> None:
        """Log what became of a job, and let exception handlers know."""
        job = outcome.job
        if outcome.how == "killed":
            self._tell_killed(outcome)
        elif outcome.exc_info is not None and not outcome.is_handled:
            self.handle_exception(job, *outcome.exc_info)
        if isinstance(job, ContextJob) and job.leaks and self._on_leak == "recycle":
            self.is_spoilt = self.is_stopping = True
        if job.started_at is not None and job.ended_at is not None:
            took_ms = (job.ended_at - job.started_at).total_seconds() * 1000
            described = f"{job.description} ({job.id})" if self.log_job_description else job.id
            self.log.info("%s: %s %s in %.1f ms", outcome.taken.queue, described, outcome.how, took_ms)

    def _tell_killed(self, outcome: Outcome) -> None:
        job = outcome.job
        if self._stopped_job_id == job.id:
            outcome.exc_string = "Job stopped by user, work-horse terminated."
            if job.stopped_callback is not None:
                job.execute_stopped_callback(self.penalty)
        else:
            outcome.exc_string = "Work-horse terminated unexpectedly; it was killed by a command."
            _untyped(self).handle_work_horse_killed(job, os.getpid(), signal.SIGKILL, None)

    def queue_order(self) -> Sequence[str]:
        """The queues, by RQ's dequeue strategies."""
        if self._dequeue_strategy == DequeueStrategy.RANDOM:
            random.shuffle(self._ordered_queues)
        return [queue.name for queue in self._ordered_queues]

    def took_from(self, queue: str) -> None:
        """The next turn is that of the queue after *queue*."""
        if self._dequeue_strategy == DequeueStrategy.ROUND_ROBIN:
            names = [one.name for one in self._ordered_queues]
            after = names.index(queue) + 1
            self._ordered_queues = self._ordered_queues[after:] + self._ordered_queues[:after]

    def between_jobs(self) -> None:
        """Clean up RQ's registries, now and then."""
        if (
            not self.should_run_maintenance_tasks
            or time.monotonic() < self._cleaned_at + _MAINTENANCE_PAUSE_S
        ):
            return
        self._cleaned_at = time.monotonic()
        try:
            _untyped(self).run_maintenance_tasks()
        except RedisError as exc:
            self.log.warning("Worker %s: could not clean up registries (%s); trying again", self.name, exc)
        if self.penalty is AlarmPenalty:
            alarm.install()  # callbacks of abandoned jobs have had RQ's time limit, which resets the signal

    def clean_registries(self) -> None:
        """As RQ's, by the clock of Redis."""
        clean_registries(self)

    def show(self, state: str) -> None:
        """Show RQ that this worker is in this state."""
        try:
            self.set_state(WorkerStatus(state))
        except RedisError as exc:
            self.log.warning("Worker %s: could not say that it is %s (%s)", self.name, state, exc)

    def register(self) -> None:
        """Register again: RQ knows this worker no more."""
        try:
            register_again(self)
        except RedisError as exc:
            self.log.warning("Worker %s: could not register again (%s); trying again", self.name, exc)

    def cleanup_execution(self, job: Job, pipeline: Any) -> None:
        """As RQ's, which every handler calls in its transaction; the lease is forgotten there, too."""
        execution = self.execution
        super().cleanup_execution(job, pipeline)
        if execution is not None and self._exchange is not None:
            pipeline.hdel(self._leases, execution.id)
            if self._exchange.next_job_id is not None:
                self.set_current_job_id(self._exchange.next_job_id, pipeline)
            self.execution = execution  # RQ tries again after a WatchError, and would not find it (rq#2424)

    def holds(self, execution_id: str) -> bool:
        """Whether this worker holds an execution, so that nothing of its outcome is in Redis yet."""
        return bool(self.connection.hexists(self._leases, execution_id))

    def forget(self, execution_id: str) -> None:
        """Give no signs of life of an execution any more; RQ's clean-up ends it then."""
        self.connection.hdel(self._leases, execution_id)

    @contextmanager
    def in_place_of(self, worker: str) -> Iterator[None]:
        """Inside this block, what handlers end was a lease of *worker*, which is gone."""
        own, self._leases = self._leases, leases_key(worker)
        try:
            yield
        finally:
            self._leases = own

    def execute_job(self, job: Job, queue: Any) -> None:
        """As RQ's, in RQ's own loop; a refused job fails in the queue that it was found in."""
        if isinstance(job, ContextJob):
            job.check_queue(queue.name)
        super().execute_job(job, queue)

    # --- signals and commands -------------------------------------------------------------

    def _install_signal_handlers(self) -> None:
        for signum in self._stop_signals:
            signal.signal(signum, self.request_stop)

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Record the wish to stop; the loop acts on it between two jobs. A second one stops at once.

        RQ raises from the signal handler, at whatever line runs, and loses the job that was just taken
        (measured: 12 of 80 stops under load).

        Raises:
            StopNow: It was asked before; what is held goes back to its queues.
        """
        self.wake()
        if not self.is_stopping:
            self.is_stopping = True
            self._stop_asked_at = time.monotonic()
            self._shutdown_requested_date = now()
            self._stop_requested = self._running is not None
            _untyped(self).handle_warm_shutdown_request()
        elif time.monotonic() - self._stop_asked_at >= SAME_SIGNAL_S:
            raise StopNow

    def wake(self) -> None:
        """End a wait for jobs."""
        try:
            os.write(self._wake, b"!")
        except BlockingIOError:
            return  # it is awake

    @property
    def horse_pid(self) -> int:
        """The process that runs a job: this one, or RQ's horse; 0 if none does."""
        return self._horse_pid or (os.getpid() if self._running is not None else 0)

    def kill_horse(self, sig: signal.Signals = signal.SIGKILL) -> None:
        """End the job that runs; RQ's commands do, from a thread of their own."""
        if self._horse_pid or self._running is None:
            super().kill_horse(sig)
            return
        running = self._running
        alarm.kill_by(lambda: JobKilled() if self._running is running else None)

    def teardown(self) -> None:
        """As RQ's; also tells when it was asked to stop."""
        if self._stop_requested and self._shutdown_requested_date is not None:
            _untyped(self).set_shutdown_requested_date()
        _untyped(super()).teardown()


#: RQ's hooks, as they are where nobody else has touched them.
_HOOKS: Final = hooks_of(Worker)


def _untyped(worker: Any) -> Any:
    """*worker*, for the methods of RQ's that have no types."""
    return worker
