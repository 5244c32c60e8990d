"""Jobs of the tests of inline mode and of the leak detector; each notes what it has seen."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from rq import Retry
from support.both_hosts import WEBS, Web

from ctxjobs import current_job, job

#: What happened, in order; emptied by each test.
events: list[Any] = []
#: Threads that a job has left wait for this.
released = threading.Event()


def active_web() -> Web:
    """The framework whose contexts the code runs in."""
    return next(web for web in WEBS.values() if web.module.has_app_context())


class BoomError(Exception):
    """What the jobs raise."""


def create_app(host: str) -> Any:
    """An app for a worker of these jobs."""
    return WEBS[host].app("leaky")


@job
def note(number: int = 0) -> int:
    web = active_web()
    events.append((number, getattr(web.g, "tenant", None), web.module.has_request_context()))
    return number


@job
def fail(times: int = 100) -> str:
    events.append("fail")
    if events.count("fail") <= times:
        raise BoomError(f"attempt {events.count('fail')}")
    return "at last"


@job
def put_back(times: int) -> Any:
    events.append("put back")
    return "at last" if events.count("put back") > times else Retry(max=5)


@job
def nest(depth: int) -> str:
    events.append(current_job.snapshot.lineage.hop)
    return str(nest.enqueue(depth - 1).get_status()) if depth else "end"


@job
async def in_a_loop() -> str:
    await asyncio.sleep(0)
    return str(active_web().g.tenant)


@job
def change_g_and_meta() -> None:
    active_web().g.tenant = "changed"
    current_job.meta["progress"] = 50
    current_job.save_meta()


def on_success(job: Any, connection: Any, result: Any) -> None:
    events.append(("success", result, active_web().g.tenant))


def on_failure(job: Any, connection: Any, *exc_info: Any) -> None:
    events.append(("failure", str(exc_info[1]), active_web().g.tenant))


@job
def leave_a_thread() -> None:
    threading.Thread(target=released.wait, name="poller").start()


@job
def which_process() -> int:
    return os.getpid()


@job
def leave_a_daemon_thread() -> None:
    threading.Thread(target=released.wait, name="service", daemon=True).start()


async def tick() -> None:
    await asyncio.sleep(60)  # the loop keeps it; what waits for an Event alone may be collected as garbage


@job
async def leave_a_task() -> None:
    left = asyncio.create_task(tick(), name="ticker")
    await asyncio.sleep(0)
    events.append(left.get_name())


@job
def leave_a_context() -> None:
    active_web().module.current_app.app_context().push()


@job
def leave_a_context_of_another_app(host: str) -> None:
    WEBS[host].App("other").app_context().push()
