"""Whether a job costs more where many others wait: from 10 queued jobs to 1,000,000.

Prints one table, and draws it if it is told a file; ``bench/README.md`` says how to read it. Not a test: it
asserts nothing, and needs Flask.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flask
import psutil
import redis
from enqueue import free_port, typical_request

import ctxjobs
from ctxjobs.embedded import EmbeddedRedis

#: At most so many jobs are looked at: those that run while the queue is about as long as it was.
SAMPLE = 5000
#: Shorter queues are filled and worked off again and again, until so many jobs have run.
LEAST = 500

jobs = ctxjobs.CtxJobs()
_STAMP = struct.Struct("<d")


def create_app() -> flask.Flask:
    """The app of producer and worker alike."""
    app = flask.Flask("bench-depth")
    url = os.environ["DEPTH_URL"]
    app.config.update(SECRET_KEY="b" * 32, CTXJOBS_APP_ID="bench-depth", CTXJOBS_REDIS_URL=url)
    app.add_url_rule("/order/<int:number>", "order", lambda number: "ok")
    jobs.init_app(app)
    return app


@jobs.job
def stamp(number: int) -> None:
    """Write down when it ran."""
    with open(os.environ["DEPTH_STAMPS"], "ab", buffering=0) as file:
        file.write(_STAMP.pack(time.monotonic()))


@dataclass(frozen=True)
class Cost:
    """What one job has taken with so many in the queue.

    Attributes:
        depth: How many were queued.
        wall_us: Microseconds by the clock, from one start to the next.
        worker_us: Microseconds of CPU of the worker's child.
        redis_us: Microseconds of CPU of Redis.
    """

    depth: int
    wall_us: float
    worker_us: float
    redis_us: float


class Depth:
    """Measures with one Redis and one worker.

    Args:
        connection: The Redis.
        stamps: The file that jobs write to.
        child: The worker's child.
    """

    def __init__(self, connection: redis.Redis, stamps: Path, child: psutil.Process) -> None:
        self._connection, self._stamps, self._child = connection, stamps, child
        self._app = create_app()
        self._idle = (0.0, 0.0)  # CPU of worker and Redis in a round without jobs

    def note_idle(self) -> None:
        """Measure what a round takes in which there is nothing to do."""
        rounds = [self._round(0) for _ in range(10)]
        self._idle = statistics.mean(each[1] for each in rounds), statistics.mean(each[2] for each in rounds)

    def cost_at(self, depth: int) -> Cost:
        """Fill the queue, and let the worker run the first of them; again, if there are few."""
        rounds = [self._round(depth) for _ in range(max(1, LEAST // depth))]
        wall, worker, of_redis, ran = (sum(column) for column in zip(*rounds, strict=True))
        gaps = ran - len(rounds)
        worker, of_redis = (
            max(0.0, cpu - idle * len(rounds))
            for cpu, idle in zip((worker, of_redis), self._idle, strict=True)
        )
        return Cost(depth, wall / gaps * 1e6, worker / ran * 1e6, of_redis / ran * 1e6)

    def _round(self, depth: int) -> tuple[float, float, float, int]:
        self._connection.set("rq:suspended", 1)
        with typical_request(self._app):
            stamp.enqueue_many((number,) for number in range(depth))
        self._stamps.write_bytes(b"")
        worker, of_redis = self._cpu_s()
        self._connection.delete("rq:suspended")
        wanted = min(depth, SAMPLE)
        if not wanted:
            time.sleep(0.5)  # as long as a suspended worker takes on average to look again
        while self._ran() < wanted:
            time.sleep(0.02)
        if depth > wanted:
            self._connection.set("rq:suspended", 1)
        ran = self._settled()
        worker_after, redis_after = self._cpu_s()
        times = [each for (each,) in _STAMP.iter_unpack(self._stamps.read_bytes())]
        wall = times[-1] - times[0] if times else 0.0
        if depth >= LEAST:
            self._connection.flushall(asynchronous=True)  # the worker registers again
        return wall, worker_after - worker, redis_after - of_redis, ran

    def _settled(self) -> int:
        """How many have run, once no more do."""
        before = -1
        while (ran := self._ran()) != before:
            before = ran
            time.sleep(0.1)
        return ran

    def _ran(self) -> int:
        return self._stamps.stat().st_size // _STAMP.size

    def _cpu_s(self) -> tuple[float, float]:
        of_child = self._child.cpu_times()
        of_redis: Any = self._connection.info("cpu")
        used = float(of_redis["used_cpu_user"] + of_redis["used_cpu_sys"])
        return of_child.user + of_child.system, used


@contextmanager
def running_worker(connection: redis.Redis, folder: Path) -> Iterator[psutil.Process]:
    """A worker with one child, which has run some jobs; the child."""
    command = [sys.executable, "-m", "ctxjobs", "worker", "--app", "depth:create_app()"]
    options = ("--logging-level", "WARNING", "default")
    process = subprocess.Popen([*command, *options], cwd=Path(__file__).parent, start_new_session=True)
    try:
        while not connection.scard("rq:workers"):
            time.sleep(0.05)
        [name] = connection.smembers("rq:workers")
        yield psutil.Process(int(name.decode().rsplit(".", 2)[1]))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def draw(costs: Sequence[Cost], path: Path) -> None:
    """Draw the costs; needs matplotlib."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "ctxjobs"
    figure, axes = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    depths = [cost.depth for cost in costs]
    labels = {"wall_us": "from start to start", "worker_us": "CPU of the worker", "redis_us": "CPU of Redis"}
    for (attribute, label), marker in zip(labels.items(), "os^", strict=True):
        axes.plot(depths, [getattr(cost, attribute) for cost in costs], marker=marker, label=label)
    axes.set(xscale="log", xlabel="jobs in the queue", ylabel="microseconds for one job", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="upper right")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure, print the table, draw it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--most", type=int, default=1_000_000, help="the longest queue (default: 1,000,000)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured (default: 3)")
    parser.add_argument("--svg", type=Path, help="draw the costs into this file; needs matplotlib")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    depths = [depth for depth in (10, 100, 1000, 10_000, 100_000, 1_000_000) if depth <= options.most]
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        os.environ["DEPTH_URL"] = url = f"redis://127.0.0.1:{port}"
        os.environ["DEPTH_STAMPS"] = str(folder / "stamps")
        (folder / "stamps").touch()
        with (
            EmbeddedRedis(options=("--port", str(port))),
            redis.Redis.from_url(url) as connection,
            running_worker(connection, folder) as child,
        ):
            versions = ", ".join(f"{name} {version(name)}" for name in ("ctxjobs", "rq", "redis", "flask"))
            print(
                f"Python {platform.python_version()}, {versions}, Redis {connection.info()['redis_version']}"
            )
            bench = Depth(connection, folder / "stamps", child)
            bench.cost_at(1000)  # to warm up
            bench.note_idle()
            taken = [[bench.cost_at(depth) for _ in range(options.rounds)] for depth in depths]
    costs = [_median(each) for each in taken]
    print(f"\n{'queued':>10}{'start to start us':>20}{'CPU worker us':>16}{'CPU Redis us':>15}")
    for cost in costs:
        print(f"{cost.depth:10,}{cost.wall_us:20.0f}{cost.worker_us:16.0f}{cost.redis_us:15.1f}")
    if options.json:
        options.json.write_text(json.dumps([[vars(cost) for cost in each] for each in taken], indent=1))
    if options.svg:
        draw(costs, options.svg)


def _median(costs: Sequence[Cost]) -> Cost:
    middle = {
        name: statistics.median(getattr(cost, name) for cost in costs)
        for name in ("wall_us", "worker_us", "redis_us")
    }
    return Cost(costs[0].depth, **middle)


if __name__ == "__main__":
    import depth  # a worker could find no job of a module that is called __main__

    depth.main()
