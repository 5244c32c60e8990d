"""Database sessions around a job: Flask-SQLAlchemy and plain SQLAlchemy, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session
from support.database_apps import SHOPS, Note, Shop

from ctxjobs import Capture, ContextExecutor, Snapshot, capture, run_in_context
from ctxjobs.errors import ConfigError, TeardownError
from ctxjobs.hosts import host_for
from ctxjobs.propagators import SQLAlchemyPropagator, after_fork


class BoomError(Exception):
    """What the jobs raise."""


@pytest.fixture
def flask_shop(url: str) -> Iterator[Shop]:
    """The shop on Flask."""
    shop = SHOPS["flask"](url)
    yield shop
    shop.dispose()


def snapshot_of(shop: Shop, policy: Capture | None = None) -> Snapshot:
    with shop.app.app_context():
        return capture(policy)


def add(shop: Shop, text: str) -> None:
    shop.session.add(Note(text=text))
    shop.session.flush()


def test_nothing_travels(shop: Shop) -> None:
    """Neither the session nor what is pending in it."""
    with shop.app.app_context():
        add(shop, "pending")
        assert set(capture().propagators) <= {"structlog"}


def _exit() -> None:
    raise SystemExit(3)


def _boom() -> None:
    raise BoomError


@pytest.mark.parametrize("ending", [None, _boom, _exit], ids=["returns", "raises", "exits"])
def test_what_a_job_does_not_commit_is_rolled_back(shop: Shop, ending: Callable[[], None] | None) -> None:
    """However the job ends, its session is gone and its connection is back in the pool."""
    snapshot = snapshot_of(shop)

    def work() -> None:
        add(shop, "committed")
        shop.session.commit()
        add(shop, "not committed")
        if ending is not None:
            ending()

    if ending is None:
        run_in_context(snapshot, work)
    else:
        with pytest.raises((BoomError, SystemExit)):
            run_in_context(snapshot, work)
    assert (shop.committed(), shop.left(), shop.engine.pool.checkedout()) == (["committed"], [], 0)


def test_the_callers_session_is_untouched(shop: Shop) -> None:
    """Nothing of it shines through to the job, and it goes on with the objects that are pending."""
    with shop.app.app_context():
        note = Note(text="pending")
        shop.session.add(note)
        before, snapshot = shop.session(), capture()

        def work() -> list[Any]:
            add(shop, "of the job")
            shop.session.commit()
            return [shop.session() is before, list(shop.session.new)]

        assert run_in_context(snapshot, work) == [False, []]
        assert shop.session() is before
        assert note in before
        shop.session.commit()
    assert shop.committed() == ["of the job", "pending"]


def test_teardown_functions_have_the_session_of_the_job(shop: Shop) -> None:
    """It is removed after the last of them, with what they have not committed."""
    seen: list[Any] = []
    snapshot = snapshot_of(shop)

    @shop.app.teardown_appcontext
    def tear_down(exc: BaseException | None) -> None:
        seen.append(shop.session())
        add(shop, "of the teardown")

    job_session = run_in_context(snapshot, lambda: shop.session())
    assert [one is job_session for one in seen] == [True]
    assert shop.committed() == []
    assert [one for one in shop.left() if one is job_session] == []


def test_a_teardown_function_that_raises_leaves_no_session(shop: Shop) -> None:
    """Flask skips Flask-SQLAlchemy's own one then, which would be called after it."""
    snapshot = snapshot_of(shop)
    shop.app.teardown_appcontext(lambda exc: _boom())
    with pytest.raises(TeardownError):
        run_in_context(snapshot, add, shop, "not committed")
    assert (shop.committed(), shop.left(), shop.engine.pool.checkedout()) == ([], [], 0)


def test_a_session_that_is_used_after_its_removal_is_removed_too(flask_shop: Shop) -> None:
    """A teardown function that was there before Flask-SQLAlchemy runs after it."""
    flask_shop.app.teardown_appcontext_funcs.insert(0, lambda exc: add(flask_shop, "too late"))
    snapshot = Snapshot("shop")
    run_in_context(snapshot, int)
    assert (flask_shop.committed(), flask_shop.left(), flask_shop.engine.pool.checkedout()) == ([], [], 0)


@pytest.mark.parametrize("pops", [True, False], ids=["popped", "left behind"])
def test_nested_contexts_leave_nothing(flask_shop: Shop, pops: bool) -> None:
    """Also when their teardown raises before Flask-SQLAlchemy has removed the session."""
    flask_shop.app.teardown_appcontext(lambda exc: _boom())

    def work() -> None:
        context = flask_shop.app.app_context()
        context.push()
        add(flask_shop, "nested")
        if pops:
            with pytest.raises(BoomError):
                context.pop()

    with pytest.raises(TeardownError):
        run_in_context(Snapshot("shop"), work)
    assert (flask_shop.committed(), flask_shop.left(), flask_shop.engine.pool.checkedout()) == ([], [], 0)


def test_a_session_of_a_context_that_was_at_the_same_address(
    flask_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flask-SQLAlchemy names sessions by the id of a context, which Python gives to the next one."""
    context = flask_shop.app.app_context()
    old = flask_shop.session.registry.createfunc()
    flask_shop.session.registry.registry[id(context)] = old
    monkeypatch.setattr(flask_shop.app, "app_context", lambda: context)
    assert run_in_context(Snapshot("shop"), lambda: flask_shop.session() is old) is False


def test_a_policy_without_propagators_still_gets_sessions_of_its_own(shop: Shop) -> None:
    """A policy says what travels, and not what is cleaned up."""
    with shop.app.app_context():
        before, snapshot = shop.session(), capture(Capture(propagators="none"))
        assert run_in_context(snapshot, lambda: shop.session() is before) is False
        assert shop.session() is before


def test_calls_of_an_executor_have_sessions_of_their_own(shop: Shop) -> None:
    """Though they run in one thread, to which a plain session belongs; nothing uncommitted stays."""

    def work(text: str) -> Any:
        add(shop, text)
        return shop.session()

    with ContextExecutor(ThreadPoolExecutor(1)) as executor, shop.app.app_context():
        first, second = [executor.submit(work, text).result() for text in ("first", "second")]
    assert first is not second
    assert (shop.committed(), shop.engine.pool.checkedout()) == ([], 0)


def test_after_a_fork_engines_connect_anew(shop: Shop) -> None:
    """The connections of the parent are neither used nor closed."""
    with shop.engine.connect() as connection:
        inherited = connection.connection.dbapi_connection
    pool = shop.engine.pool
    after_fork([host_for(shop.app)])
    with shop.engine.connect() as connection:
        assert connection.connection.dbapi_connection is not inherited
    assert pool.checkedin() == 1
    inherited.cursor().execute("SELECT 1")
    pool.dispose()


def test_engines_without_a_session(url: str) -> None:
    """Engines can be given alone; a job runs as it would without."""
    engine = sa.create_engine(url)
    propagator = SQLAlchemyPropagator(engines=[engine], name="reports")
    pool = engine.pool
    propagator.after_fork(Any)
    assert engine.pool is not pool
    with propagator.around(Any, None):
        assert propagator.commit_session(Any) is None


def test_an_app_that_cannot_be_used_after_a_fork(
    flask_shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is raised, so that the process takes no job, and the log names propagator and app."""
    with monkeypatch.context() as patch:
        patch.setattr(flask_shop.engine, "dispose", lambda close: _boom())
        with pytest.raises(BoomError):
            after_fork([host_for(flask_shop.app)])
    assert "propagator flask_sqlalchemy: app 'shop' cannot be used after the fork" in caplog.text


@pytest.mark.parametrize("wrong", [Session(), "session"], ids=["session", "text"])
def test_only_a_scoped_session_can_be_registered(wrong: Any) -> None:
    """Nobody but the code that made it knows when any other session ends."""
    with pytest.raises(ConfigError, match="expected a scoped_session, got"):
        SQLAlchemyPropagator(wrong)
