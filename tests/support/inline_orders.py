"""Apps with a database of both kinds, a job that writes, and what ends a plain session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker

import ctxjobs
from ctxjobs import job


class Base(DeclarativeBase):
    """The tables of all these apps."""


class Order(Base):
    __tablename__ = "orders"
    name: Mapped[str] = mapped_column(primary_key=True)


db = SQLAlchemy(model_class=Base)
#: As in apps without Flask-SQLAlchemy: one for each thread, removed at teardown.
plain: scoped_session[Session] = scoped_session(sessionmaker())
#: Which of the two the app of the test uses.
current: list[Any] = []


@job
def place_order(name: str, fails: bool = False) -> int:
    """Write and commit; return how many orders its own session sees."""
    session = current[0]
    session.add(Order(name=name))
    session.commit()
    if fails:
        session.add(Order(name="never"))
        session.flush()
        raise ValueError("after the flush")
    return len(session.scalars(select(Order)).all())


def create_app(kind: str, folder: Path) -> Flask:
    """An app in inline mode, with an empty SQLite file."""
    app = Flask("orders")
    url = f"sqlite:///{folder / 'orders.sqlite'}"
    app.config.update(SECRET_KEY="k" * 32, CTXJOBS_INLINE=True, SQLALCHEMY_DATABASE_URI=url)
    engine = create_engine(url)
    Base.metadata.create_all(engine)
    if kind == "flask-sqlalchemy":
        db.init_app(app)
        current[:] = [db.session]
    else:
        plain.remove()
        plain.configure(bind=engine)
        current[:] = [plain]
        app.teardown_appcontext(lambda exc: plain.remove())
    ctxjobs.CtxJobs(app)
    return app
