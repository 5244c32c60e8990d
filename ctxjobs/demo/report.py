"""The demo's numbers, its table and its last line. All of them are counted, from outcomes.

May import click (for colours) and :mod:`.outcomes`. Reads nothing from Redis, and decides no exit code
but :attr:`Report.ok`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from ctxjobs.demo.journal import Seen
from ctxjobs.demo.outcomes import Outcome

#: What the table shows of what was seen; all of it was compared.
_SHOWN = ("tenant", "user", "locale", "request_id")
_HEADINGS = ("job", "status", "view saw", "job saw", "", "teardown got")


@dataclass(frozen=True, slots=True)
class Report:
    """What came out of one run.

    Attributes:
        host: ``native`` or ``flask``.
        requests: How many requests were sent and answered.
        outcomes: One for each job.
        took_s: Seconds from the first request to the end of the last job.
    """

    host: str
    requests: int
    outcomes: Sequence[Outcome]
    took_s: float

    @property
    def jobs(self) -> int:
        """How many different jobs there were, those among them that a job enqueued."""
        return len({outcome.job_id for outcome in self.outcomes})

    @property
    def matched(self) -> int:
        """How many jobs saw, whenever they ran, exactly what their view saw."""
        return sum(not outcome.problems() for outcome in self.outcomes)

    @property
    def teardowns(self) -> int:
        """How often contexts of jobs were torn down."""
        return sum(len(outcome.teardowns) for outcome in self.outcomes)

    @property
    def expected_teardowns(self) -> int:
        """How often they had to be: once for each execution."""
        return sum(len(outcome.expected_teardowns) for outcome in self.outcomes)

    @property
    def leaks(self) -> int:
        """How many jobs could see something of another one."""
        return sum(bool(outcome.leaks) for outcome in self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether all of it is as it should be, the exceptions that teardown functions got included."""
        return (
            self.matched == self.jobs == len(self.outcomes)
            and not self.leaks
            and all(tuple(outcome.teardowns) == outcome.expected_teardowns for outcome in self.outcomes)
        )

    def to_json(self) -> str:
        """The numbers as one JSON object."""
        return json.dumps(
            {
                "requests": self.requests,
                "jobs": self.jobs,
                "matched": self.matched,
                "mismatched": len(self.outcomes) - self.matched,
                "teardowns": self.teardowns,
                "leaks": self.leaks,
                "host": self.host,
            }
        )

    def summary(self) -> str:
        """The numbers as one line."""
        return (
            f"{self.requests} requests, {self.jobs} jobs: {self.matched} saw what their view saw, "
            f"{len(self.outcomes) - self.matched} did not; {self.teardowns} of {self.expected_teardowns} "
            f"teardowns, {self.leaks} leaks ({self.host}, {self.took_s:.1f} s)"
        )

    def lines(self) -> Iterator[str]:
        """The table, line by line, coloured, and the summary at its end."""
        ordered = sorted(self.outcomes, key=lambda outcome: outcome.view.function)  # nested ones after theirs
        rows = [_row(outcome) for outcome in ordered]
        shown = [list(_HEADINGS), *rows]
        widths = [max(len(row[column]) for row in shown) for column in range(len(_HEADINGS))]
        yield click.style(_line(_HEADINGS, widths), bold=True)
        for outcome, row in zip(ordered, rows, strict=True):
            yield click.style(_line(row, widths), fg=None if row[4] == "same" else "red")
            yield from (
                click.style(f"    {text}", fg="red") for text in (*outcome.problems(), *outcome.leaks)
            )
        yield ""
        yield click.style(self.summary(), fg="green" if self.ok else "red", bold=True)


def _row(outcome: Outcome) -> list[str]:
    return [
        outcome.function if outcome.parent is None else f"  then {outcome.function}",
        outcome.status if len(outcome.runs) < 2 else f"{outcome.status}, {len(outcome.runs)} runs",
        _describe(outcome.view.seen),
        _describe(outcome.seen),
        "DIFFERS" if outcome.problems() or outcome.leaks else "same",
        ", ".join(error or "nothing" for error in outcome.teardowns) or "NOT RUN",
    ]


def _describe(seen: Seen | None) -> str:
    return "nothing" if seen is None else " ".join(str(seen.get(name)) for name in _SHOWN)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
