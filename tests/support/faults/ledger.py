"""The ledger: a file to which every run of a job, and every fault, appends one line by one write.

    17 3312 start 0 1234.567890        job 17, which has no retries left, starts in process 3312 at this time
    17 3312 end 0 1234.568012          it has done its work
    fault 3312 kill-child 17,18 1234.6 a fault, and the jobs that were in flight at it

Times are of the monotonic clock, which all processes share. Imports the standard library alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

#: The environment variable that tells a worker's processes where the ledger is.
PATH_VARIABLE = "FAULTS_LEDGER"


@dataclass(slots=True)
class Run:
    """One run of a job.

    Attributes:
        number: The job's.
        pid: In which process.
        left: How many retries it had left.
        start: When it started, in seconds.
        end: When it had done its work; None if it never had.
    """

    number: int
    pid: int
    left: int
    start: float
    end: float | None = None

    def __str__(self) -> str:
        end = "never" if self.end is None else f"{self.end:.3f}"
        return f"in {self.pid}, {self.left} retries left: {self.start:.3f} to {end}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong.

    Attributes:
        pid: The process that was hit; 0 if it was none.
        label: What it was.
        held: Numbers of the jobs in flight: taken by a process that was hit, and not reported.
        at: When, in seconds.
    """

    pid: int
    label: str
    held: frozenset[int]
    at: float

    def __str__(self) -> str:
        held = ",".join(map(str, sorted(self.held))) or "nothing"
        return f"{self.at:.3f} {self.label} of {self.pid}, which held {held}"


@dataclass(slots=True)
class History:
    """What a ledger says.

    Attributes:
        runs: All runs of each job, the first one first.
        faults: All faults, the first one first.
        notes: What else jobs have said: number, words, time.
    """

    runs: dict[int, list[Run]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[tuple[int, str, float]] = field(default_factory=list)

    def strikes(self, number: int) -> list[Fault]:
        """The faults at which a job was in flight."""
        return [fault for fault in self.faults if number in fault.held]


class Ledger:
    """One ledger.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def here(cls) -> Ledger:
        """The ledger of this process."""
        return cls(Path(os.environ[PATH_VARIABLE]))

    def note(self, number: int, what: str, left: int = 0) -> None:
        """Note that a job does something, in this process, now."""
        self._append(f"{number} {os.getpid()} {what} {left} {time.monotonic():.6f}\n")

    def fault(self, pid: int, label: str, held: Iterable[int]) -> None:
        """Note a fault."""
        numbers = ",".join(map(str, sorted(held))) or "-"
        self._append(f"fault {pid} {label} {numbers} {time.monotonic():.6f}\n")

    def starts(self) -> int:
        """How many runs have started."""
        return self.path.read_bytes().count(b" start ") if self.path.exists() else 0

    def read(self) -> History:
        """What it says by now."""
        history = History()
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            number, pid, what, detail, at = line.split(" ")
            if number == "fault":
                held = frozenset(map(int, detail.split(","))) if detail != "-" else frozenset()
                history.faults.append(Fault(int(pid), what, held, float(at)))
            elif what == "start":
                run = Run(int(number), int(pid), int(detail), float(at))
                history.runs.setdefault(run.number, []).append(run)
            elif what == "end":
                mine = [one for one in history.runs[int(number)] if one.pid == int(pid) and one.end is None]
                mine[-1].end = float(at)
            else:
                history.notes.append((int(number), what, float(at)))
        return history

    def _append(self, line: str) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
