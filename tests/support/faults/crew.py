"""The crew: workers as processes, found in /proc, and hit.

Whoever is to be killed is stopped first, so that what it holds can be noted; only then it dies. So the ledger
knows exactly which jobs were in flight.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from support.faults import app, failpoints, haste, ledger, stock
from support.faults.ledger import Ledger
from support.waiting import POLL_S, is_running, wait_until
from support.worker_process import PYTHONPATH, UNMEASURED, WorkerProcess, run_worker

_SITE = Path(__file__).parent / "site"


@dataclass(frozen=True, slots=True)
class Family:
    """The processes of one worker, as they are now.

    Attributes:
        supervisor: The one that was started.
        loaders: Its children.
        children: Theirs, which run jobs.
        forks: What children have forked for a job.
    """

    supervisor: int
    loaders: tuple[int, ...]
    children: tuple[int, ...]
    forks: tuple[int, ...]

    @property
    def everybody(self) -> tuple[int, ...]:
        """All of them."""
        return (self.supervisor, *self.loaders, *self.children, *self.forks)


class Crew:
    """Starts workers, and hits them.

    Args:
        folder: For the ledger and the logs.
        url: Redis.
        detour: Redis as the workers are told, if that is not *url*.
        times: Times to set besides those of :mod:`support.faults.haste`.
        in_earnest: Whether all times are those of the product.
        environment: More of it.

    Attributes:
        current: The worker that was started last.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        *,
        detour: str = "",
        times: Mapping[str, float] | None = None,
        in_earnest: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self.url = folder, url
        self.ledger = Ledger(folder / "ledger")
        self.armed = folder / "armed"
        self._worker_url = detour or url
        self._started = 0
        self.current: WorkerProcess | None = None
        self._environment = {
            ledger.PATH_VARIABLE: str(self.ledger.path),
            failpoints.PATH_VARIABLE: str(self.armed),
            failpoints.URL_VARIABLE: url,
            haste.VARIABLE: json.dumps(None if in_earnest else dict(times or {})),
            "PYTHONPATH": os.pathsep.join([str(_SITE), PYTHONPATH]),
            **UNMEASURED,
            **(environment or {}),
        }

    @contextmanager
    def worker(self, *options: str, environment: Mapping[str, str] | None = None) -> Iterator[WorkerProcess]:
        """Run a worker; what is left of it at the end of the block is killed."""
        self._started += 1
        log = self.folder / f"log-{self._started}"
        env = {**self._environment, **(environment or {})}
        with run_worker(log, *options, app=app.OPTIONS, redis_url=self._worker_url, env=env) as worker:
            self.current = worker
            yield worker

    @contextmanager
    def kept_worker(self, *options: str) -> Iterator[None]:
        """Run a worker, and start another one whenever it has ended, as a process manager does."""
        over = threading.Event()
        with ExitStack() as stack:
            stack.enter_context(self.worker(*options))

            def keep() -> None:
                while not over.wait(POLL_S):
                    if self._has_ended():
                        stack.enter_context(self.worker(*options))

            keeper = threading.Thread(target=keep)
            keeper.start()
            try:
                yield
            finally:
                over.set()
                keeper.join()

    def _has_ended(self) -> bool:
        return self.current is None or self.current.process.poll() is not None

    def family(self) -> Family:
        """The processes of the current worker."""
        if self.current is None:
            raise RuntimeError("no worker was started")
        return family_of(self.current)

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the current worker, if it is there."""
        if self.current is not None:
            self.current.process.send_signal(signum)

    def logs(self) -> str:
        """What all workers have printed."""
        paths = sorted(self.folder.glob("log-*"))
        return "\n".join(path.read_text(errors="replace") for path in paths)

    # --- faults ---------------------------------------------------------------------------

    def arm(self, step: str, count: int = 1, *, stall_ms: int = 0) -> None:
        """Let the process die that takes this step, or stand still for a while."""
        self.armed.with_suffix(".done").unlink(missing_ok=True)
        failpoints.arm(self.armed, step, count, stall_ms)

    def was_struck(self) -> bool:
        """Whether some process has died at the armed step."""
        return self.armed.with_suffix(".done").exists()

    def kill(self, label: str, pids: Iterable[int]) -> None:
        """Kill processes by SIGKILL, all at once; note what they held."""
        stopped = [pid for pid in pids if stop(pid)]
        owners = [*stopped, *map(parent_of, stopped)]  # what a fork runs is its parent's
        self.note(label, stopped[0] if stopped else 0, owners)
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def note(self, label: str, pid: int, holders: Iterable[int]) -> None:
        """Note a fault that hits all that these processes hold."""
        self.ledger.fault(pid, label, stock.held_by([*holders], self.url))


def family_of(worker: WorkerProcess) -> Family:
    """The processes of a worker, by /proc."""
    kin = _children_by_parent()
    loaders = tuple(kin.get(worker.process.pid, ()))
    children = tuple(pid for loader in loaders for pid in kin.get(loader, ()))
    return Family(
        worker.process.pid, loaders, children, tuple(pid for child in children for pid in kin.get(child, ()))
    )


def _children_by_parent() -> dict[int, list[int]]:
    kin: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (parent := parent_of(int(folder.name))):
            kin.setdefault(parent, []).append(int(folder.name))
    return kin


def parent_of(pid: int) -> int:
    """Its parent; 0 if it is no process that runs."""
    with suppress(OSError):
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
        return int(parent) if state != "Z" else 0
    return 0


def stop(pid: int) -> bool:
    """Stop a process, as SIGSTOP does; False if it is gone."""
    try:
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: _is_stopped(pid), what=f"process {pid} stops")
    except (ProcessLookupError, FileNotFoundError):
        return False
    return is_running(pid)


def _is_stopped(pid: int) -> bool:
    states = [
        (task / "stat").read_text().rpartition(")")[2].split()[0]
        for task in Path(f"/proc/{pid}/task").iterdir()
    ]
    return all(state in "TZX" for state in states)
