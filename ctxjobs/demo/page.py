"""The demo's page: buttons that enqueue, and for each job what its view saw and what it saw itself.

HTML by hand, from ``page.html`` and :mod:`markupsafe`, as an app of either host can serve it. May import
:mod:`.journal` and :mod:`.outcomes`; compares nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Final

from markupsafe import Markup

from ctxjobs.demo.journal import Journal, Seen
from ctxjobs.demo.outcomes import Outcome, read_outcomes
from ctxjobs.rqjob import Queue

#: How many of the newest requests the page shows.
SHOWN: Final = 20
#: Columns: what is looked up in what was seen, and its heading.
COLUMNS: Final = {
    "tenant": "Tenant",
    "user": "User",
    "locale": "Locale",
    "request_id": "Request id",
    "path": "Path",
    "session_user": "Session",
}

_PAGE: Final = Template(Path(__file__).with_name("page.html").read_text("utf-8"))


def render_page(app: str, queue: Queue, journal: Journal) -> str:
    """The page, with the newest jobs first.

    Args:
        app: The app's name.
        queue: Where its jobs are.
        journal: What its views and jobs wrote down.
    """
    outcomes = [outcome for view in journal.views(SHOWN) for outcome in read_outcomes(queue, journal, view)]
    return _PAGE.substitute(app=Markup.escape(app), jobs=render_jobs(outcomes))


def render_jobs(outcomes: Sequence[Outcome]) -> Markup:
    """The verdict over all jobs, and the table of them."""
    if not outcomes:
        return Markup('<div class="card empty">No jobs yet. Press a button, as one tenant or another.</div>')
    headings = Markup("").join(Markup("<th>{}").format(heading) for heading in COLUMNS.values())
    bodies = Markup("\n").join(_render_job(outcome) for outcome in outcomes)
    table = Markup(
        '<div class="card wide"><table><thead><tr><th>Job<th>{}<th>Outcome</thead>{}</table></div>'
    )
    return _render_verdict(outcomes) + table.format(headings, bodies)


def _render_verdict(outcomes: Sequence[Outcome]) -> Markup:
    states = [_state(outcome) for outcome in outcomes]
    differs, waiting = states.count("differs"), states.count("waiting")
    if differs:
        text = f"Not as it should be: {differs} of {len(states)} jobs."
    elif waiting:
        text = f"Waiting for {waiting} of {len(states)} jobs."
    else:
        text = f"All of these {len(states)} jobs saw what their views saw."
    state = "differs" if differs else "waiting" if waiting else "same"
    return Markup('<div class="verdict {}">{}</div>').format(state, text)


def _state(outcome: Outcome) -> str:
    if not outcome.ended:
        return "waiting"
    return "differs" if _problems(outcome) else "same"


def _problems(outcome: Outcome) -> list[str]:
    problems = [*outcome.problems(), *outcome.leaks]
    if tuple(outcome.teardowns) != outcome.expected_teardowns:
        problems.append(f"teardown got {outcome.teardowns}, not {list(outcome.expected_teardowns)}")
    return problems


def _render_job(outcome: Outcome) -> Markup:
    state, expected = _state(outcome), outcome.expected
    return Markup(
        '<tbody id="job-{id}" data-state="{state}">'
        '<tr><td rowspan="2"><b>{function}</b><br><small class="mono">{short_id}</small></td>'
        '<td class="side">{origin} saw</td>{view}'
        '<td rowspan="2"><span class="pill {state}">{verdict}</span> {status}<br>{details}</td></tr>'
        '<tr><td class="side">job saw</td>{job}</tr></tbody>'
    ).format(
        id=outcome.job_id,
        state=state,
        function=outcome.function,
        short_id=outcome.job_id[:8],
        origin="view" if outcome.parent is None else "first view",
        view=_render_cells(expected, expected),
        job=_render_cells(expected, outcome.seen),
        verdict={"same": "same", "waiting": "waiting", "differs": "DIFFERS"}[state],
        status=outcome.status,
        details=_render_details(outcome),
    )


def _render_cells(expected: Seen, seen: Seen | None) -> Markup:
    if seen is None:
        return Markup('<td colspan="{}" class="side">nothing</td>').format(len(COLUMNS))
    return Markup("").join(
        Markup('<td class="mono {}">{}</td>').format(
            "" if seen.get(name) == expected.get(name) else "differs", seen.get(name, "nothing")
        )
        for name in COLUMNS
    )


def _render_details(outcome: Outcome) -> Markup:
    if outcome.ended and (problems := _problems(outcome)):
        return Markup('<div class="problems">{}</div>').format(_lines(problems))
    notes = [f"enqueued by {outcome.parent[:8]}"] if outcome.parent else []
    notes += [f"teardown got {error}" for error in outcome.teardowns if error]
    return Markup("<small>{}</small>").format(_lines(notes))


def _lines(texts: Iterable[str]) -> Markup:
    return Markup("<br>").join(texts)
