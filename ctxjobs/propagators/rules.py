"""Which propagators take part in a job that is enqueued, and what each of them does there.

May import :mod:`ctxjobs.propagators.base`, hosts and the floors of values; knows no extension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Host
from ctxjobs.policy import Capture
from ctxjobs.propagators.base import Propagator, SupportsClear, registered_propagators
from ctxjobs.triggers import Trigger, TriggerRule

_NO_RULES: Final[Mapping[Trigger, TriggerRule]] = {}


def chosen(host: Host, policy: Capture, trigger: Trigger) -> Iterator[tuple[Propagator, TriggerRule]]:
    """The propagators that *policy* chooses, each with its rule for *trigger*.

    Those that the app does not use are among them where the rule is ``clear``: the worker may have more
    than the process that enqueues.

    Raises:
        ConfigError: The policy names one that is not registered, that the app does not use, or that cannot be
            cleared.
    """
    registered = registered_propagators()
    if policy.triggers:
        for name in (name for name in policy.triggers if name not in registered):
            raise _unusable("triggers", name, "is not registered", registered)
    named = isinstance(policy.propagators, tuple)
    for name in registered if policy.propagators == "auto" else _listed(host, policy, registered):
        propagator = registered[name]
        # Not isinstance(): asking a protocol takes microseconds, for each propagator of each job.
        own = getattr(propagator, "on_trigger", _NO_RULES)
        rule = _rule(name, own, policy, trigger) if own or policy.triggers else "propagate"
        if rule == "clear" and not isinstance(propagator, SupportsClear):
            raise _unusable("triggers", name, "has no clear(active), so it cannot be cleared", registered)
        if named or rule == "clear" or propagator.wanted(host):
            yield propagator, rule


def _listed(host: Host, policy: Capture, registered: Mapping[str, Propagator]) -> Iterator[str]:
    for name in policy.propagators if isinstance(policy.propagators, tuple) else ():
        if name not in registered:
            raise _unusable("propagators", name, "is not registered", registered)
        if not registered[name].wanted(host):
            raise _unusable("propagators", name, f"is not used by app {host.import_name!r}", registered)
        yield name


def _rule(name: str, own: Mapping[Trigger, TriggerRule], policy: Capture, trigger: Trigger) -> TriggerRule:
    return policy.triggers.get(name, own).get(trigger) or own.get(trigger, "propagate")


def _unusable(what: str, name: str, reason: str, registered: Mapping[str, Propagator]) -> ConfigError:
    known = ", ".join(repr(one) for one in registered)
    return ConfigError(
        f"Capture({what}=...)", f"{name!r} {reason}; take it out, or set it up. Registered: {known}."
    )
