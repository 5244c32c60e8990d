"""The demo's comparison: what it must notice, from outcomes made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ctxjobs.demo.journal import Run, View
from ctxjobs.demo.outcomes import Outcome
from ctxjobs.demo.page import render_jobs
from ctxjobs.demo.report import Report

SEEN = {"tenant": "acme", "user": "ada", "locale": "en", "job": "1"}
OTHER = {**SEEN, "tenant": "globex"}
GOOD = Outcome(
    function="send_receipt",
    job_id="1",
    view=View("shop.send_receipt", SEEN, {"tenant": "acme"}),
    parent=None,
    status="finished",
    result=SEEN,
    runs=[Run(SEEN, [], None, None)],
    teardowns=[None],
)
RETRIED = replace(GOOD, function="reserve_stock", runs=GOOD.runs * 2, teardowns=["BlockingIOError", None])


def report(*outcomes: Outcome) -> Report:
    return Report("native", len(outcomes), outcomes, 1.0)


@pytest.mark.parametrize("outcome", [GOOD, RETRIED], ids=["plain", "retried"])
def test_good_outcome_has_no_problems(outcome: Outcome) -> None:
    """A job that saw what its view saw, and was torn down as it should be, is fine."""
    assert outcome.problems() == []
    assert report(outcome).ok


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"result": OTHER}, "tenant: acme -> globex"),
        ({"runs": [Run(OTHER, [], None, None)]}, "tenant: acme -> globex"),
        ({"view": View("shop.send_receipt", SEEN, {"tenant": "globex"})}, "view: tenant: globex -> acme"),
        ({"job_id": "2"}, "job: 2 -> 1"),
        ({"status": "failed"}, "is failed, not finished"),
        ({"status": "queued"}, "is queued, not finished"),
        ({"runs": []}, "looked around 0 times, not 1"),
        ({"runs": GOOD.runs * 2}, "looked around 2 times, not 1"),
        ({"parent": "0"}, "lineage: 0 -> None, None"),
        ({"runs": [Run(SEEN, [], "0", "0")]}, "lineage: None -> 0, 0"),
    ],
)
def test_difference_is_a_problem_with_its_name(changes: dict[str, object], problem: str) -> None:
    """Whatever differs between view and job is counted as a mismatch, and named."""
    outcome = replace(GOOD, **changes)  # type: ignore[arg-type]  # the table above has the right types
    assert problem in outcome.problems()
    assert (report(outcome).matched, report(outcome).ok) == (0, False)


@pytest.mark.parametrize(
    "teardowns", [[], [None, None], ["KeyError"]], ids=["none", "twice", "wrong exception"]
)
def test_wrong_teardown_is_not_ok(teardowns: list[str | None]) -> None:
    """Contexts torn down never, twice, or with another exception fail the run, though the job matches."""
    outcome = replace(GOOD, teardowns=teardowns)
    assert (report(outcome).matched, report(outcome).ok) == (1, False)


def test_leak_is_not_ok() -> None:
    """A job that could see something of another one fails the run, and is counted once."""
    outcome = replace(GOOD, runs=[Run(SEEN, ["g is that of job 0", "more"], None, None)])
    assert (report(outcome).leaks, report(outcome).ok) == (1, False)


def test_job_that_is_there_twice_is_not_ok() -> None:
    """Jobs are counted by their ids, so one id for two requests fails the run."""
    assert (report(GOOD, GOOD).jobs, report(GOOD, GOOD).ok) == (1, False)


def test_json_counts_what_differs() -> None:
    """The JSON object counts matched and mismatched jobs apart."""
    numbers = json.loads(report(GOOD, replace(GOOD, job_id="2")).to_json())
    assert (numbers["jobs"], numbers["matched"], numbers["mismatched"]) == (2, 1, 1)


def test_table_names_what_differs() -> None:
    """The table says DIFFERS in the row of a job that differs, and in which way below it."""
    lines = [
        line for line in report(replace(GOOD, result=OTHER)).lines() if "DIFFERS" in line or "->" in line
    ]
    assert len(lines) == 2


def test_page_fails_visibly() -> None:
    """The page marks the cell that differs, and its verdict is no longer good."""
    page = render_jobs([replace(GOOD, result=OTHER)])
    assert '<td class="mono differs">globex</td>' in page
    assert '<div class="verdict differs">' in page
