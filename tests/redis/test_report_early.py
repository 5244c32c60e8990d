"""What is done is reported in the middle of a job that turned out long: what is told, and what waits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from redis import Redis
from support import depot
from support.working import QuietWorker, status, work


class Batching(QuietWorker):
    """Takes leases, as a child of a supervisor does, and reports early when it is told to."""

    _takes_leases: ClassVar[bool] = True

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()
        signal.signal(signal.SIGURG, self._report)

    def _report(self, *args: Any) -> None:
        assert self._engine is not None
        self._engine.report()


@pytest.fixture
def connection(redis_url: str, redis_connection: Redis) -> Iterator[Redis]:
    """An empty Redis, and the app ``depot`` with its context active."""
    before = signal.getsignal(signal.SIGURG)
    with depot.create_app(redis_url=redis_url).app_context():
        yield redis_connection
    signal.signal(signal.SIGURG, before)


def enqueue(
    names: range, looking: int = -1, looks_at: int = -1, queue: str = "default", cuts: bool = False
) -> None:
    """Enqueue a job for each name; the one called *looking* reports, and looks at another one."""
    for name in names:
        at = f"{queue}-{looks_at}" if name == looking else ""
        options = depot.note_or_report.options(queue=queue, job_id=f"{queue}-{name}")
        options.enqueue(str(name), at, cuts)


def run(connection: Redis, queue: str = "default") -> list[str]:
    work(connection, queue=queue, worker_class=Batching)
    return depot.ran(connection)


def all_once(names: range, looking: int, seen: str) -> list[str]:
    return [f"{looking}: {seen}" if name == looking else str(name) for name in names]


def test_what_is_done_is_told(connection: Redis) -> None:
    """A job that ran before the long one in the same batch is finished while that one runs."""
    enqueue(range(60), looking=50, looks_at=49)
    assert run(connection) == all_once(range(60), 50, "default-49 finished")


@pytest.mark.parametrize("cuts", [False, True])
def test_wherever_it_is_in_its_batch(connection: Redis, cuts: bool) -> None:
    """With or without a request for more under way, and if Redis goes away or not, all others run once."""
    places = range(40, 60, 2)
    for looking in places:
        enqueue(range(70), looking, looking - 1, f"q{looking}", cuts)
    for looking in places:
        connection.delete(depot.RAN, "kept")
        own = str(connection.client_id())  # the worker's, in a moment
        connection.sadd("kept", *({client["id"] for client in connection.client_list()} - {own}))
        ran = run(connection, f"q{looking}")
        assert [name.partition(":")[0] for name in ran] == [str(name) for name in range(70)]
        assert {status(connection, f"q{looking}-{name}") for name in range(70)} == {"finished"}


def test_what_only_rq_can_write_waits(connection: Redis) -> None:
    """A job with a dependent is finished later, once, and its dependent runs then."""
    enqueue(range(60), looking=50, looks_at=49)
    depot.note.options(depends_on="default-49", job_id="next").enqueue("next")
    ran = run(connection)
    assert [name.partition(":")[0] for name in ran] == [*map(str, range(60)), "next"]
    assert "default-49 finished" not in ran[50]
    assert status(connection, "default-49") == "finished"
