"""``ctxjobs demo``: options, output and exit codes. May import everything of this package."""

from __future__ import annotations

import os
import sys
from functools import partial

import click

from ctxjobs.demo.report import Report
from ctxjobs.demo.run import APPS, run, serve
from ctxjobs.errors import CtxJobsError


@click.command()
@click.option(
    "--host", type=click.Choice(list(APPS)), default="native", show_default=True, help="The app's framework."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
@click.option(
    "--serve",
    "serves",
    is_flag=True,
    help="Send no requests; keep the app up for your browser, until Ctrl-C.",
)
def demo(host: str, as_json: bool, serves: bool) -> None:
    """See it work: a web app, Redis and a worker, for as long as the demo runs.

    Sends 60 requests of three tenants to a small shop, whose views enqueue jobs: plain ones, nested, failing,
    retried, async and scheduled ones. Then shows what each view saw, and what its job saw.

    \b
    Exit codes:
      0  every job saw what its view saw, and was torn down as it should be;
         with --serve: it was stopped
      1  anything else
      2  the command line does not read
    """
    if as_json and serves:
        raise click.UsageError(
            "--serve sends no requests, so there are no numbers for --json; choose one of them."
        )
    try:
        if serves:
            serve(host, _announce)
        else:
            report = run(host)
            _show(report, as_json)
            sys.exit(0 if report.ok else 1)
    except CtxJobsError as exc:
        raise click.ClickException(str(exc)) from exc


def _announce(url: str) -> None:
    click.echo(f"Open {url} in your browser; Ctrl-C stops.")


def _show(report: Report, as_json: bool) -> None:
    if as_json:
        click.echo(report.to_json())
        return
    # None lets click decide: colour on a terminal only. See no-color.org.
    show = partial(click.echo, color=False if os.environ.get("NO_COLOR") else None)
    for line in report.lines():
        show(line)
