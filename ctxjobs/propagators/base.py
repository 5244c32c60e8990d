"""What a propagator is, and which ones this process knows.

The protocol and the registry. May import :mod:`ctxjobs.hosts` for its types and the floors of values;
knows no extension. What is done with propagators is in :mod:`ctxjobs.propagators.carrying`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host
from ctxjobs.policy import Capture
from ctxjobs.triggers import Trigger, TriggerRule, trigger_rules

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


@dataclass(frozen=True, slots=True)
class Draft:
    """A job that is being made, as far as a propagator may ask.

    Attributes:
        host: Its app.
        policy: Its capture policy.
        has_request: Whether it will have a request.
    """

    host: Host
    policy: Capture
    has_request: bool


@runtime_checkable
class SupportsPolicy(Protocol):
    """A propagator that captures by what the policy says; its ``capture`` is not called then."""

    def capture_under(self, policy: Capture, active: Active) -> Any:
        """As :meth:`Propagator.capture`."""
        ...


@runtime_checkable
class SupportsOverride(Protocol):
    """A propagator whose state can be set by :class:`~ctxjobs.Override`."""

    @property
    def override_names(self) -> Collection[str]:
        """The arguments of ``Override`` that it takes; several propagators may take one."""
        ...

    def override(self, values: Mapping[str, Any], captured: Any, draft: Draft) -> Any:
        """What travels, as :meth:`Propagator.capture` would return it.

        Args:
            values: What was said, by name; some of its ``override_names``.
            captured: What it would be without; None for nothing.
            draft: The job.

        Raises:
            ConfigError: A value cannot be used.
        """
        ...


@runtime_checkable
class SupportsClear(Protocol):
    """A propagator that can let a job run with none of its state; needed for the rule ``clear``."""

    def clear(self, active: Active) -> AbstractContextManager[Any] | None:
        """Take away what the process has, inside the contexts of the job; as :meth:`Propagator.restore`."""
        ...


@runtime_checkable
class SupportsTriggers(Protocol):
    """A propagator with rules of its own about what enqueues a job; a policy's rules win."""

    @property
    def on_trigger(self) -> Mapping[Trigger, TriggerRule]:
        """The rules, by trigger; for all others it is ``propagate``."""
        ...


@runtime_checkable
class SupportsCheck(Protocol):
    """A propagator whose state may come from outside, and is checked before it travels."""

    def check(self, value: Any) -> tuple[Any, Mapping[str, str]]:
        """What of a captured *value* may travel; and why the rest may not, by its name."""
        ...


@runtime_checkable
class SupportsMeta(Protocol):
    """A propagator whose library looks for something in RQ's ``job.meta``."""

    def meta(self, value: Any) -> Mapping[str, Any]:
        """What to put there for a *value* that travels."""
        ...


@runtime_checkable
class SupportsFlush(Protocol):
    """A propagator whose library sends what it recorded later, from a thread."""

    def flush(self) -> None:
        """Send it now, within seconds: the process of a worker is about to end."""
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
        ConfigError: Another propagator has its name, or the name cannot be used; or its rules for triggers
            cannot.
    """
    name = propagator.name
    if isinstance(propagator, SupportsTriggers):
        trigger_rules(f"{name}.on_trigger", propagator.on_trigger)
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
