"""Where the time of one job goes in a worker: CPU of each step, and of Redis.

Prints one table; ``bench/README.md`` says how to read it. Not a test: it asserts nothing, and needs Flask.
"""

from __future__ import annotations

import argparse
import gc
import logging
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import msgspec
import redis
from enqueue import free_port, make_app, note, typical_request
from snapshot import HEADERS
from werkzeug.test import EnvironBuilder

import ctxjobs
from ctxjobs.embedded import EmbeddedRedis
from ctxjobs_worker.alarm import AlarmPenalty
from ctxjobs_worker.cycle import Taken
from ctxjobs_worker.exchange import done_of
from ctxjobs_worker.perform import Performer
from ctxjobs_worker.worker import Worker

jobs = ctxjobs.CtxJobs()


@jobs.job
def note_natively(a: int, b: int) -> int:
    """The job of the native app."""
    return b


class LeasingWorker(Worker):
    """A worker that takes several jobs at a time, as a child of a supervisor does."""

    _takes_leases = True

    def subscribe(self) -> None: ...

    def unsubscribe(self) -> None: ...


class Steps:
    """The steps of one job that stands in Redis, each as a function.

    Args:
        connection: Its Redis.
        job_id: The job.
    """

    def __init__(self, connection: redis.Redis, job_id: str) -> None:
        self._worker = LeasingWorker(["default"], connection=connection, allow_plain=())
        self._performer = Performer(self._worker.name, 180, 500, AlarmPenalty)
        self._fields = connection.hgetall(f"rq:job:{job_id}")
        self._job_id = job_id
        self._taken = self._take()
        self._outcome = self.read_and_perform()

    def _take(self) -> Taken:
        return Taken("default", self._job_id, "a" * 32, self._fields, True, time.monotonic())

    def read(self) -> Any:
        return self._worker.read(self._taken)

    def read_and_perform(self) -> Any:
        return self._performer.perform(self._taken, self._worker.read(self._taken), "1.0")

    def report(self) -> Any:
        return msgspec.msgpack.encode(done_of(self._outcome))


def cpu_us(call: Callable[[], Any], calls: int) -> float:
    """Microseconds of CPU that *call* takes: the median of a dozen measurements."""
    call()
    times = []
    for _ in range(12):
        before = time.process_time()
        for _ in range(calls):
            call()
        times.append((time.process_time() - before) / calls)
    return statistics.median(times) * 1e6


def burst_us(connection: redis.Redis, enqueue: Callable[[int], Any], count: int) -> tuple[float, float]:
    """Microseconds of CPU for each of *count* jobs in a burst: of the worker, and of Redis."""
    enqueue(count)
    worker = LeasingWorker(["default"], connection=connection, allow_plain=())
    redis_before, before = _redis_cpu_s(connection), time.process_time()
    worker.work(burst=True)
    own_s, redis_s = time.process_time() - before, _redis_cpu_s(connection) - redis_before
    return own_s / count * 1e6, redis_s / count * 1e6


def _redis_cpu_s(connection: redis.Redis) -> float:
    info: Any = connection.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def measure_flask(url: str, connection: redis.Redis, calls: int, count: int) -> dict[str, float]:
    """A Flask app, a whole request."""
    app = make_app(url)
    environ = EnvironBuilder("/order/3?page=2", headers=dict(HEADERS)).get_environ()

    def bare() -> None:
        with app.request_context(dict(environ)):
            pass

    def enqueue(count: int) -> None:
        with typical_request(app):
            note.enqueue_many((n, n + 1) for n in range(count))

    with typical_request(app):
        steps = Steps(connection, note.enqueue(1, 2).id)
    return _measure(steps, bare, enqueue, connection, calls, count)


def measure_native(url: str, connection: redis.Redis, calls: int, count: int) -> dict[str, float]:
    """A native app, an application context."""
    app = ctxjobs.App("bench-steps")
    app.config.update(SECRET_KEY="b" * 32, CTXJOBS_APP_ID="bench-steps", CTXJOBS_REDIS_URL=url)
    jobs.init_app(app)

    def bare() -> None:
        with app.app_context():
            pass

    def enqueue(count: int) -> None:
        with app.app_context():
            note_natively.enqueue_many((n, n + 1) for n in range(count))

    with app.app_context():
        steps = Steps(connection, note_natively.enqueue(1, 2).id)
    return _measure(steps, bare, enqueue, connection, calls, count)


def _measure(
    steps: Steps,
    bare: Callable[[], Any],
    enqueue: Callable[[int], Any],
    connection: redis.Redis,
    calls: int,
    count: int,
) -> dict[str, float]:
    connection.flushall()
    gc.collect()
    gc.freeze()  # as the loader does
    read, both, report = (cpu_us(each, calls) for each in (steps.read, steps.read_and_perform, steps.report))
    row = {"read": read, "perform": both - read, "report": report}
    whole, of_redis = burst_us(connection, enqueue, count)
    row |= {"the rest": whole - sum(row.values()), "all": whole, "Redis": of_redis}
    return {"bare context": cpu_us(bare, calls), **row}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=500, help="calls in one measurement (default: 500)")
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs in the burst (default: 10,000)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctxjobs", "rq", "redis", "flask"))
    print(f"Python {platform.python_version()}, {versions}; microseconds of CPU for one job\n")
    for name, measure in (("Flask, a request", measure_flask), ("native, an application", measure_native)):
        url = f"redis://127.0.0.1:{free_port()}"
        port = url.rpartition(":")[2]
        with EmbeddedRedis(options=("--port", port)), redis.Redis.from_url(url) as connection:
            costs = measure(url, connection, options.calls, options.jobs)
        print(f"{name}\n" + "\n".join(f"  {step:14}{us:8.1f}" for step, us in costs.items()) + "\n")


if __name__ == "__main__":
    import steps  # a worker could find no job of a module that is called __main__

    steps.main()
