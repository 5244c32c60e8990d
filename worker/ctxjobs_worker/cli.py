"""``ctxjobs worker``: options and exit codes. May import everything of this package."""

from __future__ import annotations

import logging
import sys

import click

from ctxjobs_worker.options import LOG_FORMAT, WorkerOptions
from ctxjobs_worker.supervisor import Supervisor


@click.command()
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option(
    "--app",
    "apps",
    multiple=True,
    required=True,
    metavar="MODULE:APP",
    help="The app whose jobs to run: 'shop:app' or 'shop:create_app()'. May be given several times.",
)
@click.option(
    "-c", "--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="How many children."
)
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option(
    "--url", metavar="URL", help="Redis. Default: CTXJOBS_REDIS_URL of the apps, then of the environment."
)
@click.option("--with-scheduler", is_flag=True, help="Enqueue scheduled jobs when they are due.")
@click.option(
    "--dequeue-strategy",
    type=click.Choice(["default", "round_robin", "random"]),
    default="default",
    show_default=True,
    help="The next job comes from the first QUEUE that has one, from one queue in turn, or from any.",
)
@click.option(
    "--allow-plain",
    multiple=True,
    metavar="PATTERN",
    help="Run plain RQ jobs, too, whose function and callbacks match, such as 'reports.*'; they run in the "
    "system context of the first app. May be given several times.",
)
@click.option(
    "--on-leak",
    type=click.Choice(["log", "recycle", "fail"]),
    default="log",
    show_default=True,
    help="What to do about a job that left a context, thread, task or database session behind, besides "
    "logging it: replace its child, or fail the job.",
)
@click.option("--isolate", is_flag=True, help="Run each job in a process of its own.")
@click.option(
    "--drain-timeout-s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long running jobs may go on after SIGTERM; then they are given back to their queues. Default: "
    "until they end.",
)
@click.option(
    "--kill-grace-s",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="How long after its time limit a job may go on before its process is killed.",
)
@click.option(
    "--max-jobs-per-child",
    type=click.IntRange(min=1),
    metavar="COUNT",
    help="Replace a child after so many jobs.",
)
@click.option(
    "--max-memory-mib",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="Replace a child that holds more resident memory than that after a job.",
)
@click.option(
    "--logging-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
    default="INFO",
    show_default=True,
)
def worker(**given: object) -> None:
    """Run jobs inside the contexts that they were enqueued in.

    Takes jobs from each QUEUE, the first one first; without any, from the apps' CTXJOBS_QUEUE. SIGTERM
    and Ctrl-C let the running jobs finish; a second one ends them.

    \b
    Exit codes:
      0  all done, or stopped when asked to
      1  something that should not happen
      2  the command line does not read
      3  Redis is too old, or does not answer (with --burst; else it is asked again, for as long as it takes)
      4  an app cannot be loaded, or is not bound, or is bound under a taken id
    """
    options = WorkerOptions(**given)  # type: ignore[arg-type]  # click checked them; the names are the same
    logging.basicConfig(level=options.logging_level.upper(), format=LOG_FORMAT)
    sys.exit(Supervisor(options).run())
