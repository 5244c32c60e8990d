"""What a traced web process and a traced worker recorded: run once for each library, read by many tests."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from support.matrix.workers import next_due, run_process, run_worker
from support.waiting import wait_until

from ctxjobs import ContextJob

APP = "support.traced_app:create_app()"
MAX_BURSTS = 5


@dataclass(frozen=True)
class Run:
    """One run of a job, as a library recorded it.

    Attributes:
        trace: Id of its trace.
        span: Id of its span.
        parent: Id of the span that it is a child of; None in a trace of its own.
        links: The trace and the span of each link.
        facts: Everything else, as the library writes it.
    """

    trace: str
    span: str
    parent: str | None
    links: list[tuple[str, str]]
    facts: dict[str, Any]


@dataclass
class Record:
    """What was recorded.

    Attributes:
        library: One of ``traced_app.LIBRARIES``.
        ways: For each way to enqueue its trace, its span, and its jobs.
        lines: What the worker wrote, in order.
    """

    library: str
    ways: dict[str, dict[str, Any]]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[dict[str, Any]]:
        return (line for line in self.lines if line["wrote"] == kind)

    def seen(self, job_id: str, what: str = "function") -> list[dict[str, Any]]:
        """What each run of a job saw."""
        return [line for line in self.of("seen") if (line["job"], line["what"]) == (job_id, what)]

    def runs(self, job_id: str) -> list[Run]:
        """The spans or transactions of a job, one for each of its runs."""
        kinds = {"opentelemetry": (self.of("span"), _span)}
        lines, read = kinds.get(self.library, (self.of("transaction"), _transaction))
        spans = {line["span"]: line["job"] for line in self.of("seen") if line["what"] == "function"}
        return [run for run in map(read, lines) if spans.get(run.span) == job_id]

    def first_run(self, way: str) -> Run:
        return self.runs(self.ways[way]["jobs"][0])[0]

    def view(self, way: str) -> tuple[str, str]:
        """Trace and span of the view that enqueued."""
        return self.ways[way]["trace"], self.ways[way]["span"]

    def errors(self) -> list[tuple[str, str]]:
        """Error events with an exception: its text, and the id of its trace."""
        return [
            (value["value"], event["contexts"]["trace"]["trace_id"])
            for event in (line["event"] for line in self.of("event"))
            for value in event.get("exception", {}).get("values", ())
        ]


def record(library: str, url: str, path: Path) -> Record:
    """Enqueue in one process, work in others until nothing is left, and read what they wrote to *path*."""
    settings = {"TRACED_BY": library, "TRACED_TO": str(path)}
    with Redis.from_url(url) as connection, pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        connection.flushdb()
        output = path.with_suffix(".ways")
        run_process([sys.executable, "-m", "support.traced_ways", str(output)], url)
        path.write_text("")  # what the views recorded
        run_worker("ctxjobs", [APP], url, ["default"])
        ContextJob.fetch("requeued", connection=connection).requeue()
        for _ in range(MAX_BURSTS):
            if not (due := next_due(connection)):
                break
            wait_until(lambda due=due: time.time() >= due, what="the next job is due")
            run_worker("ctxjobs", [APP], url, ["default"])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return Record(library, json.loads(output.read_text()), lines)


def _span(line: dict[str, Any]) -> Run:
    found, parent = line["context"], line["parent_id"]
    links = [_ids(link["context"]) for link in line["links"]]
    return Run(*_ids(found), parent and parent.removeprefix("0x"), links, line)


def _ids(context: dict[str, str]) -> tuple[str, str]:
    return context["trace_id"].removeprefix("0x"), context["span_id"].removeprefix("0x")


def _transaction(line: dict[str, Any]) -> Run:
    trace = line["event"]["contexts"]["trace"]
    return Run(trace["trace_id"], trace["span_id"], trace.get("parent_span_id"), [], line["event"])
