"""What type checkers must know of job functions. Read by mypy and pyright, never run.

Each ``type: ignore`` marks a line that must be an error: both checkers complain about one that is not needed.
"""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta

from rq import Retry
from rq.job import Job
from typing_extensions import assert_type

import ctxjobs
from ctxjobs import CtxJobs, Override

jobs = CtxJobs()


@jobs.job
def bare(user_id: int, *, urgent: bool = False) -> str:
    return f"{user_id}{urgent}"


@ctxjobs.job(queue="mail", timeout=30, retry=Retry(max=3))
def with_options(name: str) -> None: ...


@jobs.job(unique=True)
async def asynchronous(n: int) -> float:
    return n / 2


def calls_keep_their_types() -> None:
    assert_type(bare(1), str)
    awaitable: Awaitable[float] = asynchronous(1)
    _ = awaitable
    bare("1")  # type: ignore[arg-type]


def enqueue_takes_the_functions_arguments() -> None:
    job: Job = bare.enqueue(1, urgent=True)
    _ = job
    bare.enqueue_in(timedelta(minutes=1), 1)
    bare.enqueue_in(60, 1)
    bare.options(queue="low", at_front=True).enqueue(1)
    with_options.enqueue_many([("a",), {"name": "b"}])
    bare.enqueue("1")  # type: ignore[arg-type]
    bare.enqueue(1, urgently=True)  # type: ignore[call-arg]
    with_options.enqueue()  # type: ignore[call-arg]
    asynchronous.enqueue_in(60)  # type: ignore[call-arg]


def options_are_known_by_name() -> None:
    bare.options(que="low")  # type: ignore[call-arg]
    bare.options(timeout=[])  # type: ignore[arg-type]
    bare.options(context=Override(user=1, g={"a": 1}, colour="red")).enqueue(1)
    bare.options(context={"user": 1})  # type: ignore[arg-type]
