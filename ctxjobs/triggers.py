"""Triggers: what started a job, and what each kind of state does about it.

Words and one context variable. May import :mod:`ctxjobs.errors`; knows no job and no context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Literal, get_args

from ctxjobs.errors import ConfigError

#: What enqueued a job.
Trigger = Literal["request", "job", "cli", "cron", "code"]

#: What is done with the state of a propagator: take what is there; take none, and let the job run with none;
#: hand on what the job that enqueues was given itself.
TriggerRule = Literal["propagate", "clear", "inherit"]

_declared: ContextVar[Trigger | None] = ContextVar("ctxjobs.trigger", default=None)


@contextmanager
def triggered_by(trigger: Trigger) -> Iterator[None]:
    """Jobs that are enqueued inside this block, unless by a job, have this trigger."""
    token = _declared.set(trigger)
    try:
        yield
    finally:
        _declared.reset(token)


def declared_trigger() -> Trigger | None:
    """The trigger of the innermost :func:`triggered_by`; None outside of one."""
    return _declared.get()


def trigger_rules(key: str, rules: Any) -> dict[Trigger, TriggerRule]:
    """*rules*, checked, as a dict of its own.

    Args:
        key: Where they were given, for the message.
        rules: A mapping of triggers to rules.

    Raises:
        ConfigError: It is no mapping, or one of its words is unknown.
    """
    for known, words in ((_TRIGGERS, _keys(key, rules)), (_RULES, rules.values())):
        if unknown := ", ".join(repr(word) for word in words if word not in known):
            raise ConfigError(key, f"{unknown} is unknown; use {', '.join(known)}.")
    return dict(rules)


_TRIGGERS: Final = get_args(Trigger)
_RULES: Final = get_args(TriggerRule)


def _keys(key: str, rules: Any) -> Iterator[Any]:
    if not isinstance(rules, Mapping):
        raise ConfigError(key, f"expected a mapping such as {{'cli': 'clear'}}, got {type(rules).__name__}.")
    return iter(rules)
