"""``options(after="commit")``: the job is made at the call, and pushed when the session commits."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from rq.exceptions import DuplicateJobError, InvalidJobOperation
from rq.group import Group
from rq.job import JobStatus
from support import database_apps
from support.database_apps import SHOPS, Note, Shop, echo, enqueue_later, see
from support.working import status, work

from ctxjobs import ContextJob, CtxJobs, Queue
from ctxjobs.errors import ConfigError, RedisUnavailableError
from ctxjobs.propagators import SQLAlchemyPropagator

later = echo.options(after="commit")


@pytest.fixture
def connection(shop: Shop, redis_url: str, redis_connection: redis.Redis) -> Iterator[redis.Redis]:
    """An empty Redis for the shop, one of whose contexts is active."""
    shop.app.config["CTXJOBS_REDIS_URL"] = redis_url
    CtxJobs(shop.app)
    with shop.app.app_context():
        yield redis_connection


@pytest.fixture(autouse=True)
def warnings(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "ctxjobs")
    return caplog


def queued(connection: redis.Redis) -> list[str]:
    return [key.decode() for key in connection.lrange("rq:queue:default", 0, -1)]


def add(shop: Shop, text: str = "order") -> None:
    shop.session.add(Note(text=text))
    shop.session.flush()


# --- Commit and rollback ---------------------------------------------------------------------


def test_it_is_pushed_at_the_commit(shop: Shop, connection: redis.Redis) -> None:
    """Not before; then a worker runs it, and it finds what was committed."""
    add(shop)
    job = later.enqueue(42)
    assert connection.keys("rq:*") == []
    with pytest.raises(InvalidJobOperation):
        job.get_status()
    shop.session.commit()
    assert queued(connection) == [job.id]
    work(connection)
    assert job.return_value(refresh=True) == 42


def test_a_rollback_drops_it(shop: Shop, connection: redis.Redis, warnings: pytest.LogCaptureFixture) -> None:
    """Also for the commits that follow; the log names the job and its function."""
    add(shop)
    job = later.enqueue()
    shop.session.rollback()
    add(shop)
    shop.session.commit()
    assert connection.keys("rq:*") == []
    assert (
        f"job {job.id} (support.database_apps.echo) was not enqueued: the transaction that" in warnings.text
    )


def test_the_end_of_the_session_drops_it(
    shop: Shop, connection: redis.Redis, warnings: pytest.LogCaptureFixture
) -> None:
    """A view that forgets to commit has no job."""
    add(shop)
    job = later.enqueue()
    shop.session.remove()
    assert connection.keys("rq:*") == []
    assert f"job {job.id} " in warnings.text


def test_it_waits_also_before_the_session_is_used(shop: Shop, connection: redis.Redis) -> None:
    """SQLAlchemy begins a transaction at the first use; that is the one whose commit counts."""
    job = later.enqueue()
    with shop.session.begin():
        shop.session.add(Note(text="order"))
        assert queued(connection) == []
    assert queued(connection) == [job.id]


def test_a_session_that_was_never_used_drops_it(
    shop: Shop, connection: redis.Redis, warnings: pytest.LogCaptureFixture
) -> None:
    """There was no commit; that it was lost is told."""
    job = later.enqueue()
    shop.session.remove()
    gc.collect()
    assert connection.keys("rq:*") == []
    assert f"job {job.id} (support.database_apps.echo) was not enqueued: its session" in warnings.text


def test_a_commit_that_fails_drops_it(shop: Shop, connection: redis.Redis) -> None:
    """What the database refuses is no commit."""
    add(shop)
    later.enqueue()
    shop.session.add(Note(id=1, text=None))
    with pytest.raises(sa.exc.IntegrityError):
        shop.session.commit()
    shop.session.rollback()
    shop.session.commit()
    assert (connection.keys("rq:*"), shop.committed()) == ([], [])


def test_a_flush_is_no_commit(shop: Shop, connection: redis.Redis) -> None:
    """Nor is the transaction that SQLAlchemy makes for it."""
    job = later.enqueue()
    add(shop)
    add(shop)
    assert queued(connection) == []
    shop.session.commit()
    assert queued(connection) == [job.id]


# --- Savepoints ------------------------------------------------------------------------------


def test_a_savepoint_that_is_rolled_back_drops_its_jobs_alone(
    shop: Shop, connection: redis.Redis, warnings: pytest.LogCaptureFixture
) -> None:
    """The jobs before and after it are pushed with the outer transaction."""
    add(shop)
    before = later.enqueue("before")
    savepoint = shop.session.begin_nested()
    inside = later.enqueue("inside")
    savepoint.rollback()
    after = later.enqueue("after")
    shop.session.commit()
    assert queued(connection) == [before.id, after.id]
    assert f"job {inside.id} (support.database_apps.echo) was not enqueued: the savepoint" in warnings.text


def test_a_savepoint_that_is_released_is_no_commit(shop: Shop, connection: redis.Redis) -> None:
    """Its jobs wait for the outer transaction."""
    with shop.session.begin_nested():
        job = later.enqueue()
    assert queued(connection) == []
    shop.session.commit()
    assert queued(connection) == [job.id]


def test_a_released_savepoint_in_one_that_is_rolled_back(shop: Shop, connection: redis.Redis) -> None:
    """What became part of the outer one goes with it."""
    outer = shop.session.begin_nested()
    with shop.session.begin_nested():
        later.enqueue()
    outer.rollback()
    shop.session.commit()
    assert connection.keys("rq:*") == []


# --- What the job is -------------------------------------------------------------------------


def test_everything_is_as_it_was_at_the_call(shop: Shop, connection: redis.Redis) -> None:
    """Context, arguments and meta; what the caller changes afterwards changes nothing."""
    context = shop.app.app_context()
    context.push()
    context.g.tenant, lines, meta = "acme", [1], {"tags": [1]}
    job = later.options(meta=meta).enqueue(lines)
    context.g.tenant = "other"
    lines.append(2)
    meta["tags"].append(2)
    shop.session.commit()
    context.pop()
    stored = ContextJob.fetch(job.id, connection)
    assert (stored.args, stored.meta, stored.refusal) == (([1],), {"tags": [1]}, None)
    assert stored.snapshot is not None
    assert stored.snapshot.g == {"tenant": "acme"}
    assert stored.created_at == job.created_at


def test_jobs_are_pushed_in_the_order_of_the_calls(shop: Shop, connection: redis.Redis) -> None:
    """However they were enqueued."""
    jobs = [later.enqueue(), *later.enqueue_many([(1,), {"value": 2}]), later.enqueue()]
    assert queued(connection) == []
    shop.session.commit()
    assert queued(connection) == [job.id for job in jobs]


def test_options_of_rq(shop: Shop, connection: redis.Redis) -> None:
    """At the front, on another queue, and depending on a job that itself waits."""
    first = later.enqueue()
    front = later.options(at_front=True).enqueue()
    other = later.options(queue="mail", timeout=7).enqueue()
    dependent = later.options(depends_on=first).enqueue()
    shop.session.commit()
    assert queued(connection) == [front.id, first.id]
    assert connection.lrange("rq:queue:mail", 0, -1) == [other.id.encode()]
    assert ContextJob.fetch(other.id, connection).timeout == 7
    assert dependent.get_status() == JobStatus.DEFERRED


@pytest.mark.parametrize("unique", [True, False])
def test_a_scheduled_job_is_due_when_the_call_said(shop: Shop, connection: redis.Redis, unique: bool) -> None:
    """Its age counts from then, too."""
    shop.app.config["CTXJOBS_MAX_AGE_S"] = 60
    CtxJobs(shop.app)
    due = datetime.now(timezone.utc) + timedelta(hours=1)
    options = {"unique": True, "job_id": "once"} if unique else {}
    job = later.options(**options).enqueue_at(due)
    assert connection.keys("rq:*") == []
    shop.session.commit()
    assert connection.zscore("rq:scheduled:default", job.id) == int(due.timestamp())
    envelope = ContextJob.fetch(job.id, connection).envelope
    assert envelope is not None
    assert envelope.expires_at == due.timestamp() + 60


def test_a_job_in_an_hour(shop: Shop, connection: redis.Redis) -> None:
    """The hour begins at the call."""
    job = later.enqueue_in(3600)
    shop.session.commit()
    assert status(connection, job.id) == "scheduled"


def test_it_runs_in_the_contexts_of_the_call(shop: Shop, connection: redis.Redis) -> None:
    """Though it is pushed outside of them, by whoever commits; with one teardown, after it."""
    ended: list[BaseException | None] = []
    with shop.app.test_request_context("/orders/7"):
        database_apps.web().g.tenant = "acme"
        expected = see()
        job = see.options(after="commit").enqueue()
    shop.app.teardown_request(ended.append)
    database_apps.web().g.tenant = "other"
    shop.session.commit()
    work(connection)
    assert (job.return_value(refresh=True), ended) == (expected, [None])


# --- Errors ----------------------------------------------------------------------------------


def test_redis_is_away_at_the_commit(
    shop: Shop, connection: redis.Redis, warnings: pytest.LogCaptureFixture
) -> None:
    """The commit is done, and raises; the log names every job; the session can be used as before."""
    shop.app.config["CTXJOBS_REDIS_URL"] = "redis://localhost:1"
    CtxJobs(shop.app)
    add(shop, "first")
    jobs = [later.enqueue(), later.enqueue()]
    with pytest.raises(RedisUnavailableError):
        shop.session.commit()
    assert all(f"job {job.id} (support.database_apps.echo) was not enqueued" in warnings.text for job in jobs)
    assert not shop.session().in_transaction()
    add(shop, "second")
    shop.session.commit()
    assert shop.committed() == ["first", "second"]


def test_a_job_that_rq_refuses_does_not_keep_back_the_others(shop: Shop, connection: redis.Redis) -> None:
    """Its error is raised after they were pushed."""
    once = later.options(job_id="once", unique=True)
    once.enqueue()
    once.enqueue()
    last = later.enqueue()
    with pytest.raises(DuplicateJobError):
        shop.session.commit()
    assert queued(connection) == ["once", last.id]


@pytest.mark.parametrize("option", ["pipeline", "group"])
def test_what_does_not_go_together(shop: Shop, connection: redis.Redis, option: str) -> None:
    """A pipeline is pushed by its owner, and a group is stored at once."""
    value = connection.pipeline() if option == "pipeline" else Group.create(connection)
    with pytest.raises(ConfigError, match=f"leave out after or {option}"):
        later.options(**{option: value}).enqueue()


def test_an_unknown_moment(shop: Shop, connection: redis.Redis) -> None:
    """The message says what there is."""
    with pytest.raises(ConfigError, match="expected 'now', 'commit' or 'response', got 'lunch'"):
        echo.options(after="lunch").enqueue()


def test_now_is_the_default(shop: Shop, connection: redis.Redis) -> None:
    """It can be said, to take back what the decorator says."""
    job = later.options(after="now").enqueue()
    assert queued(connection) == [job.id]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_app_without_a_database(
    shop: Shop, connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to wait for, and the message says what to register."""
    monkeypatch.setattr(database_apps.base, "_propagators", {"reports": SQLAlchemyPropagator(name="reports")})
    with pytest.raises(ConfigError, match=r"register_propagator\(SQLAlchemyPropagator\(session\)\)"):
        later.enqueue()


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_outside_of_a_context_flask_sqlalchemy_has_no_session(url: str, redis_url: str) -> None:
    """The message says to enqueue inside one."""
    shop = SHOPS["flask"](url, CTXJOBS_REDIS_URL=redis_url)
    jobs = CtxJobs(shop.app)
    try:
        with pytest.raises(ConfigError, match="Enqueue inside a context of the app"):
            jobs.job(_bound_to_nothing).options(after="commit").enqueue()
    finally:
        shop.dispose()


def _bound_to_nothing() -> None: ...


def test_rqs_own_queue_waits_for_nothing(shop: Shop, connection: redis.Redis) -> None:
    """``after`` belongs to our API."""
    job = Queue(connection=connection).enqueue(echo)
    assert queued(connection) == [job.id]


def test_a_job_can_wait_for_its_own_commit(shop: Shop, connection: redis.Redis) -> None:
    """As a view can; what it enqueues and does not commit is dropped."""
    jobs: list[Any] = [enqueue_later.enqueue(commit) for commit in (True, False)]
    work(connection)
    assert [job.latest_result().return_value is not None for job in jobs] == [True, True]
    ids = [job.latest_result().return_value for job in jobs]
    assert [status(connection, job_id) for job_id in ids] == ["finished", "(no job)"]
