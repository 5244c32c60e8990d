"""Sessions and engines of SQLAlchemy: nothing travels, and nothing stays.

Each job has database sessions of its own, and each forked process connections of its own. May import the
floor of hosts and below; never SQLAlchemy, which is loaded wherever there is a session or an engine.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host


class FlaskSQLAlchemyPropagator:
    """``db.session`` and the engines of Flask-SQLAlchemy.

    Flask-SQLAlchemy removes the session itself when its application context is torn down, unless a teardown
    function raises before it or uses the session after it: then its registry keeps the session under the
    ``id`` of a context that is gone, for the next context at that address.
    """

    name = "flask_sqlalchemy"
    essential = False

    def wanted(self, host: Host) -> bool:
        """Whether Flask-SQLAlchemy was set up for the app."""
        module = sys.modules.get("flask_sqlalchemy")
        return module is not None and isinstance(_extension(host), module.SQLAlchemy)

    def capture(self, active: Active) -> None:
        """Nothing travels."""

    def restore(self, value: Any, active: Active) -> None:
        """Nothing came."""

    @contextmanager
    def around(self, host: Host, context: Any) -> Iterator[None]:
        """A scope that begins without a session, and after which those that began in it are removed."""
        scoped = _extension(host).session
        if isinstance(scoped.registry.registry, dict) and (old := scoped.registry.registry.get(id(context))):
            _forget(scoped.registry, old)
        with _sessions_apart(scoped):
            yield

    def after_fork(self, host: Host) -> None:
        """Let all engines of the app connect anew."""
        # Its own property asks for a context, whose teardown functions are none of a fork's business.
        _connect_anew(_extension(host)._app_engines[host.app].values())  # noqa: SLF001 - as the line above says

    def commit_session(self, host: Host) -> Any | None:
        """The session of the active context; None if no context of the app is active."""
        return None if host.active() is None else _extension(host).session()


@dataclass(frozen=True, slots=True)
class SQLAlchemyPropagator:
    """Sessions and engines of SQLAlchemy alone, for every app of the process.

    Around each job the current session is set aside, and the one that the job began is removed: what it did
    not commit is rolled back.

    Args:
        session: A ``scoped_session``; None if there is none.
        engines: Engines besides those that the session's factory names, to connect anew after a fork.
        name: The propagator's name, as for :func:`ctxjobs.register_propagator`.

    Raises:
        ConfigError: *session* is no ``scoped_session``.
    """

    session: Any = None
    engines: Sequence[Any] = ()
    name: str = "sqlalchemy"
    essential = False

    def __post_init__(self) -> None:
        orm = sys.modules.get("sqlalchemy.orm")
        if self.session is not None and (orm is None or not isinstance(self.session, orm.scoped_session)):
            raise ConfigError(
                "SQLAlchemyPropagator(session=...)",
                f"expected a scoped_session, got {type(self.session).__name__}. Other sessions belong to the "
                "code that makes them; give their engines only.",
            )

    def wanted(self, host: Host) -> bool:
        """Always: it was registered for this session."""
        return True

    def capture(self, active: Active) -> None:
        """Nothing travels."""

    def restore(self, value: Any, active: Active) -> None:
        """Nothing came."""

    @contextmanager
    def around(self, host: Host, context: Any) -> Iterator[None]:
        """A scope that begins without a session, and after which those that began in it are removed."""
        if self.session is None:
            yield
        else:
            with _sessions_apart(self.session):
                yield

    def after_fork(self, host: Host) -> None:
        """Let the engines connect anew."""
        options = {} if self.session is None else getattr(self.session.session_factory, "kw", {})
        binds = [options.get("bind"), *(options.get("binds") or {}).values()]
        _connect_anew([*self.engines, *(bind for bind in binds if bind is not None)])

    def commit_session(self, host: Host) -> Any | None:
        """The current session; None if only engines are known."""
        return None if self.session is None else self.session()


def _extension(host: Host) -> Any:
    return getattr(host.app, "extensions", {}).get("sqlalchemy")


#: The pools that forked processes have inherited. Kept, so that no driver's finaliser says goodbye to the
#: database over a socket that is the parent's.
_inherited_pools: Final[list[Any]] = []


def _connect_anew(engines: Iterable[Any]) -> None:
    for engine in engines:
        sync_engine = getattr(engine, "sync_engine", engine).engine  # of an async one; of a connection
        _inherited_pools.append(sync_engine.pool)
        sync_engine.dispose(close=False)


class _PerThread(threading.local):
    """The sessions that begin in this thread, once for each scope around; nested ones come last."""

    def __init__(self) -> None:
        self.begun: list[WeakSet[Any]] = []


_here = _PerThread()


def _note(session: Any, transaction: Any) -> None:
    for begun in _here.begun:
        begun.add(session)


@contextmanager
def _sessions_apart(scoped: Any) -> Iterator[None]:
    """Inside, nobody sees the sessions of outside, and the other way round.

    A session that holds anything has begun a transaction; so the event of that finds also those in nested
    contexts, whose scope cannot be asked any more once they are gone.
    """
    event, registry = sys.modules["sqlalchemy"].event, scoped.registry
    if not event.contains(scoped, "after_transaction_create", _note):
        event.listen(scoped, "after_transaction_create", _note)
    begun: WeakSet[Any] = WeakSet()
    with _set_aside(registry):
        _here.begun.append(begun)
        try:
            yield
        finally:
            _here.begun.pop()
            for session in list(begun):
                _forget(registry, session)


def _set_aside(registry: Any) -> AbstractContextManager[None]:
    try:
        outer = registry() if registry.has() else None
    except (RuntimeError, LookupError):  # its scope is a context, and none is active
        return nullcontext()
    return _without(registry, outer)


@contextmanager
def _without(registry: Any, outer: Any) -> Iterator[None]:
    registry.clear()
    try:
        yield
    finally:
        inner = registry() if registry.has() else None
        registry.clear()
        if outer is not None:
            registry.set(outer)
        if inner is not None:
            inner.close()


def _forget(registry: Any, session: Any) -> None:
    """Roll *session* back, and take it out of *registry* whatever its scope, if it is there at all."""
    held = registry.registry
    scopes = [scope for scope, one in list(held.items()) if one is session] if isinstance(held, dict) else []
    for scope in scopes:
        del held[scope]
    if scopes:
        session.close()
