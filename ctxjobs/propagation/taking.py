"""What one capture takes of ``g``, session and environ, what it leaves, and why.

Applies the plans of a policy to values. May import the policy, the host's reading of environs and the codec;
reads no context itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import UnencodableValueError, ValueLimitError
from ctxjobs.hosts.environ import drop_unsafe, read_environ
from ctxjobs.policy import LOCAL, NEEDED_KEYS, EnvironPlan, Plan


class Leaving:
    """What a capture leaves out.

    Attributes:
        names: Of what the policy does not list, by kind, as :attr:`Snapshot.left_out` has it.
        reasons: Of what it would have taken or keeps local, by path.
    """

    __slots__ = ("names", "reasons")

    def __init__(self) -> None:
        self.names: dict[str, list[Any]] = {}
        self.reasons: dict[str, str] = {}

    def take_back(self, kind: str, name: str) -> None:
        """*name* is taken after all."""
        self.names[kind] = [one for one in self.names.get(kind, ()) if one != name]


def take_values(values: Mapping[str, Any], plan: Plan, leaving: Leaving, show: str) -> dict[str, Primitive]:
    """The *values* that *plan* takes, encoded.

    Args:
        values: What is there.
        plan: What to take of it.
        leaving: Is told of the rest.
        show: Makes of a name the path that errors name it by, such as ``"g.{}"``.

    Raises:
        UnencodableValueError, ValueLimitError: A value that must travel cannot.
    """
    taken: dict[str, Primitive] = {}
    left: list[Any] = []
    limited, references = plan.is_limited, plan.kind == "g"
    local, takes = plan.local, plan.takes
    for name, value in values.items():
        if name in local:
            leaving.reasons[plan.path(name)] = LOCAL
            continue
        if not takes(name, value):
            left.append(name)
            continue
        if type(value) is str and value.isascii() and not limited:  # most are, and stand for themselves
            taken[name] = value
            continue
        try:
            primitive = codec.encode(value, "", references)
            if limited and (too_large := plan.over_limit(name, primitive)):
                raise too_large
            taken[name] = primitive
        except (UnencodableValueError, ValueLimitError) as exc:
            # The path goes through the keys of dicts, which are a part of the value.
            exc.path = show.format(name) + ("" if name in plan.hidden else exc.path)
            settle(exc, name, plan, leaving, taken)
    if left:
        leaving.names.setdefault(plan.kind, []).extend(left)
    return taken


def settle(
    error: UnencodableValueError | ValueLimitError,
    name: str,
    plan: Plan,
    leaving: Leaving,
    taken: dict[str, Any],
) -> None:
    """Do with a value that cannot travel what *plan* says."""
    if name in plan.defaults:
        taken[name] = plan.defaults[name]
    elif name in plan.fails:
        raise error
    else:
        taken.pop(name, None)
        leaving.reasons[plan.path(name)] = _reason(error)


def _reason(error: UnencodableValueError | ValueLimitError) -> str:
    if isinstance(error, ValueLimitError) and error.what == "bytes":
        return f"it takes {error.size} bytes, the limit is {error.limit}"
    return str(error)


def take_environ(environ: Mapping[str, Any], plan: EnvironPlan, leaving: Leaving) -> dict[str, str]:
    """What of *environ* travels.

    Raises:
        ValueLimitError: A value that must travel is too large.
    """
    taken, left = read_environ(environ, plan.keys)
    if not plan.is_plain:
        _apply_rules(environ, plan, taken, left)
        left = _without_local(plan.headers, left, leaving)
        _apply_limits(plan, taken, leaving)
    if reasons := drop_unsafe(taken):
        leaving.reasons.update({plan.headers.path(name): reason for name, reason in reasons.items()})
    if left:
        leaving.names.setdefault("headers", []).extend([key.removeprefix("HTTP_") for key in left])
    return taken


def _apply_rules(
    environ: Mapping[str, Any], plan: EnvironPlan, taken: dict[str, str], left: list[str]
) -> None:
    for key, value in environ.items():
        if key in taken or not isinstance(value, str):
            continue
        part = plan.of(key)
        if part.rule and key not in part.local and part.takes(key, value):
            taken[key] = value
    left[:] = [key for key in left if key not in taken]


def _without_local(headers: Plan, left: list[str], leaving: Leaving) -> list[str]:
    for key in left:
        if key in headers.local:
            leaving.reasons[headers.path(key)] = LOCAL
    return [key for key in left if key not in headers.local]


def _apply_limits(plan: EnvironPlan, taken: dict[str, str], leaving: Leaving) -> None:
    for key, value in list(taken.items()):
        part = plan.of(key)
        if part.is_limited and key not in NEEDED_KEYS and (error := part.over_limit(key, value)):
            error.path = part.path(key)
            settle(error, key, part, leaving, taken)
