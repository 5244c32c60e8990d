"""The ``g``, session and request of a job, which know what the capture policy left out.

Subclasses of the app's own classes, made once for each. A name that never was there is answered by the
app's class, as ever; one that was left out raises when it is read bare, and is absent, and noted, when code
asks whether it is there. May import :mod:`ctxjobs.hosts.misses` and Werkzeug; imports no framework.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from ctxjobs.errors import (
    NotCapturedAttributeError,
    NotCapturedFieldError,
    NotCapturedJSONError,
    NotCapturedKeyError,
)
from ctxjobs.hosts.misses import Misses

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


def guard_g(g: Any, values: dict[str, Any], misses: Misses) -> Any:
    """A namespace like *g* that knows *misses*.

    A new object, because its attributes are what an app sees when it looks through ``g``: the one more
    that it needs is a slot. Made without a call of the class, which was called for *g*.

    Args:
        g: The ``g`` of a context that is not pushed yet.
        values: Its attributes.
        misses: What was left out.
    """
    cls: Any = type(g)
    guarded = object.__new__(_guarded(_GuardedG, cls, ("__misses__",)))
    object.__setattr__(guarded, "__misses__", misses)
    for name, value in values.items():
        object.__setattr__(guarded, name, value)
    return guarded


def guard_session(session: Any, misses: Misses) -> None:
    """Let *session* know *misses*."""
    _guard(_GuardedSession, session, misses)


def guard_request(request: Any, misses: Misses) -> None:
    """Let *request* and its headers know *misses*; its cookies and form will, once they are read."""
    _guard(_GuardedHeaders, request.headers, misses)
    if misses.names["request"]:
        _guard(_GuardedRequest, request, misses)


def misses_of(g: Any) -> Misses | None:
    """What :func:`guard_g` was given for *g*; None for any other object."""
    return g.__misses__ if isinstance(g, _GuardedG) else None


def _guard(mixin: Any, target: Any, misses: Misses) -> None:
    """Change the class of *target*, which stays the object that it is."""
    cls: Any = type(target)
    target.__dict__["__misses__"] = misses
    target.__class__ = _guarded(mixin, cls)


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
        super().update(*args, **values)
        self.__misses__.forget("session", self)

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
            self.__misses__.refuse(NotCapturedFieldError, "headers", _environ_name(key))
            raise

    def __contains__(self, key: Any) -> bool:
        self.__misses__.note("headers", _environ_name(key))
        return super().__contains__(key)

    def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        self.__misses__.note("headers", _environ_name(key))
        return super().get(key, *args, **kwargs)


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
            _guard(_GuardedFields, fields, self.__misses__)
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


def _environ_name(header: Any) -> str:
    return str(header).upper().replace("-", "_")
