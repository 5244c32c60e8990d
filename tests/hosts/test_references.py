"""Models in arguments and on ``g``, of plain SQLAlchemy and of Flask-SQLAlchemy, through a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
import rq
import sqlalchemy as sa
from sqlalchemy import orm
from support import stores
from support.stores import STORES, Store
from support.values import same
from support.working import status, why_failed, work

import ctxjobs
from ctxjobs import Capture, ContextJob, codec, register_model
from ctxjobs.errors import ConfigError, UnencodableValueError
from ctxjobs.propagators import ContextVarPropagator, base
from ctxjobs.references.models import models
from ctxjobs.registry import registry

PARCEL = UUID(int=7)


@pytest.fixture(params=STORES)
def store(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    redis_url: str,
    redis_connection: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Store]:
    """A store with its app's context active, one row in each table, and all sessions closed."""
    monkeypatch.setenv("TESTS_DATABASE", str(tmp_path / "store.sqlite"))
    monkeypatch.setenv("CTXJOBS_REDIS_URL", redis_url)
    monkeypatch.setattr(registry, "apps", {})
    store = STORES[request.param]
    with store.create_app().app_context():
        store.base.metadata.create_all(store.engine())
        store.session.add_all(
            [
                *(model(id=1) for model in (store.Order, store.Note, store.Voucher)),
                store.Line(order_id=1, name="ink"),
                store.Parcel(id=PARCEL),
                store.Country(code="de"),
                store.CardPayment(id=1),
            ]
        )
        store.session.commit()
        yield store


def one(store: Store, name: str) -> Any:
    """The row of a table, loaded."""
    return store.session.scalars(sa.select(getattr(store, name))).one()


def outcome(job: Any, connection: redis.Redis) -> Any:
    """The result of *job*, or the last line of what failed it; the worker finds no session of this thread."""
    stores.here().session.remove()
    work(connection)
    if status(connection, job.id) == "failed":
        return why_failed(connection, job.id).strip().splitlines()[-1]
    return ContextJob.fetch(job.id, connection).return_value()


def delete(store: Store, name: str) -> None:
    """Delete the row, as somebody else would while the job waits."""
    store.session.delete(one(store, name))
    store.session.commit()


# --- Loaded again --------------------------------------------------------------------------

KEYS = {
    "Order": (1,),
    "Line": (1, "ink"),
    "Parcel": (PARCEL,),
    "Country": ("de",),
    "CardPayment": (1,),
}


@pytest.mark.parametrize("name", KEYS)
def test_an_argument_is_loaded_by_its_key(store: Store, redis_connection: redis.Redis, name: str) -> None:
    """Keys of one column and of several, of each type; a subclass that has only its base registered."""
    job = stores.tell_arguments.enqueue(one(store, name))
    assert same(outcome(job, redis_connection), [((name, KEYS[name], "ours"),), {}])


def test_objects_in_containers_are_loaded(store: Store, redis_connection: redis.Redis) -> None:
    """Wherever they stand: in lists, sets and dicts, also as keys, by position and by name."""
    order, told = one(store, "Order"), ("Order", (1,), "ours")
    job = stores.tell_arguments.enqueue([order, {order}], by={"order": (order, {order: 1})})
    assert same(outcome(job, redis_connection), [([told, {told}],), {"by": {"order": (told, {told: 1})}}])


def test_g_is_loaded(store: Store, redis_connection: redis.Redis) -> None:
    """What stands on ``g`` is loaded when the function runs, and belongs to the session of the job."""
    store.module.g.thing = [one(store, "Order")]
    assert outcome(stores.tell_g.enqueue(), redis_connection) == [("Order", (1,), "ours")]


def test_an_override_is_loaded(store: Store, redis_connection: redis.Redis) -> None:
    """An object that the caller puts on ``g`` of the job is loaded like any other there."""
    context = ctxjobs.Override(g={"thing": one(store, "Order")})
    job = stores.tell_g.options(context=context).enqueue()
    assert outcome(job, redis_connection) == ("Order", (1,), "ours")


def test_a_snapshot_is_loaded_without_a_queue(store: Store) -> None:
    """``run_in_context`` does the same, for a snapshot that was never bytes."""
    store.module.g.thing = one(store, "Order")
    assert ctxjobs.run_in_context(ctxjobs.capture(), stores.tell_g.func) == ("Order", (1,), "ours")


def test_what_a_context_variable_holds_is_loaded(
    store: Store, redis_connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenant that a propagator carries; and what ``g`` refers to is loaded once it is there."""
    monkeypatch.setattr(base, "_propagators", {})
    tenant: ContextVar[Any] = ContextVar("tests.tenant")
    ctxjobs.register_propagator(ContextVarPropagator("tests.tenant", tenant))
    store.module.g.thing = one(store, "Note")
    token = tenant.set(one(store, "Order"))
    job = stores.tell_g.enqueue()
    tenant.reset(token)
    seen = []

    @sa.event.listens_for(store.Note, "load")
    def loaded(note: Any, context: Any) -> None:
        seen.append(stores.tell(tenant.get("not set")))

    assert outcome(job, redis_connection) == ("Note", (1,), "ours")
    assert seen == [("Order", (1,), "ours")]
    sa.event.remove(store.Note, "load", loaded)


def test_who_only_looks_at_a_job_loads_nothing(store: Store, redis_connection: redis.Redis) -> None:
    """A dashboard that reads the arguments sees the reference."""
    job = stores.tell_arguments.enqueue(one(store, "Line"))
    seen = ContextJob.fetch(job.id, redis_connection).args
    assert seen == (codec.Reference(f"{store.name}.Line", (1, "ink")),)


def test_a_callback_sees_references_and_a_loaded_g(store: Store, redis_connection: redis.Redis) -> None:
    """It gets RQ's job, whose arguments are not loaded; its contexts are those of the job, loaded afresh."""
    store.module.g.thing = one(store, "Order")
    job = stores.fail.options(on_failure=rq.Callback(stores.note_failure)).enqueue(one(store, "Order"))
    assert "as it should" in outcome(job, redis_connection)
    seen = redis_connection.get("tests.seen")
    assert b"Reference(name=" in seen
    assert b"('Order', (1,), 'ours')" in seen


def test_loading_counts_against_the_time_limit(store: Store, redis_connection: redis.Redis) -> None:
    """A loader that hangs ends with the job's timeout."""
    job = stores.give_back.options(timeout=1).enqueue(stores.Slow())
    assert "JobTimeoutException" in outcome(job, redis_connection)


# --- Gone ----------------------------------------------------------------------------------

GONE = {
    "Order": "ctxjobs.errors.ReferenceGoneError: {path} refers to {host}.Order 1, which cannot be found",
    "Note": None,
    "Voucher": "dropped",
}


@pytest.mark.parametrize("name", ["Order", "Voucher"])
def test_gone_and_hidden(
    store: Store, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Of a hidden value, neither the error nor the log tells the place within it or the key."""
    store.module.g.thing = {"SECRET": one(store, name)}
    job = stores.tell_g.options(capture=ctxjobs.Capture(hidden=("g.thing",))).enqueue()
    delete(store, name)
    told = f"{outcome(job, redis_connection)}{caplog.text}"
    assert f"g.thing refers to {store.name}.{name} (hidden)" in told
    assert "SECRET" not in told


@pytest.mark.parametrize("place", ["argument", "g"])
@pytest.mark.parametrize("name", GONE)
def test_gone(
    store: Store, redis_connection: redis.Redis, caplog: pytest.LogCaptureFixture, name: str, place: str
) -> None:
    """The row is deleted while the job waits: the job fails and says so, gets None, or is dropped."""
    path = "args[0][0]" if place == "argument" else "g.thing[0]"
    value = [one(store, name)]
    if place == "argument":
        job = stores.tell_arguments.enqueue(value)
    else:
        store.module.g.thing = value
        job = stores.tell_g.enqueue()
    delete(store, name)
    got = outcome(job, redis_connection)
    if name == "Order":
        assert str(got).startswith(GONE[name].format(path=path, host=store.name))
    elif name == "Note":
        assert got == ([([None],), {}] if place == "argument" else [None])
    else:
        assert (got, status(redis_connection, job.id)) == (None, "finished")
        assert f"job {job.id}: The job is dropped: {path} refers to {store.name}.Voucher 1" in caplog.text


def test_a_model_that_the_worker_does_not_know(
    store: Store, redis_connection: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is loaded that is not registered there; the job fails and says what to register."""
    job = stores.tell_arguments.enqueue(one(store, "Order"))
    monkeypatch.delitem(models, f"{store.name}.Order")
    assert "no model of that name is registered in this process" in outcome(job, redis_connection)


# --- Refused at enqueue --------------------------------------------------------------------


def refusal(value: Any) -> str:
    with pytest.raises(UnencodableValueError) as caught:
        stores.tell_arguments.enqueue(value)
    return str(caught.value)


def test_an_object_that_is_in_no_database_is_refused(store: Store) -> None:
    """Transient and pending objects have no key that anyone could load; nothing is flushed to get one."""
    order = store.Order(id=5)
    assert "commit it first" in refusal(order)
    store.session.add(order)
    assert "commit it first" in refusal(order)
    assert store.session.new


def test_a_deleted_object_is_refused(store: Store) -> None:
    """Before the flush, after it, and after the commit."""
    order = one(store, "Order")
    store.session.delete(order)
    assert "It is deleted" in refusal(order)
    store.session.flush()
    assert "It is deleted" in refusal(order)
    store.session.commit()
    assert "It is deleted" in refusal(order)


@pytest.mark.parametrize("how", ["commit", "expunge_all"])
def test_encoding_does_not_touch_the_database(store: Store, redis_connection: redis.Redis, how: str) -> None:
    """An expired object, in its session or detached from it, has a key; no statement is run to learn it."""
    order, statements = one(store, "Order"), []
    store.session.expire(order)
    getattr(store.session, how)()
    sa.event.listen(store.engine(), "before_cursor_execute", lambda *args: statements.append(args[2]))
    job = stores.tell_arguments.enqueue(order)
    assert statements == []
    assert outcome(job, redis_connection) == [(("Order", (1,), "ours"),), {}]


def test_a_rule_skips_an_object_that_cannot_travel(store: Store) -> None:
    """Under ``g="public"`` the job does without it, and knows why."""
    store.module.g.thing = store.Order(id=5)
    snapshot = ctxjobs.capture()
    assert "commit it first" in snapshot.skipped["g.thing"]
    with pytest.raises(UnencodableValueError, match=r"g\.thing: .*Order cannot be encoded"):
        ctxjobs.capture(Capture(g=("thing",)))


def test_a_result_is_no_model(store: Store, redis_connection: redis.Redis) -> None:
    """A job that returns an object fails, and the error says to return its id."""
    job = stores.give_back.enqueue(one(store, "Order"))
    said = outcome(job, redis_connection)
    assert "UnencodableValueError: result: " in said
    assert "return its id" in said


def test_meta_holds_no_model(store: Store) -> None:
    """Neither does RQ's meta."""
    with pytest.raises(UnencodableValueError, match=r"meta\.order: .*Order cannot be encoded"):
        stores.give_back.options(meta={"order": one(store, "Order")}).enqueue(1)


def test_the_session_holds_no_model(store: Store) -> None:
    """A session key that a policy names, and whose value is an object, fails the enqueue."""
    app = store.module.current_app._get_current_object()
    with app.test_request_context():
        store.module.session["order"] = [one(store, "Order")]
        with pytest.raises(UnencodableValueError, match="return its id"):
            ctxjobs.capture(Capture(session=("order",)))


# --- Registration --------------------------------------------------------------------------


class Alone(orm.DeclarativeBase):
    pass


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[type]:
    """A model of its own, not registered yet, with a subclass in a table of its own."""
    monkeypatch.setattr("ctxjobs.codec.encoding.encoders", dict(codec.encoding.encoders))
    monkeypatch.setattr("ctxjobs.codec.encoding._bases", dict(codec.encoding._bases))
    kept = dict(models)

    class Animal(Alone):
        __tablename__ = "animals"
        id: orm.Mapped[int] = orm.mapped_column(sa.Integer, primary_key=True)

    class Dog(Animal):
        __tablename__ = "dogs"
        __mapper_args__ = {"concrete": True}  # noqa: RUF012 - as SQLAlchemy wants it
        id: orm.Mapped[int] = orm.mapped_column(sa.Integer, primary_key=True)

    yield Animal
    Alone.registry.dispose()
    Alone.metadata.clear()
    models.clear()
    models.update(kept)


def persistent(cls: type, **values: Any) -> Any:
    obj = cls(**values)
    orm.make_transient_to_detached(obj)
    return obj


def test_a_subclass_in_a_table_of_its_own_is_refused(declared: Any) -> None:
    """Its key means something else in the table of the class that is registered."""
    register_model(declared)
    [subclass] = declared.__subclasses__()
    with pytest.raises(UnencodableValueError, match="register this one, too"):
        codec.encode(persistent(subclass, id=1), "x", references=True)


def test_without_a_session(store: Store, redis_connection: redis.Redis, declared: Any) -> None:
    """Where neither Flask-SQLAlchemy nor a session is there, the job fails and says what to give."""
    register_model(declared)
    job = stores.tell_arguments.enqueue(persistent(declared, id=1))
    said = str(outcome(job, redis_connection)) + why_failed(redis_connection, job.id)
    assert ("give session=" if store.name == "native" else "no such table") in said


@pytest.mark.parametrize("session", [orm.Session(), orm.sessionmaker()], ids=["Session", "sessionmaker"])
def test_a_session_that_cannot_be_the_job_s_is_refused(declared: Any, session: Any) -> None:
    """One session for all jobs is shared by them; one for each call is closed by nobody."""
    with pytest.raises(ConfigError, match="give a scoped_session"):
        register_model(declared, session=session)


def test_an_abstract_class_is_refused(declared: Any) -> None:
    """What SQLAlchemy does not map has no primary key."""
    with pytest.raises(ConfigError, match="does not map this class"):
        register_model(Alone)


def test_rq_decodes_no_reference(store: Store, redis_connection: redis.Redis) -> None:
    """A stock tool that reads the job sees lists and dicts."""
    job = stores.tell_arguments.enqueue(one(store, "Order"))
    [argument] = rq.job.Job.fetch(job.id, redis_connection).args
    assert argument["~"] == "ref"
