"""Push and pop of a context: the native system beside Flask, in one process.

Prints one table, in microseconds; ``bench/README.md`` says how to read it. Not a test: it asserts
nothing, and needs Flask.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from flask import Flask
from werkzeug.test import EnvironBuilder

from ctxjobs import App

Measured = Callable[[], None]


def make_app(kind: Callable[[str], Any], debug: bool = False) -> Any:
    """An app with one route and a secret key, so that a request context matches and opens a session."""
    app = kind("shop")
    app.config.update(SECRET_KEY="bench", DEBUG=debug)
    app.add_url_rule("/item/<int:number>", "item", lambda number: "ok")
    return app


def app_context(app: Any) -> Measured:
    """Make, push and pop an application context."""

    def run() -> None:
        ctx = app.app_context()
        ctx.push()
        ctx.pop(None)

    return run


def request_context(app: Any) -> Measured:
    """Make, push and pop a request context, from an environ of its own."""
    environ = EnvironBuilder("/item/3").get_environ()

    def run() -> None:
        ctx = app.request_context(dict(environ))
        ctx.push()
        ctx.pop(None)

    return run


def time_us(run: Measured, calls: int) -> float:
    """The mean time of *calls* calls, in microseconds."""
    start = time.perf_counter_ns()
    for _ in range(calls):
        run()
    return (time.perf_counter_ns() - start) / calls / 1000


def measure(runs: list[Measured], rounds: int, calls: int) -> list[list[float]]:
    """The times of each of *runs*, taken in turns, so that a slow spell of the machine hits all alike."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            taken.append(time_us(run, calls))
    return times


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=60, help="times that each is measured (default: 60)")
    parser.add_argument("--calls", type=int, default=500, help="calls in one measurement (default: 500)")
    options = parser.parse_args()
    apps = {"native": make_app(App), "Flask": make_app(Flask), "native, debug": make_app(App, debug=True)}
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctxjobs", "flask", "werkzeug"))
    print(f"Python {platform.python_version()}, {versions}")
    print(f"microseconds for one push and pop; {options.rounds} rounds of {options.calls} calls, in turns\n")
    print(f"{'context':<10}{'system':<16}{'median':>8}{'min':>8}{'median / Flask':>16}")
    for name, make in (("app", app_context), ("request", request_context)):
        times = measure([make(app) for app in apps.values()], options.rounds, options.calls)
        medians = dict(zip(apps, map(statistics.median, times), strict=True))
        for system, taken in zip(apps, times, strict=True):
            ratio = medians[system] / medians["Flask"]
            print(f"{name:<10}{system:<16}{medians[system]:>8.2f}{min(taken):>8.2f}{ratio:>15.2f}x")


if __name__ == "__main__":
    main()
