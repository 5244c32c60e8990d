"""Inline jobs and the caller's database session (flask-sqlalchemy#508), with the real libraries on SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support import inline_orders
from support.inline_orders import Order, place_order

from ctxjobs.registry import registry


@pytest.fixture(params=["flask-sqlalchemy", "plain"])
def session(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The caller's session, in an application context."""
    monkeypatch.setattr(registry, "apps", {})
    with inline_orders.create_app(request.param, tmp_path).app_context():
        yield inline_orders.current[0]


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_session_is_untouched(session: Any, fails: bool) -> None:
    """Its pending object is pending and attached, its loaded one is not expired, its transaction open."""
    session.add(Order(name="loaded"))
    session.commit()
    loaded = session.scalars(select(Order)).one()
    transaction = session().get_transaction()
    pending = Order(name="pending")
    session.add(pending)

    job = place_order.enqueue("from the job", fails)

    assert job.get_status() == ("failed" if fails else "finished")
    assert pending in session.new
    assert loaded in session
    assert "name" in loaded.__dict__
    assert session().get_transaction() is transaction
    assert transaction.is_active


def test_the_jobs_commit_is_its_own(session: Any) -> None:
    """The job's order is there for good, the caller's is not: a rollback takes it alone."""
    session.add(Order(name="pending"))

    assert place_order.enqueue("from the job").return_value() == 1
    session.rollback()

    assert [order.name for order in session.scalars(select(Order))] == ["from the job"]


def test_what_a_failed_job_did_not_commit_is_gone(session: Any) -> None:
    """Its teardown rolls back."""
    place_order.enqueue("from the job", True)

    assert [order.name for order in session.scalars(select(Order))] == ["from the job"]


@pytest.mark.parametrize("session", ["flask-sqlalchemy"], indirect=True)
def test_a_job_that_waits_for_the_commit_runs_there(session: Any) -> None:
    """Not before; it sees what was committed, and the caller's session can be used further."""
    session.add(Order(name="of the caller"))
    job = place_order.options(after="commit").enqueue("from the job")
    session.flush()
    assert not job.connection.exists(job.key)

    session.commit()

    assert job.return_value(refresh=True) == 2
    assert len(session.scalars(select(Order)).all()) == 2
