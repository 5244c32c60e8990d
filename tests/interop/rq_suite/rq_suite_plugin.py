"""The pytest plugin of ``run.py``: a Redis for each process that runs tests, and the exceptions.

Knows the files of this folder; nothing of the worker.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import rq

from ctxjobs.embedded import EmbeddedRedis
from ctxjobs.errors import EmbeddedRedisError
from ctxjobs_worker.worker import Worker

_EXCEPTIONS = Path(__file__).with_name("exceptions.ini")


def exceptions() -> ConfigParser:
    """The exceptions: a section for each test. RQ's own workers have none."""
    parser = ConfigParser(interpolation=None)
    if not _is_stock():
        parser.read_string(_EXCEPTIONS.read_text())
    return parser


def _is_stock() -> bool:
    return os.environ["RQ_SUITE"] == "stock"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start a Redis, in the processes that import tests; the suite asks for it when it is imported."""
    if not _is_stock() and (rq.Worker is not Worker or rq.SimpleWorker is not Worker):
        raise pytest.UsageError("our worker is not in the places of RQ's: run this by run.py")
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures())
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    server = _start_redis()
    config.add_cleanup(server.stop)
    folder = tempfile.TemporaryDirectory(prefix="rq-suite-")
    config.add_cleanup(folder.cleanup)
    os.environ["RQ_SUITE_TMP"] = folder.name


def _start_redis() -> EmbeddedRedis:
    for attempt in range(5):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        try:
            server = EmbeddedRedis(options=("--port", str(port), "--bind", "127.0.0.1")).start()
        except EmbeddedRedisError:  # somebody was faster to take the port
            if attempt == 4:
                raise
            continue
        os.environ["RQ_SUITE_PORT"] = str(port)
        return server
    raise AssertionError


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, or expect to fail, what ``exceptions.ini`` says."""
    named = exceptions()
    left_out = []
    for item in items:
        if item.nodeid not in named:
            continue
        if named[item.nodeid]["how"] == "left out":
            left_out.append(item)
        else:
            item.add_marker(pytest.mark.xfail(strict=True, reason=named[item.nodeid]["reason"]))
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """An exception that is skipped tells nothing."""
    report = yield
    if report.skipped and item.nodeid in exceptions() and not hasattr(report, "wasxfail"):
        report.outcome, report.longrepr = "failed", "an exception is to fail, and was skipped"
    return report


class Failures:
    """Notes which tests have failed: in the process that hears of all of them."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One part of one test is over."""
        if report.failed:
            with Path(os.environ["RQ_SUITE_SCRATCH"], "failed").open("a") as failed:
                failed.write(report.nodeid + "\n")
