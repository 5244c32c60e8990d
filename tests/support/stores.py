"""Two shops with a database: Flask-SQLAlchemy, and plain SQLAlchemy in a native app. Same models, same jobs.

The database is a file, named in ``TESTS_DATABASE``, so that a worker of its own sees it, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import flask
import flask_sqlalchemy
import sqlalchemy as sa
from sqlalchemy import orm

import ctxjobs
from ctxjobs import CtxJobs, job, register_model


@dataclass(frozen=True)
class Store:
    """One of the two, with its models.

    Attributes:
        name: Before the names of its models.
        create_app: Makes its app.
        engine: Gives its engine.
        session: Its scoped session.
        module: The module with its ``g``.
    """

    name: str
    create_app: Callable[[], Any]
    engine: Callable[[], Any]
    session: Any
    module: Any
    base: Any
    Order: Any
    Note: Any
    Voucher: Any
    Line: Any
    Parcel: Any
    Country: Any
    Payment: Any
    CardPayment: Any


def column(kind: Any) -> Any:
    return orm.mapped_column(kind, primary_key=True)


def declare(prefix: str, base: Any, **options: Any) -> dict[str, Any]:
    """The models; those without a policy fail a job when they are gone."""

    def registered(gone: Any) -> Any:
        return lambda cls: register_model(cls, name=f"{prefix}.{cls.__name__}", gone=gone, **options)

    @registered("fail")
    class Order(base):
        __tablename__ = "orders"
        id: orm.Mapped[int] = column(sa.Integer)
        text: orm.Mapped[str] = orm.mapped_column(sa.String, default="")

    @registered("none")
    class Note(base):
        __tablename__ = "notes"
        id: orm.Mapped[int] = column(sa.Integer)

    @registered("drop")
    class Voucher(base):
        __tablename__ = "vouchers"
        id: orm.Mapped[int] = column(sa.Integer)

    @registered("fail")
    class Line(base):
        __tablename__ = "lines"
        order_id: orm.Mapped[int] = column(sa.Integer)
        name: orm.Mapped[str] = column(sa.String)

    @registered("fail")
    class Parcel(base):
        __tablename__ = "parcels"
        id: orm.Mapped[UUID] = column(sa.Uuid)

    @registered("fail")
    class Country(base):
        __tablename__ = "countries"
        code: orm.Mapped[str] = column(sa.String)

    @registered("fail")
    class Payment(base):
        __tablename__ = "payments"
        id: orm.Mapped[int] = column(sa.Integer)
        kind: orm.Mapped[str] = orm.mapped_column(sa.String)
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "payment"}  # noqa: RUF012 - as SQLAlchemy wants it

    class CardPayment(Payment):
        __mapper_args__ = {"polymorphic_identity": "card"}  # noqa: RUF012 - as above

    names = ("Order", "Note", "Voucher", "Line", "Parcel", "Country", "Payment", "CardPayment")
    declared = locals()
    return {name: declared[name] for name in names}


def url() -> str:
    return f"sqlite:///{os.environ['TESTS_DATABASE']}"


# --- Flask, Flask-SQLAlchemy ---------------------------------------------------------------

db = flask_sqlalchemy.SQLAlchemy()


def create_flask_app() -> flask.Flask:
    app = flask.Flask("flask_store")
    app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI=url(), PROPAGATE_EXCEPTIONS=True)
    db.init_app(app)
    CtxJobs(app)
    return app


# --- native, plain SQLAlchemy --------------------------------------------------------------


class Base(orm.DeclarativeBase):
    pass


Session = orm.scoped_session(orm.sessionmaker())


def create_native_app() -> ctxjobs.App:
    app = ctxjobs.App("native_store")
    app.config.update(SECRET_KEY="k" * 32, PROPAGATE_EXCEPTIONS=True)
    engine = sa.create_engine(url())
    Session.remove()
    Session.configure(bind=engine)

    @app.teardown_appcontext
    def end(exc: BaseException | None) -> None:
        Session.remove()
        engine.dispose()

    CtxJobs(app)
    return app


STORES = {
    "flask": Store(
        "flask",
        create_flask_app,
        lambda: db.engine,
        db.session,
        flask,
        db.Model,
        **declare("flask", db.Model),
    ),
    "native": Store(
        "native",
        create_native_app,
        Session.get_bind,
        Session,
        ctxjobs,
        Base,
        **declare("native", Base, session=Session),
    ),
}


# --- A model that is not SQLAlchemy's ------------------------------------------------------


class Slow:
    """Something that takes longer to load than any job may run."""


class SlowLoader:
    def key_of(self, obj: Slow, /) -> int:
        return 1

    def load(self, key: int, /) -> Slow:
        threading.Event().wait(30)
        return Slow()


register_model(Slow, loader=SlowLoader())


# --- Jobs ----------------------------------------------------------------------------------


def here() -> Store:
    """The store in whose contexts this runs."""
    return STORES["native" if ctxjobs.has_app_context() else "flask"]


def tell(value: Any) -> Any:
    """What *value* is, as something that travels: of an object its class, its key, and whose it is."""
    if isinstance(value, dict):
        return {tell(key): tell(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(map(tell, value))
    if not hasattr(value, "__mapper__"):
        return value if value is None or isinstance(value, str | int) else repr(value)
    owner = "ours" if orm.object_session(value) is here().session() else "not ours"
    return type(value).__name__, sa.inspect(value).identity, owner


@job
def tell_arguments(*args: Any, **kwargs: Any) -> Any:
    return [tell(args), tell(kwargs)]


@job
def tell_g() -> Any:
    return tell(here().module.g.thing)


@job
def give_back(value: Any) -> Any:
    return value


@job
def fail(value: Any) -> None:
    raise RuntimeError("as it should")


def note_failure(failed: Any, connection: Any, *exc_info: Any) -> None:
    """A callback: writes down what it sees of the job and of its ``g``."""
    connection.set("tests.seen", repr((failed.args, tell(here().module.g.thing))))
