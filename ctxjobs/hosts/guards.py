"""The ``g``, session and request of a job, which know what the capture policy left out.

Subclasses of the app's own classes, made once for each. A name that never was there is answered by the
app's class, as ever; one that was left out raises when it is read bare, and is absent, and noted, when code
asks whether it is there. May import :mod:`ctxjobs.hosts.misses` and Werkzeug; imports no framework.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from werkzeug.exceptions import HTTPException

from ctxjobs.errors import (
    NotCapturedAttributeError,
    NotCapturedFieldError,
    NotCapturedJSONError,
    NotCapturedKeyError,
)
from ctxjobs.hosts.misses import Misses, environ_name

if TYPE_CHECKING:  # what each is mixed into
    from werkzeug.datastructures import EnvironHeaders, MultiDict
    from werkzeug.wrappers import Request

    from ctxjobs.native.ctx import AppContextGlobals

    _G = AppContextGlobals
    _Session = dict[str, Any]
    _Headers = EnvironHeaders
    _Fields = MultiDict[str, Any]
    _Request = Request
else:
    _G = _Session = _Headers = _Fields = _Request = object


class Guards(NamedTuple):
    """The classes that know misses, each mixed into a class of the app's.

    Attributes:
        g: For ``g``.
        session: For the session.
        headers: For the headers of the request.
        request: For the request.
    """

    g: type[Any]
    session: type[Any]
    headers: type[Any]
    request: type[Any]


def guard_g(g: Any, values: dict[str, Any], misses: Misses, mixin: Any) -> Any:
    """A namespace like *g* that knows *misses*.

    A new object, because its attributes are what an app sees when it looks through ``g``: the one more
    that it needs is a slot. Made without a call of the class, which was called for *g*.

    Args:
        g: The ``g`` of a context that is not pushed yet.
        values: Its attributes.
        misses: What was left out.
        mixin: The first of some :class:`Guards`.
    """
    cls: Any = type(g)
    guarded = object.__new__(_guarded(mixin, cls, ("__misses__",)))
    object.__setattr__(guarded, "__misses__", misses)
    for name, value in values.items():
        object.__setattr__(guarded, name, value)
    return guarded


def guard(target: Any, misses: Misses, mixin: Any) -> None:
    """Let a session, a request or its headers know *misses*.

    Its class is changed, it stays the object that it is. Cookies and form of a request will know it, too,
    once they are read.
    """
    cls: Any = type(target)
    target.__dict__["__misses__"] = misses
    target.__class__ = _guarded(mixin, cls)


def misses_of(g: Any) -> Misses | None:
    """What :func:`guard_g` was given for *g*; None for any other object."""
    return g.__misses__ if isinstance(g, _GuardedG) else None


@lru_cache(maxsize=256)
def _guarded(mixin: Any, cls: Any, slots: tuple[str, ...] | None = None) -> Any:
    namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    return type(cls.__name__, (mixin, cls), namespace if slots is None else {**namespace, "__slots__": slots})


class _GuardedG(_G):
    __slots__ = ()

    if TYPE_CHECKING:
        __misses__: Misses

    def __getattr__(self, name: str) -> Any:
        inherited = getattr(super(), "__getattr__", None)
        try:
            return object.__getattribute__(self, name) if inherited is None else inherited(name)
        except AttributeError:
            self.__misses__.refuse(NotCapturedAttributeError, "g", name)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        self.__misses__.forget("g", (name,))

    def __contains__(self, name: Any) -> bool:
        self.__misses__.note("g", name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self.__misses__.note("g", name)
        return super().get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        if default:
            self.__misses__.note("g", name)
            return super().pop(name, *default)
        try:
            return super().pop(name)
        except KeyError:
            self.__misses__.refuse(NotCapturedKeyError, "g", name)
            raise

    def setdefault(self, name: str, default: Any = None) -> Any:
        self.__misses__.note("g", name)
        value = super().setdefault(name, default)
        self.__misses__.forget("g", (name,))
        return value


class _GuardedSession(_Session):
    if TYPE_CHECKING:
        __misses__: Misses

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            self.__misses__.refuse(NotCapturedKeyError, "session", key)
            raise

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self.__misses__.forget("session", (key,))

    def __contains__(self, key: Any) -> bool:
        self.__misses__.note("session", key)
        return super().__contains__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.__misses__.note("session", key)
        return super().get(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        if default:
            self.__misses__.note("session", key)
            return super().pop(key, *default)
        try:
            return super().pop(key)
        except KeyError:
            self.__misses__.refuse(NotCapturedKeyError, "session", key)
            raise

    def setdefault(self, key: str, default: Any = None) -> Any:
        self.__misses__.note("session", key)
        value = super().setdefault(key, default)
        self.__misses__.forget("session", (key,))
        return value

    def update(self, *args: Any, **values: Any) -> None:
        changed = dict(*args, **values)
        super().update(changed)
        self.__misses__.forget("session", changed)

    if not TYPE_CHECKING:  # dict's own has overloads

        def __ior__(self, other):
            self.update(other)
            return self


class _GuardedHeaders(_Headers):
    if TYPE_CHECKING:
        __misses__: Misses

    def __getitem__(self, key: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__getitem__(key, *args, **kwargs)
        except KeyError:
            self.__misses__.refuse(NotCapturedFieldError, "headers", environ_name(key))
            raise

    def __contains__(self, key: Any) -> bool:
        self._note_header(key)
        return super().__contains__(key)

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        self._note_header(key)
        return super().get(key, *args, **kwargs)

    def _note_header(self, key: Any) -> None:
        self.__misses__.note("headers", environ_name(key))


class _GuardedFields(_Fields):
    """The cookies, the form or the files of a request."""

    if TYPE_CHECKING:
        __misses__: Misses
        __kind__: str

    def __getitem__(self, key: str) -> Any:
        try:
            return super().__getitem__(key)
        except KeyError:
            self.__misses__.refuse(NotCapturedFieldError, self.__kind__, key)
            raise

    def __contains__(self, key: Any) -> bool:
        found = super().__contains__(key)
        if not found:
            self.__misses__.note(self.__kind__, key)
        return found

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        if not super().__contains__(key):
            self.__misses__.note(self.__kind__, key)
        return super().get(key, *args, **kwargs)


class _GuardedRequest(_Request):
    if TYPE_CHECKING:
        __misses__: Misses

    @cached_property
    def cookies(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # Werkzeug's is its own kind
        return self._guard_fields("cookies", super().cookies)

    def _load_form_data(self) -> None:
        super()._load_form_data()
        for kind in ("form", "files"):
            self.__dict__[kind] = self._guard_fields(kind, self.__dict__[kind])

    def _guard_fields(self, kind: str, fields: Any) -> Any:
        if kind in self.__misses__.names["request"] and not isinstance(fields, _GuardedFields):
            fields.__dict__["__kind__"] = kind
            guard(fields, self.__misses__, _GuardedFields)
        return fields

    def get_json(self, *args: Any, **kwargs: Any) -> Any:
        self.__misses__.note("json", "")
        return super().get_json(*args, **kwargs)

    def on_json_loading_failed(self, e: ValueError | None) -> Any:
        try:
            return super().on_json_loading_failed(e)
        except HTTPException:
            self.__misses__.refuse(NotCapturedJSONError, "json", "")
            raise


#: The guards of every job.
GUARDS: Final = Guards(_GuardedG, _GuardedSession, _GuardedHeaders, _GuardedRequest)
