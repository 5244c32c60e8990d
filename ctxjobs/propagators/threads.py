"""Propagated state for a thread of the same process, which has a copy of the variables, but not of ``g``.

May import :mod:`ctxjobs.propagators.base` and ``context_var``, hosts and the codec; knows no extension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from typing import Any

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host
from ctxjobs.propagators.base import Propagator, registered_propagators
from ctxjobs.propagators.context_var import ContextVarPropagator
from ctxjobs.references import load

Scopes = Callable[[], Iterator[AbstractContextManager[Any]]]


def take_for_thread(host: Host, active: Active) -> Scopes:
    """Take the state that a result depends on; call what is returned inside the contexts of the thread.

    Logs and traces, which are not essential, live in context variables, of which a thread has a copy.

    Args:
        host: The app.
        active: Its contexts.

    Raises:
        UnencodableValueError, ValueLimitError: A propagator's value does not encode.
    """
    with host.session_unmarked(active):
        taken = [
            (propagator, _captured(propagator, host, active))
            for propagator in registered_propagators().values()
            if propagator.essential and not isinstance(propagator, ContextVarPropagator)
        ]

    def scopes() -> Iterator[AbstractContextManager[Any]]:
        for propagator, value in taken:
            inside = host.active()
            if value is None or inside is None:
                continue
            scope = propagator.restore(load(value, f"propagators.{propagator.name}", host.app), inside)
            if scope is not None:
                yield scope

    return scopes


def _captured(propagator: Propagator, host: Host, active: Active) -> Primitive:
    # What cannot be put back from an id: the thread has the request itself, and finds it there again.
    with suppress(ConfigError):
        if propagator.wanted(host):
            place = f"propagators.{propagator.name}"
            return codec.encode(propagator.capture(active), place, references=True)
    return None
