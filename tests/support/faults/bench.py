"""The bench: one Redis, one app, one crew. Jobs are ordered, and given account of when they have ended.

Several may be at work in one process, each in a thread of its own. May import all but the rounds.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rq.suspension import resume, suspend
from support.faults import app
from support.faults.accounts import Account, account_for, waits_in_vain
from support.faults.crew import Crew
from support.faults.orders import Kind, Order
from support.faults.servers import Server
from support.faults.stock import patient_client, statuses, take_stock
from support.waiting import wait_until

#: States in which a job stays.
ENDS = ("finished", "failed")


class Bench:
    """One bench. Leave it by a ``with`` block.

    Args:
        folder: For the ledger and the logs.
        url: Redis.
        detour: Redis as the workers are told, if that is not *url*.
        settings: For the crew.

    Attributes:
        crew: Its workers.
        connection: Redis.
        orders: The jobs that were not accounted for yet.
    """

    def __init__(self, folder: Path, url: str, *, detour: str = "", **settings: Any) -> None:
        self._app_id = app_id = f"faults-{secrets.token_hex(4)}"
        environment: Mapping[str, str] = settings.pop("environment", {})
        self._app = app.create_app(app_id=app_id, redis_url=url)
        self.crew = Crew(
            folder, url, detour=detour, environment={app.APP_ID_VARIABLE: app_id, **environment}, **settings
        )
        self.connection = patient_client(url)
        self.orders: list[Order] = []
        self._count = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.connection.close()

    def move(self, url: str) -> None:
        """Redis is somewhere else now; workers know that by themselves."""
        self.connection.close()
        self.connection = patient_client(url)
        self.crew.url = url
        self._app = app.create_app(app_id=self._app_id, redis_url=url)

    def order(self, kind: Kind = "work", ms: int = 0, *, count: int = 1, **options: Any) -> int:
        """Enqueue some jobs; the number of the last one."""
        for _ in range(count):
            self._count += 1
            self.place([Order(self._count, kind, ms, **options)])
        return self._count

    def order_some_of_each(self, count: int = 20) -> None:
        """Enqueue short ones, and between them one of each kind."""
        self.order(count=count)
        self.order(ms=5, after=self.order(ms=5))
        self.order("fail")
        self.order("flaky", retries=2)
        self.order("work_async")
        self.order(count=count)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside this block, workers take no jobs."""
        suspend(self.connection)
        try:
            yield
        finally:
            resume(self.connection)

    def place(self, orders: Sequence[Order]) -> None:
        """Enqueue these."""
        self.orders += orders
        for order in orders:
            with self._app.app_context():
                order.place()

    def settle(self, *, timeout_s: float = 20.0) -> Account:
        """Wait until all has ended that was ordered, and nobody holds anything; give account of it.

        Whatever has not ended after *timeout_s* is lost.
        """
        orders, self.orders = self.orders, []
        with suppress(TimeoutError):  # the account tells
            wait_until(_Settled(orders, self), timeout_s=timeout_s, what="all jobs have ended")
        stock = take_stock(self.connection, [one.number for one in orders], {one.queue for one in orders})
        return account_for(orders, self.crew.ledger.read(), stock)


class _Settled:
    """Whether all has ended; asks only for what has not by the last time."""

    def __init__(self, orders: Sequence[Order], bench: Bench) -> None:
        self._bench = bench
        self._orders = {order.number: order for order in orders}
        self._status = dict.fromkeys(self._orders, "")

    def __call__(self) -> bool:
        open_ = [number for number, status in self._status.items() if status not in ENDS]
        self._status |= statuses(self._bench.connection, open_)
        for number in open_:
            order, status = self._orders[number], self._status[number]
            if status not in ENDS and not waits_in_vain(order, self._status, self._orders):
                return False
        queues = {order.queue for order in self._orders.values()}
        return not take_stock(self._bench.connection, (), queues).left


def assert_clean(account: Account) -> None:
    """Nothing is lost, nothing ran twice without a fault, nothing is left over."""
    assert account.is_clean, account.report()


@contextmanager
def running_bench(folder: Path, *options: str) -> Iterator[Bench]:
    """A bench with a Redis of its own, and a worker with these options that is kept running."""
    with (
        Server(folder / "redis") as server,
        Bench(folder, server.url) as bench,
        bench.crew.kept_worker(*options),
    ):
        yield bench
