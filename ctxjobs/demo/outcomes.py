"""What a view saw against what its job saw: the comparison that the demo is about.

May import RQ's names, :mod:`ctxjobs.rqjob` and :mod:`.journal`. Reads and compares; shows nothing (see
:mod:`.report` and :mod:`.page`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rq.job import Job

from ctxjobs.demo.journal import Journal, Run, Seen, View
from ctxjobs.rqjob import Queue

#: For the functions that are meant to fail: the exception of each execution; the last one decides.
ERRORS: Final[dict[str, tuple[str | None, ...]]] = {
    "charge_card": ("PermissionError",),
    "reserve_stock": ("BlockingIOError", None),
}
NO_ERROR: Final[tuple[str | None, ...]] = (None,)

#: Statuses of RQ that a job of the demo ends in; "gone" is ours, for one that Redis has forgotten.
_ENDED: Final = ("finished", "failed", "stopped", "canceled", "gone")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One job, and what it had to be.

    Attributes:
        function: Name of its function.
        job_id: Its id.
        view: The request that it descends from.
        parent: Id of the job that had to enqueue it; None if the view had to.
        status: RQ's status.
        result: What it returned.
        runs: Its executions.
        teardowns: The exceptions that its teardown functions got, in order.
    """

    function: str
    job_id: str
    view: View
    parent: str | None
    status: str
    result: Any
    runs: list[Run]
    teardowns: list[str | None]

    @property
    def expected(self) -> Seen:
        """What the job had to see: the same as the view, and its own id."""
        return {**self.view.seen, "job": self.job_id}

    @property
    def expected_teardowns(self) -> tuple[str | None, ...]:
        """The exceptions that its teardown functions had to get."""
        return ERRORS.get(self.function, NO_ERROR)

    @property
    def seen(self) -> Seen | None:
        """What the job saw: a run that saw something else, if there is one; None if it saw nothing yet."""
        everything = self._everything_seen()
        return next(
            (seen for seen in everything if seen != self.expected), everything[-1] if everything else None
        )

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in _ENDED

    @property
    def leaks(self) -> list[str]:
        """What it could see of other jobs."""
        return [leak for run in self.runs for leak in run.leaks]

    def problems(self) -> list[str]:
        """Everything in which this job is not as it had to be, but for its teardowns and leaks."""
        final = "finished" if self.expected_teardowns[-1] is None else "failed"
        found = [
            f"view: {text}" for text in differences({**self.view.seen, **self.view.sent}, self.view.seen)
        ]
        if self.status != final:
            found.append(f"is {self.status}, not {final}")
        if len(self.runs) != len(self.expected_teardowns):
            found.append(f"looked around {len(self.runs)} times, not {len(self.expected_teardowns)}")
        for seen in self._everything_seen():
            found += differences(self.expected, seen)
        for run in self.runs:
            if {run.root, run.parent} != {self.parent}:
                found.append(f"lineage: {self.parent} -> {run.root}, {run.parent}")
        return list(dict.fromkeys(found))

    def _everything_seen(self) -> list[Seen]:
        seen = [run.seen for run in self.runs]
        if isinstance(self.result, dict):
            seen.append({name: value for name, value in self.result.items() if name != "enqueued"})
        return seen


def differences(expected: Seen, seen: Seen) -> list[str]:
    """Name by name, where *seen* is not what was *expected*."""
    names = dict.fromkeys((*expected, *seen))
    pairs = [(name, expected.get(name), seen.get(name)) for name in names]
    return [f"{name}: {before} -> {after}" for name, before, after in pairs if before != after]


def read_outcomes(queue: Queue, journal: Journal, view: View) -> Iterator[Outcome]:
    """The job that *view* enqueued, then the one that this one enqueued, if any."""
    outcome = _read(queue, journal, view, view.seen["job"], None)
    yield outcome
    if isinstance(outcome.result, dict) and "enqueued" in outcome.result:
        yield _read(queue, journal, view, outcome.result["enqueued"], outcome.job_id)


def _read(queue: Queue, journal: Journal, view: View, job_id: str, parent: str | None) -> Outcome:
    job = queue.fetch_job(job_id)
    function = view.function if job is None else str(job.func_name)
    return Outcome(
        function=function.rpartition(".")[2],
        job_id=job_id,
        view=view,
        parent=parent,
        status="gone" if job is None else str(job.get_status(refresh=False).value),
        result=None if job is None else job.return_value(),
        runs=journal.runs(job_id),
        teardowns=journal.teardowns(job_id),
    )


def read_status(job: Job) -> dict[str, Any]:
    """A job for a JSON view: its id, status and result, and the last line of its traceback."""
    latest = job.latest_result()
    lines = (latest.exc_string if latest is not None else None) or ""
    return {
        "job": job.id,
        "status": job.get_status(refresh=False).value,
        "result": job.return_value(),
        "error": lines.strip().rpartition("\n")[2] or None,
    }
