"""Dying at a given step: a worker's processes look, at each step, whether that is to be their last one.

A test *arms* one step in a file. The first process that takes the step, or takes it for the n-th time since,
removes the file, notes in the ledger what it holds, and kills itself by SIGKILL; or it just stands still for
a while, as one does that the system does not let run. Nothing of this is in the worker: ``sitecustomize``
wraps the methods of its classes before anything of it runs.
"""

from __future__ import annotations

import functools
import importlib
import os
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from support.faults.ledger import Ledger
from support.faults.stock import held_by

#: The environment variables that tell where the armed step stands, and where Redis is, by no detour.
PATH_VARIABLE = "FAULTS_ARMED"
URL_VARIABLE = "FAULTS_REDIS_URL"

When = Literal["before", "after"]

#: Steps of a child, in the order in which it takes them: module, method, when.
CHILD: dict[str, tuple[str, str, When]] = {
    "child-begins": ("child", "Child.__init__", "before"),
    "registered": ("child", "Child._before_loop", "before"),
    "cleaning-registries": ("worker", "Worker.between_jobs", "before"),
    "before-a-request": ("cycle", "Cycle.send", "before"),
    "request-on-its-way": ("cycle", "Cycle.send", "after"),
    "answer-read": ("cycle", "Cycle.receive", "after"),
    "answer-noted": ("exchange", "Exchange._take_note", "after"),
    "before-it-reads-a-job": ("worker", "Worker.read", "before"),
    "job-read": ("worker", "Worker.read", "after"),
    "in-the-slot": ("slots", "Slot.start", "after"),
    "before-the-job": ("perform", "Performer.perform", "before"),
    "after-the-job": ("perform", "Performer.perform", "after"),
    "out-of-the-slot": ("slots", "Slot.end", "after"),
    "told": ("child", "Child.tell", "after"),
    "before-rq-writes": ("settling", "Settler._write", "before"),
    "after-rq-wrote": ("settling", "Settler._write", "after"),
    "before-dependents": ("settling", "Settler._release_dependents", "before"),
    "after-dependents": ("settling", "Settler._release_dependents", "after"),
    "wait-begun": ("waiting", "_Wait.begin", "after"),
    "wait-over": ("waiting", "_Wait.end", "after"),
}
#: Steps of a child that ends, because it was asked to.
LEAVING: dict[str, tuple[str, str, When]] = {
    "before-it-leaves": ("exchange", "Exchange.leave", "before"),
    "before-it-gives-back": ("exchange", "Exchange.release", "before"),
    "left": ("exchange", "Exchange.leave", "after"),
}
#: Steps of the supervisor.
SUPERVISOR: dict[str, tuple[str, str, When]] = {
    "loader-has-loaded": ("supervisor", "Supervisor._on_loaded", "before"),
    "children-asked-for": ("supervisor", "Supervisor._on_loaded", "after"),
    "child-forked": ("supervisor", "Supervisor._on_forked", "before"),
    "before-signs-of-life": ("upkeep", "Upkeep.beat", "before"),
    "leases-revoked": ("slots", "Slot.revoke", "after"),
    "leases-given-back": ("oversight", "Oversight._settle", "after"),
    "child-lost": ("supervisor", "Supervisor._lose_child", "before"),
    "before-release": ("endings", "Ending.release", "before"),
    "after-release": ("endings", "Ending.release", "after"),
}
#: Where a job of the app looks, between its start and its end.
IN_A_JOB = "in-the-job"


def arm(path: Path, step: str, count: int = 1, stall_ms: int = 0) -> None:
    """Let the process die, or stand still, that takes *step* for the *count*-th time from now on."""
    new = path.with_suffix(".new")
    new.write_text(f"{step} {count} {stall_ms} {secrets.token_hex(4)}")
    new.rename(path)


def place() -> None:
    """Wrap methods, of the supervisor and of its children alike: the first loader is a fork of the former."""
    if PATH_VARIABLE not in os.environ:
        return
    for name, (module, method, when) in {**SUPERVISOR, **CHILD, **LEAVING}.items():
        _wrap(name, importlib.import_module(f"ctxjobs_worker.{module}"), method, when)
    _place_poison()


def _wrap(name: str, module: Any, method: str, when: When) -> None:
    class_name, _, attribute = method.partition(".")
    cls = getattr(module, class_name)
    inner = cls.__dict__[attribute]

    @functools.wraps(inner)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        if when == "before":
            reach(name)
        result = inner(self, *args, **kwargs)
        if when == "after":
            reach(name)
        return result

    setattr(cls, attribute, wrapped)


#: The id of a job over which every process dies that so much as reads it.
POISON = "job-1000000"
_taken: dict[str, int] = {}


def _place_poison() -> None:
    """As a job whose payload is more than a process can bear, before anything of it runs."""
    worker = importlib.import_module("ctxjobs_worker.worker").Worker
    read = worker.read

    def wrapped(self: Any, taken: Any) -> Any:
        if taken.job_id == POISON:
            strike("poison")
        return read(self, taken)

    worker.read = wrapped


def reach(step: str) -> None:
    """Be at *step*; die, if it is the armed one."""
    path = Path(os.environ.get(PATH_VARIABLE, "/nowhere"))
    if not path.exists():
        return
    try:
        armed, count, stall_ms, nonce = path.read_text().split()
        _taken[nonce] = _taken.get(nonce, 0) + (armed == step)
        if armed != step or _taken[nonce] < int(count):
            return
        path.rename(path.with_suffix(".done"))
    except FileNotFoundError:
        return  # another process was faster
    if stall_ms != "0":
        time.sleep(int(stall_ms) / 1000)
    else:
        strike(step)


def strike(label: str, end: Callable[[], object] = lambda: os.kill(os.getpid(), signal.SIGKILL)) -> None:
    """Note what this process holds, and end it."""
    holders = [os.getpid(), os.getppid()]  # a fork's job is its parent's
    Ledger.here().fault(os.getpid(), label, held_by(holders, os.environ[URL_VARIABLE]))
    end()
