"""Which models may travel as references: the public way in.

May import ``models``, ``mapped``, :mod:`ctxjobs.codec` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, get_args, overload

from ctxjobs import codec
from ctxjobs.errors import ConfigError, UnencodableValueError
from ctxjobs.references.mapped import MappedModel, is_mapped
from ctxjobs.references.models import Gone, Model, ModelLoader, models

C = TypeVar("C", bound="type[Any]")

_NO_KEY = "Its loader gives no key for it: store it first."


@overload
def register_model(
    cls: C,
    /,
    *,
    name: str | None = None,
    gone: Gone = "fail",
    session: Callable[[], Any] | None = None,
    loader: ModelLoader | None = None,
) -> C: ...


@overload
def register_model(
    *,
    name: str | None = None,
    gone: Gone = "fail",
    session: Callable[[], Any] | None = None,
    loader: ModelLoader | None = None,
) -> Callable[[C], C]: ...


def register_model(
    cls: Any = None,
    /,
    *,
    name: str | None = None,
    gone: Gone = "fail",
    session: Callable[[], Any] | None = None,
    loader: ModelLoader | None = None,
) -> Any:
    """Let objects of a model travel with jobs, as its name and their key; the worker loads them again.

    They may stand in arguments and on ``g``, at any depth. Usable as a decorator, with and without
    arguments. Do this where both the web process and the worker import it: no other model is ever loaded.

    Args:
        cls: A class that SQLAlchemy maps, or any other one with a *loader*. Polymorphic subclasses of a
            mapped class travel under its name; of any other class, objects of exactly this one.
        name: Its name on the wire, which has to stay the same between deployments; ``module:qualname`` by
            default.
        gone: What to do when the object is gone by the time the job runs: ``"fail"`` the job, give it
            ``"none"`` in the place of the object, or ``"drop"`` the job, which then ends as finished.
        session: For SQLAlchemy without Flask-SQLAlchemy: a ``scoped_session``, or a callable that gives the
            session of the running job.
        loader: For everything else: see :class:`ctxjobs.references.ModelLoader`.

    Raises:
        ConfigError: SQLAlchemy does not map the class, and there is no loader; another class has this name;
            or an argument cannot be used.
    """
    if cls is None:
        return partial(register_model, name=name, gone=gone, session=session, loader=loader)
    model = _made(cls, name or f"{cls.__module__}:{cls.__qualname__}", gone, session, loader)
    _check_name(model)
    codec.register_reference(cls, model.name, model.key_of, subclasses=loader is None)
    models[model.name] = model
    return cls


def _made(cls: Any, name: str, gone: Gone, session: Any, loader: ModelLoader | None) -> Model:
    if gone not in get_args(Gone):
        raise _refused(name, f"gone={gone!r} is none of 'fail', 'none' and 'drop'.")
    if loader is not None:
        return _loaded_by(loader, cls, name, gone, session)
    if not is_mapped(cls):
        raise _refused(name, "SQLAlchemy does not map this class; give it a loader=.")
    if session is not None and (not callable(session) or type(session).__name__ == "sessionmaker"):
        advice = "give a scoped_session, or a callable that gives the session of the running job."
        raise _refused(name, f"session= is a {type(session).__name__}; {advice}")
    mapped = MappedModel(cls, session)
    return Model(cls, name, gone, mapped.key_of, mapped.load)


def _loaded_by(loader: ModelLoader, cls: Any, name: str, gone: Gone, session: Any) -> Model:
    if session is not None or not isinstance(loader, ModelLoader):
        raise _refused(name, "loader= takes an object with key_of() and load(), and goes without session=.")

    def key_of(obj: Any) -> Any:
        key = loader.key_of(obj)
        if key is None:
            raise UnencodableValueError("", type(obj).__qualname__, _NO_KEY)
        return key

    return Model(cls, name, gone, key_of, lambda key, app: loader.load(key))


def _check_name(model: Model) -> None:
    other = models.get(model.name)
    if other is None or _place(other.cls) == _place(model.cls):
        return  # the same class, or made anew by an app factory that was called again
    raise _refused(model.name, f"this is the name of {other.cls!r} already; give {model.cls!r} another one.")


def _place(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _refused(name: str, reason: str) -> ConfigError:
    return ConfigError(f"register_model({name})", reason)
