"""A worker in the process of the test, and what it left in Redis, read without ctxjobs."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import rq

from ctxjobs_worker.worker import Worker


class QuietWorker(Worker):
    """Listens to no commands of RQ: to stop listening takes RQ a second."""

    def subscribe(self) -> None: ...

    def unsubscribe(self) -> None: ...


def work(
    connection: redis.Redis,
    *,
    queue: str = "default",
    allow_plain: tuple[str, ...] = (),
    system_app: str = "depot",
    worker_class: type[Worker] = QuietWorker,
) -> None:
    """Run one worker until the queue is empty.

    Args:
        connection: Its Redis.
        queue: Name of the only queue.
        allow_plain: Patterns of the plain functions that it runs.
        system_app: Id of the app in whose context these run.
        worker_class: The class of the worker.
    """
    with _own_signal_handlers():
        worker = worker_class([queue], connection=connection, allow_plain=allow_plain, system_app=system_app)
        worker.work(burst=True, logging_level=None)  # what the process says about logs stays


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put back the handlers that a worker replaces."""
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def fields_of(connection: redis.Redis, job_id: str) -> dict[str, bytes]:
    """The hash of a job, as it stands."""
    return {name.decode(): value for name, value in connection.hgetall(f"rq:job:{job_id}").items()}


def status(connection: redis.Redis, job_id: str) -> str:
    """What the hash of a job says about its state."""
    return fields_of(connection, job_id).get("status", b"(no job)").decode()


def why_failed(connection: redis.Redis, job_id: str) -> str:
    """The traceback that RQ keeps of a job's latest failure; empty if there is none."""
    result = rq.job.Job(job_id, connection=connection).latest_result()
    return "" if result is None else str(result.exc_string or "")
