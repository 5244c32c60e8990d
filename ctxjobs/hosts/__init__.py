"""Hosts: the frameworks that an app can belong to, behind one interface.

Finds the adapter for an app without importing a framework: an adapter is loaded only once its
framework is in ``sys.modules``, because only then can an app of it exist.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Final

from ctxjobs.errors import UnsupportedAppError
from ctxjobs.hosts.base import Active, Host, Layer
from ctxjobs.hosts.stack import ContextStack, run_clean

__all__ = ["Active", "ContextStack", "Host", "Layer", "context_vars", "host_for", "run_clean"]

#: The module whose presence means "apps of this framework can exist", and the adapter and class for them.
_ADAPTERS: Final = (
    ("ctxjobs.native.app", "ctxjobs.hosts.native", "NativeHost"),
    ("flask.app", "ctxjobs.hosts.flask", "FlaskHost"),
)


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


def context_vars() -> tuple[ContextVar[Any], ...]:
    """The variables that hold contexts, of every framework that is loaded."""
    return tuple(variable for adapter in _loaded() for variable in adapter.context_vars())


def _loaded() -> Iterator[Any]:
    for framework, module, name in _ADAPTERS:
        if framework in sys.modules:
            yield getattr(import_module(module), name)
