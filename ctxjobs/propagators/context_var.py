"""The value of one context variable of the app's own. May import
:mod:`ctxjobs.propagators.base`, hosts and below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any

from ctxjobs.errors import ContextError
from ctxjobs.hosts import Active, Host
from ctxjobs.propagators.base import Draft


@dataclass(frozen=True, slots=True)
class ContextVarPropagator:
    """Carries the value of a :class:`contextvars.ContextVar`, for every app of the process.

    Where the variable is not set, nothing travels; a default is not a value.

    Args:
        name: The propagator's name, as for :func:`ctxjobs.register_propagator`.
        variable: The variable. Its value must be one that can be an argument of a job.
    """

    name: str
    variable: ContextVar[Any]
    essential = True

    def wanted(self, host: Host) -> bool:
        """Always: it was registered for this variable."""
        return True

    def capture(self, active: Active) -> Any:
        """The value, in a list, so that a variable that is set to None differs from one that is not set."""
        return [self.variable.get()] if self.variable in copy_context() else None

    def restore(self, value: Any, active: Active) -> AbstractContextManager[Any]:
        """A scope in which the variable has the value."""
        return self._set(*value)

    @property
    def override_names(self) -> tuple[str]:
        """Its own name."""
        return (self.name,)

    def override(self, values: Mapping[str, Any], captured: Any, draft: Draft) -> Any:
        """The value that was said."""
        return [values[self.name]]

    def clear(self, active: Active) -> None:
        """Nothing: a job runs in a copy of the context variables without this one.

        Raises:
            ContextError: The variable is set, in a block that runs in no such copy.
        """
        if self.variable in copy_context():
            raise ContextError(
                f"Context variable {self.name!r} is set, and the snapshot says that it shall not be. Python "
                "cannot unset it inside a block: use run_in_context(...) in place of restore(...)."
            )

    @contextmanager
    def _set(self, value: Any) -> Iterator[None]:
        token = self.variable.set(value)
        try:
            yield
        finally:
            self.variable.reset(token)
