"""The demo from start to end: everything up, traffic, wait, compare, everything down.

Brings the other files of this package together; knows no command line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

import click
from redis import Redis
from rq import Worker as RegisteredWorker

from ctxjobs.demo.journal import Journal, View
from ctxjobs.demo.outcomes import Outcome, read_outcomes
from ctxjobs.demo.report import Report
from ctxjobs.demo.services import StopRequests, WorkerProcess, web_server, worker_process
from ctxjobs.demo.traffic import plan_visits, send_visits
from ctxjobs.embedded import EmbeddedRedis
from ctxjobs.registry import load_app

#: The shop on each host.
APPS: Final = {
    "native": "ctxjobs.demo.native_app:create_app()",
    "flask": "ctxjobs.demo.flask_app:create_app()",
}
REQUESTS: Final = 60
REQUESTS_AT_ONCE: Final = 8
WORKER_CHILDREN: Final = 2

#: How long the worker may take to be there, and all jobs to end, in seconds; one and three are usual.
START_DEADLINE_S: Final = 60.0
JOBS_DEADLINE_S: Final = 60.0
POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that is up.

    Attributes:
        app: The shop.
        redis_url: Its Redis.
        port: Where on 127.0.0.1 its web server listens.
        worker: Its worker.
        stop: Whether somebody wants it to end.
    """

    app: Any
    redis_url: str
    port: int
    worker: WorkerProcess
    stop: StopRequests

    def wait_until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Wait for *condition*, at most *deadline_s* seconds; whether it came true.

        Raises:
            click.ClickException: The worker has ended.
            KeyboardInterrupt: Somebody wants the demo to stop.
        """
        deadline = time.monotonic() + deadline_s
        while not condition():
            self.worker.check()
            if self.stop.asked:
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def wait_for_worker(self) -> None:
        """Wait until every child of the worker is registered in Redis.

        Raises:
            click.ClickException: It has ended, or takes too long.
        """
        with Redis.from_url(self.redis_url) as connection:
            ready = self.wait_until(
                lambda: RegisteredWorker.count(connection) == WORKER_CHILDREN, START_DEADLINE_S
            )
        if not ready:
            raise click.ClickException(
                f"The worker is not ready after {START_DEADLINE_S:g} seconds. {self.worker.last_lines()}"
            )


@contextmanager
def open_stage(host: str) -> Iterator[Stage]:
    """Start Redis, the shop on *host* and its worker; end them all at the end of the block.

    Raises:
        click.ClickException: *host* is not installed, or the worker does not start.
        NoRedisServerError, EmbeddedRedisError: Redis does not start.
    """
    if host == "flask" and find_spec("flask") is None:
        raise click.ClickException("--host flask needs Flask: pip install ctxjobs[flask]")
    with StopRequests() as stop, EmbeddedRedis() as redis, _environment(CTXJOBS_REDIS_URL=redis.url):
        app = load_app(APPS[host])
        with web_server(app) as port, worker_process(APPS[host], WORKER_CHILDREN) as worker:
            stage = Stage(app, redis.url, port, worker, stop)
            stage.wait_for_worker()
            yield stage


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Environment variables for the shop in this process, and for the worker."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def run(host: str) -> Report:
    """Send the traffic to the shop on *host*, wait for its jobs, and compare.

    Raises:
        click.ClickException: As for :func:`open_stage`; or a request is refused, or the worker ends.
    """
    with open_stage(host) as stage:
        start = time.monotonic()
        views = send_visits(stage.port, plan_visits(REQUESTS), REQUESTS_AT_ONCE)
        outcomes = _wait_for_jobs(stage, views)
        return Report(host, len(views), outcomes, time.monotonic() - start)


def _wait_for_jobs(stage: Stage, views: Sequence[View]) -> list[Outcome]:
    """The outcomes of all jobs; of those that do not end in time, as far as they got."""
    queue, journal = stage.app.extensions["ctxjobs"].queue(), stage.app.extensions["journal"]
    outcomes: list[Outcome] = []

    def all_ended() -> bool:
        outcomes[:] = _read_all(queue, journal, views)
        return all(outcome.ended for outcome in outcomes)

    stage.wait_until(all_ended, JOBS_DEADLINE_S)
    return outcomes


def _read_all(queue: Any, journal: Journal, views: Sequence[View]) -> Iterator[Outcome]:
    for view in views:
        yield from read_outcomes(queue, journal, view)


def serve(host: str, announce: Callable[[str], None]) -> None:
    """Keep everything up until SIGINT or SIGTERM.

    Args:
        host: Where the shop is.
        announce: Called once everything is up, with the address to open.

    Raises:
        click.ClickException: As for :func:`open_stage`; or the worker ends.
    """
    try:
        with open_stage(host) as stage:
            announce(f"http://127.0.0.1:{stage.port}/")
            stage.wait_until(lambda: False, float("inf"))
    except KeyboardInterrupt:
        return
