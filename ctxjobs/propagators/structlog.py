"""What structlog has bound to the context: travels by value, for the log lines of the job.

May import the floor of hosts and below; never structlog, which is loaded wherever it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ctxjobs import codec
from ctxjobs.errors import UnencodableValueError, ValueLimitError
from ctxjobs.hosts import Active, Host

_MODULE = "structlog.contextvars"


class StructlogPropagator:
    """The values of ``structlog.contextvars.bind_contextvars()``. Those that do not encode stay behind."""

    name = "structlog"
    essential = False

    def wanted(self, host: Host) -> bool:
        """Whether this process has loaded structlog."""
        return _MODULE in sys.modules

    def capture(self, active: Active) -> Any:
        """The bound values; None if nothing is bound."""
        bound: Mapping[str, Any] = sys.modules[_MODULE].get_contextvars()
        return {key: value for key, value in bound.items() if _encodes(value)} or None

    def restore(self, value: Any, active: Active) -> AbstractContextManager[Any]:
        """A scope in which the values are bound."""
        scope: AbstractContextManager[Any] = sys.modules[_MODULE].bound_contextvars(**value)
        return scope

    @contextmanager
    def clear(self, active: Active) -> Iterator[None]:
        """A scope in which nothing is bound."""
        variables = sys.modules[_MODULE]
        bound = variables.get_contextvars()
        variables.clear_contextvars()
        try:
            yield
        finally:
            variables.clear_contextvars()
            variables.bind_contextvars(**bound)


def _encodes(value: Any) -> bool:
    try:
        codec.encode(value, "value")
    except (UnencodableValueError, ValueLimitError):
        return False
    return True
