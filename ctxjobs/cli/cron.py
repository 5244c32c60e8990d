"""``ctxjobs cron``: options and exit codes. May import the library; the scheduler is :mod:`ctxjobs.cron`."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from typing import Any, Final

import click
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.exceptions import StopRequested

from ctxjobs.config import safe_url
from ctxjobs.connection import connection_of
from ctxjobs.cron import CronScheduler
from ctxjobs.errors import CtxJobsError, RedisUnavailableError
from ctxjobs.registry import load_apps

EXIT_NO_REDIS: Final = 3
EXIT_NO_APP: Final = 4


@click.command()
@click.argument("config", metavar="CONFIG")
@click.option(
    "--app",
    "spec",
    required=True,
    metavar="MODULE:APP",
    help="The app whose jobs to enqueue: 'shop:app' or 'shop:create_app()'.",
)
@click.option(
    "--url", metavar="URL", help="Redis. Default: CTXJOBS_REDIS_URL of the app, then of the environment."
)
@click.option(
    "--logging-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
def cron(config: str, spec: str, url: str | None, logging_level: str) -> None:
    """Enqueue jobs at fixed times or intervals.

    CONFIG is a file or a module that calls rq.cron.register(...) for each job, as for 'rq cron'. Run one such
    process: two of them enqueue everything twice.

    \b
    Exit codes:
      0  stopped, by SIGTERM or Ctrl-C
      1  something that should not happen
      2  the command line does not read
      3  Redis does not answer
      4  the app or CONFIG cannot be loaded, or a job of it cannot be enqueued
    """
    logging.basicConfig(
        level=logging_level.upper(), format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        _run(config, spec, url)
    except RedisUnavailableError as exc:
        _leave(exc, EXIT_NO_REDIS)
    except CtxJobsError as exc:
        _leave(exc, EXIT_NO_APP)


def _run(config: str, spec: str, url: str | None) -> None:
    """Run the scheduler until it is told to stop."""
    [app] = load_apps([spec])
    connection = connection_of(app) if url is None else Redis.from_url(url)
    scheduler: Any = CronScheduler(connection, app=app.host.app)
    scheduler.load_config_from_file(config)
    try:
        with suppress(StopRequested):  # RQ's signal handler raises it, also where RQ does not expect it
            scheduler.start()
    except (RedisConnectionError, RedisTimeoutError) as exc:
        raise RedisUnavailableError(safe_url(url or str(app.settings.redis_url)), str(exc)) from exc


def _leave(exc: Exception, code: int) -> None:
    click.echo(str(exc), err=True)
    sys.exit(code)
