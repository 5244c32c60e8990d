"""The accounts: what became of every job, by the ledger and by Redis.

Each job is in exactly one class. What is not allowed is an offender, and is told with all that is known:

- ``once``: it ran as often as it was to run, and ended as it was to end.
- ``again``: a run of it was repeated, no more often than it was in flight at a fault.
- ``failed``: it failed over a fault at which it was in flight, and the registry has the reason.
- ``waits``: it depends on one of those, so it waits, as in RQ.
- an offender: all else. Lost; run twice, or failed, without a fault; recorded twice; in no place or in two.

*In flight at a fault* is a job that a process which was hit had taken and not reported, that is, which stood
in its leases in Redis when it was stopped. May import the orders, the ledger and the stock; starts nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from support.faults.ledger import History, Run
from support.faults.orders import Order
from support.faults.stock import Stock

#: What the registry of failed jobs says of a job whose process ended, or gave no sign of life any more.
BY_FAULT: Final = re.compile("Work-horse terminated unexpectedly|AbandonedJobError")
#: And of one that failed as planned.
PLANNED: Final = re.compile("PlannedError: as planned|MemoryError|JobTimeoutException")


@dataclass(slots=True)
class Account:
    """What became of every job.

    Attributes:
        classes: The class of each job, by its number.
        offenders: A paragraph for each job that is none of the allowed.
        left: What Redis holds that nobody should hold.
        history: The ledger.
    """

    classes: dict[int, str] = field(default_factory=dict)
    offenders: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)

    @property
    def counts(self) -> Counter[str]:
        """How many jobs are in each class."""
        return Counter(self.classes.values())

    @property
    def is_clean(self) -> bool:
        """Whether there is nothing to complain of."""
        return not self.offenders and not self.left

    def report(self) -> str:
        """All of it, for the message of an assertion."""
        lines = [f"{dict(self.counts)}; faults:", *(f"  {fault}" for fault in self.history.faults)]
        lines += ["offenders:", *self.offenders] if self.offenders else []
        return "\n".join([*lines, *(f"left in Redis: {one}" for one in self.left)])


def account_for(orders: Sequence[Order], history: History, stock: Stock) -> Account:
    """Put every job into its class."""
    account = Account(left=stock.left, history=history)
    by_number = {order.number: order for order in orders}
    for order in orders:
        kind, why = _judge(order, history, stock, by_number)
        account.classes[order.number] = kind
        if why:
            account.offenders.append(_all_about(order, why, history, stock))
    return account


def _judge(order: Order, history: History, stock: Stock, orders: Mapping[int, Order]) -> tuple[str, str]:
    """The class of a job, and what is wrong with it."""
    number, status = order.number, stock.status[order.number]
    strikes = len(history.strikes(number))
    runs = history.runs.get(number, [])
    if status == "deferred" and waits_in_vain(order, stock.status, orders):
        wrong = _wrong_place(order, stock) or ("it ran, and waits" if runs else "")
        return ("waits", wrong) if not wrong else ("wrong", wrong)
    if status not in ("finished", "failed"):
        return "lost", f"lost: it is {status}"
    if wrong := _wrong_place(order, stock) or _too_early(order, runs, history):
        return "wrong", wrong
    repeated = sum(count - 1 for count in Counter(run.left for run in runs).values())
    if repeated > strikes:
        return "wrong", f"it ran {len(runs)} times, and was in flight at {strikes} faults"
    if status == "failed" and BY_FAULT.search(stock.reasons.get(number, "")):
        return ("failed", "") if strikes else ("wrong", "it failed over a fault that did not hit it")
    if not any(run.end is not None for run in runs) and order.kind not in ("exhaust", "overrun"):
        return "lost", f"lost: it is {status}, and was never done"
    if order.succeeds != (status == "finished"):
        return "wrong", f"it is {status}"
    if status == "failed" and not PLANNED.search(stock.reasons.get(number, "")):
        return "wrong", "it failed for another reason than planned"
    return ("again" if repeated else "once"), ""


def waits_in_vain(order: Order, status: Mapping[int, str], orders: Mapping[int, Order]) -> bool:
    """Whether a job depends, by whatever detour, on one that has failed."""
    while order.after:
        if status[order.after] == "failed":
            return True
        order = orders[order.after]
    return False


def _wrong_place(order: Order, stock: Stock) -> str:
    status, places = stock.status[order.number], stock.places.get(order.number, [])
    if places != [status]:
        return f"its hash says {status}, and it is in {places or 'no registry'}"
    if status != "deferred" and stock.results[order.number] != 1:
        return f"it has {stock.results[order.number]} results"
    return ""


def _too_early(order: Order, runs: Sequence[Run], history: History) -> str:
    before = history.runs.get(order.after, [])
    ends = [run.end for run in before if run.end is not None]
    if order.after and runs and (not ends or runs[0].start < min(ends)):
        return f"it started before job {order.after} was done"
    return ""


def _all_about(order: Order, why: str, history: History, stock: Stock) -> str:
    number = order.number
    lines = [f"job {number}: {why}", f"  {order}", f"  status {stock.status[number]}"]
    lines += [f"  in {place}" for place in stock.places.get(number, [])]
    lines += [f"  {run}" for run in history.runs.get(number, [])]
    lines += [f"  in flight at {fault}" for fault in history.strikes(number)]
    if number in stock.reasons:
        lines.append(f"  {stock.reasons[number]}")
    return "\n".join(lines)


def overtaken(account: Account, among: Collection[int] = ()) -> list[str]:
    """Jobs that started before one with a smaller number; for one child, one queue, and no dependents.

    Args:
        account: The account.
        among: Numbers of the jobs to look at; empty means all.
    """
    runs = account.history.runs
    firsts = sorted((runs[number][0].start, number) for number in among or runs)
    return [
        f"job {later} started after job {earlier}"
        for (_, earlier), (_, later) in pairwise(firsts)
        if later < earlier
    ]
