"""A child: the worker of one forked process, which has a supervisor.

The supervisor gives its signs of life, takes leases back when a job turns out long, ends what takes too long,
and listens to RQ's commands; the child runs jobs, and says in its slot which. May import the worker and what
is below it; knows neither the loader nor the supervisor, but the slot that they share.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Final

from redis import Redis
from rq.worker import DequeueStrategy

from ctxjobs.coroutines import KeptLoop
from ctxjobs_worker.alarm import alarm
from ctxjobs_worker.cycle import LEASE_S
from ctxjobs_worker.employer import Performs
from ctxjobs_worker.exchange import Exchange
from ctxjobs_worker.isolation import IsolatedPerformer
from ctxjobs_worker.options import Remains, WorkerOptions
from ctxjobs_worker.perform import Outcome
from ctxjobs_worker.remains import is_started, look_after
from ctxjobs_worker.settling import Settler
from ctxjobs_worker.slots import ORDER_MAINTENANCE, REPORT_SIGNAL, Slot
from ctxjobs_worker.worker import Worker

#: How often a child looks how much memory it has, in seconds.
_LOOK_S: Final = 0.1
_MIB: Final = 1024 * 1024


class Child(Worker):
    """RQ's worker, in a child of a supervisor.

    Args:
        options: What the supervisor was asked to do.
        name: Its name in RQ.
        token: 16 hexadecimal digits of this process; the beginning of its execution ids.
        connection: Redis.
        slot: This process' slot.
        system_app: Id of the app whose system context plain jobs run in.
        remains: What is left to do for jobs whose process is gone, before anything else.
    """

    _takes_leases: ClassVar[bool] = True
    #: A terminal's Ctrl-C reaches the whole group, and the supervisor answers it.
    _stop_signals: ClassVar[Sequence[signal.Signals]] = (signal.SIGTERM,)

    def __init__(
        self,
        options: WorkerOptions,
        name: str,
        token: str,
        connection: Redis,
        slot: Slot,
        system_app: str,
        remains: Sequence[Remains] = (),
    ) -> None:
        super().__init__(
            list(options.queues),
            name=name,
            connection=connection,
            worker_ttl=LEASE_S,  # and a minute, after which RQ forgets a worker that gives no sign of life
            allow_plain=options.allow_plain,
            system_app=system_app,
            on_leak=options.on_leak,
        )
        self._options = options
        self._token = token
        self._own_slot = slot
        self._remains = remains
        self._looked_at = 0.0
        self.is_worn = False
        alarm.on_set = self._set_deadline
        KeptLoop(_run_task)

    def _before_loop(self, exchange: Exchange) -> None:
        """Do what is left to do for jobs whose process is gone."""
        for number, remains in enumerate(self._remains, start=1):
            is_held = partial(_is_started, remains, self.connection)
            look_after(remains, self, Settler(self, exchange.pause, is_held))
            self._own_slot.set_looked_after(number)

    def run(self, *, only_remains: bool) -> None:
        """Look after what remains; unless that is all, run jobs until told to stop."""
        options = self._options
        limit = options.max_jobs_per_child
        if only_remains:
            limit = 0
        self.work(
            burst=options.burst,
            logging_level=options.logging_level,
            max_jobs=limit,
            dequeue_strategy=DequeueStrategy(options.dequeue_strategy),
        )
        if only_remains:
            self.is_stopping = True
        elif limit is not None and self._engine is not None and self._engine.jobs >= limit:
            self.is_worn = True

    # --- the slot -------------------------------------------------------------------------

    def _slot(self) -> Slot:
        return self._own_slot

    def _set_deadline(self, seconds: float | None) -> None:
        grace_s = self._options.kill_grace_s
        self._own_slot.set_deadline(0.0 if seconds is None else time.monotonic() + seconds + grace_s)

    def between_jobs(self) -> None:
        """Also clean up when the supervisor wants it."""
        if self._own_slot.take_orders(ORDER_MAINTENANCE):
            self.last_cleaned_at = None
        super().between_jobs()

    def tell(self, outcome: Outcome) -> None:
        """As the worker's; then see whether this process has had its time."""
        super().tell(outcome)
        limit_mib = self._options.max_memory_mib
        if limit_mib is not None and time.monotonic() - self._looked_at >= _LOOK_S:
            self._looked_at = time.monotonic()
            if (has_mib := resident_bytes() / _MIB) > limit_mib:
                self.log.info("Worker %s: has %d MiB; another child takes its place", self.name, has_mib)
                self.is_worn = self.is_stopping = True

    # --- what the supervisor does ---------------------------------------------------------

    def subscribe(self) -> None:
        """The supervisor listens to commands."""

    def unsubscribe(self) -> None:
        """It goes on listening."""

    def _make_performer(self) -> Performs:
        performer = super()._make_performer()
        return IsolatedPerformer(performer, self, self._own_slot) if self._options.isolate else performer

    def _signs_of_life(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def _install_signal_handlers(self) -> None:
        self.listen_for_stop()

    def listen_for_stop(self) -> None:
        """Answer signals from now on."""
        signal.signal(signal.SIGTERM, self.request_stop)
        signal.signal(REPORT_SIGNAL, self._report)

    def _report(self, signum: int, frame: FrameType | None) -> None:
        """The job that runs has turned out long: report those before it."""
        if self._engine is not None:
            self._engine.report()

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Record the wish to stop; who wants an end at once kills this process."""
        if not self.is_stopping:
            super().request_stop(signum, frame)

    def _set_connection(self, connection: Redis) -> Redis:
        return connection  # which has time limits of ours


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> None:
    loop.call_soon_threadsafe(task.cancel)


def _run_task(task: asyncio.Task[Any], run: Callable[[], Any]) -> Any:
    """Run *task*; its time being over, it is cancelled."""
    with alarm.cancelling(partial(_cancel, task.get_loop(), task)):
        return run()


def _is_started(remains: Remains, connection: Redis, execution_id: str) -> bool:
    return is_started(remains, connection)


def resident_bytes() -> int:
    """How much memory this process holds now; where the system does not tell, the most that it ever held."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")
