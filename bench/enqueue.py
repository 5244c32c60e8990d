"""What it costs to enqueue: beside plain RQ, which carries no context and signs nothing.

Prints one table; ``bench/README.md`` says how to read it. Not a test: it asserts nothing, and needs Flask.
"""

from __future__ import annotations

import argparse
import platform
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import flask
import redis
import rq
from snapshot import HEADERS, G
from werkzeug.test import EnvironBuilder

import ctxjobs
from ctxjobs.embedded import EmbeddedRedis

#: Jobs in one call of ``enqueue_many``.
MANY = 1000

jobs = ctxjobs.CtxJobs()


def plain(a: int, b: int) -> int:
    """The job of plain RQ."""
    return b


@jobs.job
def note(a: int, b: int) -> int:
    """The same, under ``@job``."""
    return b


@dataclass(frozen=True)
class Case:
    """One way to enqueue.

    Attributes:
        name: As the table has it.
        enqueue: Enqueues the jobs of these numbers.
        in_request: Whether a request is active meanwhile.
    """

    name: str
    enqueue: Callable[[range], Any]
    in_request: bool = False


@dataclass(frozen=True)
class Cost:
    """What one job took of its producer.

    Attributes:
        wall_s: Seconds by the clock.
        cpu_s: Seconds of CPU.
    """

    wall_s: float
    cpu_s: float


def make_app(url: str) -> flask.Flask:
    """An app with one route that is bound to ctxjobs."""
    app = flask.Flask("bench-enqueue")
    app.config.update(SECRET_KEY="b" * 32, CTXJOBS_APP_ID="bench-enqueue", CTXJOBS_REDIS_URL=url)
    app.add_url_rule("/order/<int:number>", "order", lambda number: "ok")
    jobs.init_app(app)
    return app


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def typical_request(app: flask.Flask) -> Iterator[None]:
    """Inside, a browser's request with twelve headers is active, with six names on ``g``."""
    environ = EnvironBuilder("/order/3?page=2", headers=dict(HEADERS)).get_environ()
    with app.request_context(environ):
        for name, value in G.items():
            setattr(flask.g, name, value)
        yield


def cases_of(connection: redis.Redis) -> list[Case]:
    """All that is measured."""
    queue = rq.Queue("plain", connection=connection)

    def plain_one(numbers: range) -> None:
        for n in numbers:
            queue.enqueue(plain, n, n + 1)

    def plain_many(numbers: range) -> None:
        queue.enqueue_many([queue.prepare_data(plain, args=(n, n + 1)) for n in numbers])

    def note_one(numbers: range) -> None:
        for n in numbers:
            note.enqueue(n, n + 1)

    def note_many(numbers: range) -> None:
        note.enqueue_many((n, n + 1) for n in numbers)

    return [
        Case("RQ, one at a time", plain_one),
        Case("ctxjobs, outside of contexts", note_one),
        Case("ctxjobs, in a typical request", note_one, in_request=True),
        Case("RQ, enqueue_many", plain_many),
        Case("ctxjobs, enqueue_many", note_many, in_request=True),
    ]


def cost_of(case: Case, app: flask.Flask, calls: int) -> Cost:
    """Enqueue *calls* jobs."""
    with typical_request(app) if case.in_request else nullcontext():
        wall, cpu = time.perf_counter(), time.process_time()
        case.enqueue(range(calls))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall / calls, cpu / calls)


def measure(connection: redis.Redis, app: flask.Flask, rounds: int, calls: int) -> Mapping[str, list[Cost]]:
    """Each case once in each round, so that a slow spell of the machine hits all alike."""
    cases = cases_of(connection)
    costs: dict[str, list[Cost]] = {case.name: [] for case in cases}
    for number in range(rounds + 1):
        for case in cases:
            cost = cost_of(case, app, MANY if "many" in case.name else calls)
            connection.flushall()
            if number:  # the first round warms up
                costs[case.name].append(cost)
    return costs


def print_table(costs: Mapping[str, list[Cost]]) -> None:
    """One row for each case, its rate also in proportion to that of RQ above it."""
    print(f"{'':32}{'jobs/s':>10}{'x RQ':>8}{'CPU us/job':>13}")
    base = 0.0
    for name, taken in costs.items():
        rate = 1 / statistics.median(cost.wall_s for cost in taken)
        base = rate if name.startswith("RQ") else base
        cpu_us = statistics.median(cost.cpu_s for cost in taken) * 1e6
        print(f"{name:32}{rate:10,.0f}{rate / base:8.2f}{cpu_us:13.1f}")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=20, help="times that each is measured (default: 20)")
    parser.add_argument("--calls", type=int, default=1000, help="calls in one measurement (default: 1000)")
    options = parser.parse_args()
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctxjobs", "rq", "redis", "flask"))
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    with EmbeddedRedis(options=("--port", str(port))), redis.Redis.from_url(url) as connection:
        print(f"Python {platform.python_version()}, {versions}, Redis {connection.info()['redis_version']}")
        print(f"medians of {options.rounds} rounds of {options.calls} jobs, in turns\n")
        print_table(measure(connection, make_app(url), options.rounds, options.calls))


if __name__ == "__main__":
    import enqueue  # a worker could find no job of a module that is called __main__

    enqueue.main()
