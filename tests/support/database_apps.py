"""Apps with a database: a Flask app with Flask-SQLAlchemy, a native app with a plain ``scoped_session``.

``used_flask_app`` and ``used_native_app`` make one whose engine has connected already, as a module may that
asks the database something while it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flask
import sqlalchemy as sa
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

import ctxjobs
from ctxjobs import App, CtxJobs, job, register_propagator
from ctxjobs.propagators import SQLAlchemyPropagator, base

#: What the workers of the tests read the URL of the database from.
DATABASE_URL = "TEST_DATABASE_URL"


class Base(DeclarativeBase):
    """The tables of the tests."""


class Note(Base):
    """A line of text."""

    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]


db = SQLAlchemy()
plain = scoped_session(sessionmaker())


@dataclass(frozen=True)
class Shop:
    """An app and its database.

    Attributes:
        app: The app.
        session: Its ``scoped_session``.
        engine: The engine that both of them use.
        outside: Another engine, to see what is committed.
    """

    app: Any
    session: Any
    engine: sa.Engine
    outside: sa.Engine

    def committed(self) -> Sequence[str]:
        """All texts that everybody can see, in the order of their ids."""
        with self.outside.connect() as connection:
            return connection.scalars(sa.select(Note.text).order_by(Note.id)).all()

    def left(self) -> list[Any]:
        """The sessions in the registry."""
        held = self.session.registry.registry
        return list(held.values()) if isinstance(held, dict) else list(vars(held).values())

    def dispose(self) -> None:
        """End: remove every session, close every connection."""
        for session in self.left():
            session.close()
        held = self.session.registry.registry
        held.clear() if isinstance(held, dict) else vars(held).clear()
        self.engine.dispose()
        self.outside.dispose()


def flask_shop(url: str, **config: Any) -> Shop:
    """The shop on Flask."""
    app = flask.Flask("shop")
    app.config.update({"SECRET_KEY": "k" * 32, "SQLALCHEMY_DATABASE_URI": url, **config})
    db.init_app(app)
    CtxJobs(app)
    with app.app_context():
        return Shop(app, db.session, db.engine, _outside(url))


def native_shop(url: str, **config: Any) -> Shop:
    """The shop on the native system."""
    app = App("shop")
    app.config.update({"SECRET_KEY": "k" * 32, **config})
    CtxJobs(app)
    engine = sa.create_engine(url)
    plain.configure(bind=engine)
    register_propagator(SQLAlchemyPropagator(plain))
    return Shop(app, plain, engine, _outside(url))


SHOPS = {"flask": flask_shop, "native": native_shop}


def without_plain_session() -> dict[str, Any]:
    """The propagators that ctxjobs brings, for a test to have them alone."""
    known = base.registered_propagators()
    return {name: known[name] for name in known if name != "sqlalchemy"}


def _outside(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    return engine


def web() -> Any:
    """The module with the proxies of the app whose context is active."""
    return flask if flask.has_app_context() else ctxjobs


# --- jobs -----------------------------------------------------------------------------------


@job
def echo(value: Any = None) -> Any:
    """Do nothing."""
    return value


@job
def see() -> list[str]:
    """Tenant and path, as they are here."""
    return [web().g.tenant, web().request.path]


@job
def enqueue_later(commit: bool) -> str:
    """Enqueue a job that waits for this one's commit; return its id."""
    enqueued = echo.options(after="commit").enqueue()
    _session().add(Note(text="of a job"))
    if commit:
        _session().commit()
    return enqueued.id


@job
def look_at_connection() -> dict[str, int]:
    """Which server process serves this job, and which one served the import."""
    return {"now": _ask(_session()), "at_import": _at_import[0], "pid": os.getpid()}


def _session() -> Any:
    return db.session if flask.has_app_context() else plain


def _ask(session: Any) -> int:
    return int(session.scalar(sa.text("SELECT pg_backend_pid()")))


_at_import: list[int] = []


def used_flask_app() -> Any:
    """A Flask app whose pool has a connection."""
    app = flask_shop(os.environ[DATABASE_URL]).app
    with app.app_context():
        _at_import.append(_ask(db.session))
    return app


def used_native_app() -> Any:
    """A native app whose pool has a connection."""
    app = native_shop(os.environ[DATABASE_URL]).app
    _at_import.append(_ask(plain))
    plain.remove()
    return app


def app_with_a_broken_engine() -> Any:
    """An app whose engine cannot be disposed of."""

    class Broken:
        @property
        def engine(self) -> Any:
            return 1 / 0

    register_propagator(SQLAlchemyPropagator(engines=[Broken()], name="broken"))
    return used_flask_app()
