"""Hosts: the frameworks that an app can belong to, behind one interface.

Finds the adapter for an app without importing a framework: an adapter is loaded only once its
framework is in ``sys.modules``, because only then can an app of it exist.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache, lru_cache
from importlib import import_module
from typing import Any, Final

from ctxjobs.errors import UnsupportedAppError
from ctxjobs.hosts.base import Active, Host, Layer
from ctxjobs.hosts.stack import ContextStack, pop_others, run_clean

__all__ = [
    "Active",
    "ContextStack",
    "Host",
    "Layer",
    "active_hosts",
    "context_vars",
    "host_for",
    "pop_others",
    "register_host",
    "run_clean",
]

#: The module whose presence means "apps of this framework can exist", and the adapter and class for them.
_ADAPTERS: Final = (
    ("ctxjobs.native.app", "ctxjobs.hosts.native", "NativeHost"),
    ("flask.app", "ctxjobs.hosts.flask", "ADAPTER"),
)

_registered: list[type[Host]] = []


def register_host(adapter: type[Host]) -> None:
    """Let apps of one more framework be bound.

    :class:`ctxjobs.testing.HostConformance` tells whether the adapter does what it must.

    Args:
        adapter: Made with an app; asked before the ones that ctxjobs brings.
    """
    if adapter not in _registered:
        _registered.insert(0, adapter)


def host_for(app: Any) -> Host:
    """The host of *app*.

    Args:
        app: A :class:`ctxjobs.App` or a Flask app.

    Raises:
        UnsupportedAppError: No adapter accepts it.
    """
    for adapter in _loaded():
        if adapter.accepts(app):
            host: Host = adapter(app)
            return host
    raise UnsupportedAppError(f"{type(app).__module__}.{type(app).__qualname__}")


def active_hosts() -> Iterator[tuple[Host, Active]]:
    """For each framework that is loaded, the app whose application context is the innermost one."""
    for adapter in _loaded():
        app = adapter.active_app()
        if app is None or type(host := host_for(app)) is not adapter:
            continue  # nothing active, or an app that an adapter before this one has taken
        active = host.active()
        if active is not None:
            yield host, active


def context_vars() -> tuple[ContextVar[Any], ...]:
    """The variables that hold contexts, of every framework that is loaded."""
    return _variables_of(tuple(_loaded()))


@lru_cache(maxsize=16)
def _variables_of(adapters: tuple[type[Host], ...]) -> tuple[ContextVar[Any], ...]:
    each = (variable for adapter in adapters for variable in adapter.context_vars())
    return tuple(dict.fromkeys(each))  # adapters of one framework share them


def _loaded() -> Iterator[Any]:
    yield from _registered
    for framework, module, name in _ADAPTERS:
        if framework in sys.modules:
            adapter = _adapter(module, name)
            if adapter not in _registered:
                yield adapter


@cache
def _adapter(module: str, name: str) -> Any:
    return getattr(import_module(module), name)
