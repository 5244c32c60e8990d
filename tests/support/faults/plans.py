"""Plans: from a seed, what is enqueued and what goes wrong when. Pure: the same seed makes the same plan."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from support.faults.orders import Order

Hit = Literal[
    "kill-child", "kill-loader", "kill-supervisor", "kill-everybody", "kill-at-a-step", "term", "hup",
    "term-twice", "flush-scripts", "restart-redis", "pause-redis", "cut-line", "cut-replies",
]  # fmt: skip

#: What may happen to processes, and to Redis. What is named more often happens more often.
PROCESSES: Final[tuple[Hit, ...]] = (
    "kill-child", "kill-child", "kill-at-a-step", "kill-at-a-step", "kill-loader", "kill-supervisor",
    "kill-everybody", "term", "hup", "term-twice",
)  # fmt: skip
REDIS: Final[tuple[Hit, ...]] = ("flush-scripts", "restart-redis", "pause-redis", "cut-line", "cut-replies")


@dataclass(frozen=True, slots=True)
class Blow:
    """Something that goes wrong.

    Attributes:
        hit: What.
        at: When: as soon as so many runs have started.
        wait_ms: And so many milliseconds later.
        pick: Which of those that it could hit, modulo their number.
    """

    hit: Hit
    at: int
    wait_ms: int
    pick: int


@dataclass(frozen=True, slots=True)
class Plan:
    """One round.

    Attributes:
        seed: What it was made from.
        orders: All jobs.
        early: How many of them are enqueued before a worker starts; the others come while it works.
        blows: What goes wrong, in this order.
        options: Of the worker.
    """

    seed: int
    orders: tuple[Order, ...]
    early: int
    blows: tuple[Blow, ...]
    options: tuple[str, ...]

    @property
    def queues(self) -> tuple[str, ...]:
        """Its queues, the most urgent first."""
        return tuple(dict.fromkeys(["default", *(order.queue for order in self.orders)]))


def make_plan(seed: int, hits: Sequence[Hit], *, jobs: int = 300, blows: int = 4, children: int = 0) -> Plan:
    """The plan of a seed.

    Args:
        seed: Any number.
        hits: What may go wrong.
        jobs: How many jobs.
        blows: How many times something goes wrong.
        children: How many children run jobs; 0 lets the seed choose.
    """
    rng = random.Random(seed)
    queues = rng.choice([("default",), ("default",), ("default", "other")])
    orders = [_order(rng, number, rng.choice(queues)) for number in range(1, jobs + 1)]
    times = sorted(rng.randrange(1, int(jobs * 0.9)) for _ in range(blows))
    planned = tuple(
        Blow(
            rng.choice(hits),
            at,
            rng.choice([0, 0, rng.randrange(30), rng.randrange(300)]),
            rng.randrange(1000),
        )
        for at in times
    )
    chosen = rng.choice([1, 2, 2, 3])
    options = ["-c", str(children or chosen), "--kill-grace-s", "1"]
    if rng.random() < 0.15:
        options.append("--isolate")
    if rng.random() < 0.2:
        options += ["--max-jobs-per-child", str(rng.randrange(5, 100))]
    if len(queues) > 1:
        options += ["--dequeue-strategy", rng.choice(["default", "round_robin", "random"])]
    # Who enqueues while Redis fails has to see to it himself: a command that is sent twice enqueues twice.
    early = jobs if {*hits} & {*REDIS[1:]} else rng.randrange(jobs)
    return Plan(seed, tuple(orders), early, planned, (*options, *queues))


def _order(rng: random.Random, number: int, queue: str) -> Order:
    kind = rng.choices(["work", "work_async", "fail", "flaky"], [80, 8, 6, 6])[0]
    ms = rng.choices([0, 1, rng.randrange(20, 50), rng.randrange(150, 400)], [70, 20, 8, 2])[0]
    retries = rng.choice([1, 2]) if kind == "flaky" or rng.random() < 0.05 else 0
    if kind == "work" and number > 1 and rng.random() < 0.05:
        return Order(number, "work", ms, queue, retries, after=rng.randrange(max(1, number - 20), number))
    return Order(number, kind, ms, queue, retries)  # type: ignore[arg-type]  # choices() forgets which they are
