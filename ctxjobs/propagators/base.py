"""What a propagator is, and which ones this process knows.

The protocol and the registry. May import :mod:`ctxjobs.hosts` for its types and the floors of values;
knows no extension. What is done with propagators is in :mod:`ctxjobs.propagators.carrying`.
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class Propagator(Protocol):
    """Captures and restores one kind of state that contexts do not hold: a user, a locale, a trace."""

    @property
    def name(self) -> str:
        """What policies, snapshots and messages call it; at most 100 letters, digits, ``_``, ``.``, ``-``."""
        ...

    @property
    def essential(self) -> bool:
        """Whether a job that carries its state must not run where it is not wanted.

        True for what a job's result depends on, such as a user; False for logs and traces.
        """
        ...

    def wanted(self, host: Host) -> bool:
        """Whether the app of *host* uses it, by ``app.extensions`` or ``sys.modules``; imports nothing."""
        ...

    def capture(self, active: Active) -> Any:
        """What travels: a value that the codec encodes, ids rather than objects; None for nothing.

        Args:
            active: The contexts that the job will get; no request context if the policy takes no request.
        """
        ...

    def restore(self, value: Any, active: Active) -> AbstractContextManager[Any] | None:
        """Put *value* back, inside the contexts of the job.

        Args:
            value: What :meth:`capture` returned, a copy of this job's own.
            active: The contexts of the job, pushed.

        Returns:
            A scope that is left before the contexts are popped; it pushes no context of its own, and
            cannot suppress the job's exception. None for what lives on ``g`` and goes with it.
        """
        ...


_propagators: dict[str, Propagator] = {}


def register_propagator(propagator: Propagator) -> None:
    """Let the state that *propagator* knows travel with jobs.

    Do this where both the web process and the worker import it. Propagators capture and restore in the order
    in which they were registered, those of ctxjobs first, and are left in the reverse order.

    Args:
        propagator: See :class:`ctxjobs.propagators.Propagator`. One that equals a registered one changes
            nothing.

    Raises:
        ConfigError: Another propagator has its name, or the name cannot be used.
    """
    name = propagator.name
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "register_propagator(...)",
            f"{name!r} is no name; use at most 100 letters, digits, dots, dashes and underscores.",
        )
    if _propagators.setdefault(name, propagator) != propagator:
        raise ConfigError(
            "register_propagator(...)",
            f"the name {name!r} is taken by {_propagators[name]!r}; give this propagator a name of its own.",
        )


def registered_propagators() -> dict[str, Propagator]:
    """Every propagator by its name, in the order of registration."""
    return dict(_propagators)
