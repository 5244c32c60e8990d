"""The app ``faults``, and its jobs: each notes in the ledger when it starts and when it has done its work."""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from support.faults.failpoints import IN_A_JOB, reach, strike
from support.faults.ledger import Ledger

from ctxjobs import App, CtxJobs, current_job, g, register_propagator

APP_ID_VARIABLE = "FAULTS_APP_ID"
OPTIONS = ("--app", "support.faults.app:create_app()")

jobs = CtxJobs()


class PlannedError(Exception):
    """What a job raises that is to fail."""


def create_app(*, app_id: str = "", redis_url: str | None = None) -> App:
    """The app of one bench; a worker is told its id by its environment."""
    app = App(__name__)
    app_id = app_id or os.environ[APP_ID_VARIABLE]
    app.config.update(SECRET_KEY="k1", CTXJOBS_APP_ID=app_id, CTXJOBS_REDIS_URL=redis_url)
    app.teardown_appcontext(lambda exc: _overrun("teardown"))
    jobs.init_app(app)
    return app


# --- jobs that work -------------------------------------------------------------------------


@jobs.job
def work(number: int, ms: int = 0) -> int:
    _start(number)
    time.sleep(ms / 1000)
    return _end(number)


@jobs.job
async def work_async(number: int, ms: int = 0) -> int:
    _start(number)
    await asyncio.sleep(ms / 1000)
    return _end(number)


@jobs.job
def fail(number: int, ms: int = 0) -> None:
    _start(number)
    time.sleep(ms / 1000)
    _end(number)
    raise PlannedError("as planned")


@jobs.job
def flaky(number: int, ms: int = 0) -> int:
    """Fail as long as there are retries left."""
    _start(number)
    time.sleep(ms / 1000)
    _end(number)
    if current_job.retries_left:
        raise PlannedError("as planned, and once more")
    return number


def _start(number: int) -> None:
    Ledger.here().note(number, "start", _retries_left())
    reach(IN_A_JOB)


def _end(number: int) -> int:
    Ledger.here().note(number, "end", _retries_left())
    return number


def _retries_left() -> int:
    return current_job.retries_left or 0


# --- jobs that leave something behind -------------------------------------------------------

_left: list[object] = []


@jobs.job
def leak(number: int, mib: int) -> int:
    """Hold so much memory for as long as the process lives."""
    _start(number)
    _left.append(bytearray(b"x") * (mib << 20))
    return _end(number)


@jobs.job
def leave_thread(number: int, ms: int = 0) -> int:
    """Leave a thread behind that never ends."""
    _start(number)
    threading.Thread(target=threading.Event().wait, name="left", daemon=False).start()
    return _end(number)


@jobs.job
def exhaust(number: int, mib: int) -> int:
    """Want more memory than this process may have."""
    _start(number)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (mib << 20, limits[1]))
    try:
        return len(bytearray(mib << 20)) and _end(number)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


# --- jobs that take longer than they may ----------------------------------------------------

#: Where a job overruns its time limit.
PARTS = ("restore", "the job", "the coroutine", "the success callback", "the failure callback", "teardown")


@jobs.job
def overrun(number: int, part: str) -> None:
    """Take too long in this part of the job, which ``g`` names, too."""
    _start(number)
    _overrun("the job")
    _end(number)
    if part == "the failure callback":
        raise PlannedError("as planned")


@jobs.job
async def overrun_async(number: int, part: str) -> None:
    """Take too long as a coroutine."""
    _start(number)
    await asyncio.sleep(60)
    _end(number)


def overrun_success_callback(job: Any, connection: Any, result: Any) -> None:
    _overrun("the success callback")


def overrun_failure_callback(job: Any, connection: Any, *exc_info: Any) -> None:
    _overrun("the failure callback")


def _overrun(part: str) -> None:
    if g.get("overruns") == part and current_job:
        time.sleep(60)


class _OverrunPropagator:
    """Takes too long to restore what it carries."""

    name = "faults-overrun"
    essential = True

    def wanted(self, host: Any) -> bool:
        return bool(host.app.import_name == __name__)

    def capture(self, active: Any) -> str | None:
        part: str | None = g.get("overruns")
        return part if part == "restore" else None

    def restore(self, value: str, active: Any) -> None:
        time.sleep(60)


register_propagator(_OverrunPropagator())


# --- jobs that end their process ------------------------------------------------------------


def _hang_in_c() -> None:
    """Hold the interpreter in one call that looks at no signal."""
    sum(range(10**14))


def _be_killed_for_memory() -> None:
    """Stands for the kernel that is out of memory: it sends SIGKILL, from outside, at any line."""
    subprocess.Popen(["sh", "-c", "kill -9 $PPID"])
    signal.pause()


ENDINGS: dict[str, Callable[[], Any]] = {
    "segfault": lambda: ctypes.string_at(0),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(3)": lambda: os._exit(3),
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "out-of-memory": _be_killed_for_memory,
    "hang": _hang_in_c,
}


@jobs.job
def end_process(number: int, how: str) -> None:
    """End the process in the way *how*, with all that it holds."""
    _start(number)
    sys.stdout.flush()
    strike(how, ENDINGS[how])
