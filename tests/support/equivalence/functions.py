"""The functions of plain RQ jobs, one for each thing that a job may do. They know RQ alone."""

from __future__ import annotations

import os
import pickle
import signal
import time
from typing import Any, NoReturn

import rq
from rq.command import send_kill_horse_command, send_stop_job_command
from rq.job import Job, Retry
from support.equivalence.states import LOOKS, read


def current() -> Job:
    job = rq.get_current_job()
    assert job is not None
    return job


# --- they return ----------------------------------------------------------------------------------


def nothing() -> None: ...


def value() -> dict[str, Any]:
    return {"answer": 42, "text": "süß"}


def same(value: Any) -> Any:
    return value


async def coroutine() -> int:
    return 42


def unserializable() -> Any:
    return lambda: None


def retry(**options: Any) -> Retry:
    return Retry(**options)


def retry_once() -> Retry | str:
    return "done" if current().number_of_retries else Retry(max=3)


# --- they do not ----------------------------------------------------------------------------------


def boom() -> NoReturn:
    raise ValueError("the job failed")


def exits() -> NoReturn:
    raise SystemExit(3)


def sleeps() -> None:
    time.sleep(30)


def stopped() -> None:
    job = current()
    send_stop_job_command(job.connection, job.id)
    time.sleep(30)


def killed_by_command() -> None:
    job = current()
    assert job.worker_name is not None
    send_kill_horse_command(job.connection, job.worker_name)
    time.sleep(30)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# --- they change their own job --------------------------------------------------------------------


def saves_meta() -> None:
    job = current()
    job.meta["progress"] = 50
    job.save_meta()


def changes_meta() -> None:
    current().meta["progress"] = 50


def describes() -> None:
    current().description = "described by itself"


def keeps_longer() -> None:
    current().result_ttl = 1000


def fails_and_keeps_longer() -> NoReturn:
    current().failure_ttl = 1000
    boom()


def cancels_itself() -> None:
    Job.fetch(current().id, current().connection).cancel()


def deletes_itself() -> None:
    Job.fetch(current().id, current().connection).delete()


def deletes_itself_and_fails() -> NoReturn:
    deletes_itself()
    boom()


def enqueues_dependent() -> None:
    job = current()
    rq.Queue(job.origin, connection=job.connection).enqueue(nothing, depends_on=job, job_id=f"{job.id}-next")


# --- they look ------------------------------------------------------------------------------------


def looks() -> None:
    """Write down all that is in Redis now."""
    job = current()
    job.connection.hset(LOOKS, job.id, pickle.dumps(read(job.connection)))


def looks_and_fails() -> NoReturn:
    looks()
    boom()


# --- callbacks ------------------------------------------------------------------------------------


def on_success(job: Job, connection: Any, result: Any) -> None:
    connection.rpush(f"called:{job.origin}", f"success {job.id} {result!r}")


def on_failure(job: Job, connection: Any, *exc_info: Any) -> None:
    kind = getattr(exc_info[0], "__name__", None)
    connection.rpush(f"called:{job.origin}", f"failure {job.id} {kind}")


def on_stopped(job: Job, connection: Any) -> None:
    connection.rpush(f"called:{job.origin}", f"stopped {job.id}")


def on_any_raising(job: Job, connection: Any, *args: Any) -> NoReturn:
    raise KeyError("the callback failed")


class Counter:
    """Has a method to be enqueued."""

    def __init__(self, start: int) -> None:
        self.start = start

    def add(self, number: int) -> int:
        return self.start + number
