"""A policy, worked out once: what a capture asks for each value, answered from sets and dicts.

May import the files below it in this package, :mod:`ctxjobs.codec` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import ConfigError, UnencodableValueError, ValueLimitError
from ctxjobs.policy.known import CGI_KEYS, NEVER_G, NEVER_SESSION, SAFE_HEADERS, is_cgi_name, never_travels
from ctxjobs.policy.paths import dotted, header_key, header_name, is_header, split

#: Says by name and value whether to take it.
Rule: TypeAlias = Callable[[str, Any], bool]

#: Why a job does not have what its policy keeps in the process.
LOCAL: Final = "the capture policy says that it is local"


@dataclass(frozen=True, slots=True)
class Default:
    """What travels instead of a value that does not encode, or is too large.

    Args:
        value: A value that encodes; for headers and the environ a string.
    """

    value: Any


_NEVER: Final[Mapping[str, frozenset[str]]] = {"g": NEVER_G, "session": NEVER_SESSION}

OnError: TypeAlias = Literal["skip", "fail"] | Default


def public(name: str, _value: Any) -> bool:
    """The rule ``"public"``: every name without a leading underscore."""
    return not name.startswith("_")


@lru_cache(maxsize=1024, typed=True)
def _is_public(name: str) -> bool:
    """Whether the rule :func:`public` takes *name* on ``g``: the commonest of all questions."""
    return type(name) is str and name not in NEVER_G and name.isprintable() and public(name, None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What of one kind is taken.

    Attributes:
        kind: ``g``, ``session``, ``headers`` or ``environ``.
        names: What is taken by name; headers by their key in the environ, as everywhere below.
        rule: What is taken besides; None for nothing.
        never: What no rule is asked about.
        local: What never is.
        hidden: What is not to be shown.
        fails: Of which a value that cannot travel is an error.
        defaults: What travels in place of such a value, encoded.
        limits: The most that a value may take, in bytes of its JSON, where it has a limit of its own.
        limit_bytes: The same for every other value; None means no limit.
    """

    kind: str
    names: frozenset[str]
    rule: Rule | None
    never: frozenset[str]
    local: frozenset[str]
    hidden: frozenset[str]
    fails: frozenset[str]
    defaults: Mapping[str, Primitive]
    limits: Mapping[str, int]
    limit_bytes: int | None

    def takes(self, name: str, value: Any) -> bool:
        """Whether a list or a rule takes *name*, which is not local; headers by their key."""
        if name in self.names:
            return True
        if self.rule is public and self.kind == "g":
            return _is_public(name)
        if self.rule is None or not self.can_travel(name):
            return False
        return self.rule(header_name(name) if self.kind == "headers" else name, value)

    def can_travel(self, name: object) -> bool:
        """Whether a rule may be asked about *name*."""
        if type(name) is not str or name in self.never or not name.isprintable():
            return False
        return self.kind in ("g", "session") or not never_travels(self.kind, name)

    @property
    def is_limited(self) -> bool:
        """Whether any value has a limit."""
        return self.limit_bytes is not None or bool(self.limits)

    def over_limit(self, name: str, primitive: Primitive) -> ValueLimitError | None:
        """The error of a value that takes more than it may, without a path; None if it does not."""
        limit = self.limits.get(name, self.limit_bytes)
        if limit is None or (size := len(codec.dumps(primitive))) <= limit:
            return None
        return ValueLimitError("", "bytes", size, limit)

    def path(self, name: str) -> str:
        """How a policy names *name*."""
        return dotted(self.kind, header_name(name) if self.kind == "headers" else name)


@dataclass(frozen=True, slots=True)
class EnvironPlan:
    """What of the environ is taken: request headers, and CGI keys.

    Attributes:
        keys: Keys that are taken.
        headers: The plan of the headers.
        cgi: The plan of what else is taken besides the keys that every request needs.
        is_plain: Whether there is nothing to it but :attr:`keys`.
    """

    keys: frozenset[str]
    headers: Plan
    cgi: Plan
    is_plain: bool

    def of(self, key: str) -> Plan:
        """The plan that *key* belongs to."""
        return self.headers if is_header(key) else self.cgi


@dataclass(frozen=True, slots=True)
class Plans:
    """A whole policy, worked out.

    Attributes:
        g: What of ``g`` is taken.
        session: What of the session.
        environ: What of the environ.
        body_is_local: Whether the body stays behind in any case.
    """

    g: Plan
    session: Plan
    environ: EnvironPlan
    body_is_local: bool


def work_out(
    lists: Mapping[str, Iterable[str | Rule]],
    local: Collection[str],
    hidden: Collection[str],
    on_error: Mapping[str, OnError],
    limits: Mapping[str, int],
    limit_bytes: int | None,
) -> Plans:
    """Make plans of a policy.

    Args:
        lists: For each kind its names and rules.
        local: Paths, parsed; as are those of the other arguments.
        hidden: Paths.
        on_error: By path.
        limits: By path.
        limit_bytes: The limit of every other value; None means none.

    Raises:
        ConfigError: A default does not encode, or takes more than its own limit.
    """

    def plan(kind: str, spell: Callable[[str], str] = str, by_rule: Collection[str] = ()) -> Plan:
        items = list(lists[kind])
        names = frozenset(spell(item) for item in items if isinstance(item, str))
        decided = {name: value for (of, name), value in _by_name(on_error) if of == kind}
        fails = {name for name, value in decided.items() if value == "fail"}
        made = Plan(
            kind,
            names,
            _one_rule([item for item in items if not isinstance(item, str)]),
            _NEVER.get(kind, frozenset()),
            frozenset(name for of, name in map(split, local) if of == kind),
            frozenset(name for of, name in map(split, hidden) if of == kind),
            frozenset((names - frozenset(by_rule) - decided.keys()) | fails),
            {name: _encoded(kind, value) for name, value in decided.items() if isinstance(value, Default)},
            {name: value for (of, name), value in _by_name(limits) if of == kind},
            limit_bytes,
        )
        _check_defaults(made)
        return made

    headers = plan("headers", header_key, [header_key(name) for name in SAFE_HEADERS])
    return Plans(plan("g"), plan("session"), _environ_plan(headers, plan("environ")), "body" in local)


def _one_rule(rules: Sequence[Rule]) -> Rule | None:
    if len(rules) < 2:
        return rules[0] if rules else None
    return lambda name, value: any(rule(name, value) for rule in rules)


def _by_name(given: Mapping[str, Any]) -> Iterable[tuple[tuple[str, str], Any]]:
    return ((split(path), value) for path, value in given.items())


def _environ_plan(headers: Plan, cgi: Plan) -> EnvironPlan:
    keys = (headers.names | cgi.names | CGI_KEYS) - headers.local - cgi.local
    special = (headers.rule, cgi.rule, headers.local, cgi.local, headers.is_limited, cgi.is_limited)
    return EnvironPlan(keys, headers, cgi, not any(special))


def _encoded(kind: str, default: Default) -> Primitive:
    if kind in ("headers", "environ") and not isinstance(default.value, str):
        raise ConfigError("Capture(on_error=...)", f"a default in {kind} is a string; pass one.")
    try:
        return codec.encode(default.value, "Default(...)")
    except (UnencodableValueError, ValueLimitError) as exc:
        raise ConfigError("Capture(on_error=...)", str(exc)) from exc


def _check_defaults(plan: Plan) -> None:
    for name, primitive in plan.defaults.items():
        if error := plan.over_limit(name, primitive):
            error.path = f"the default of {plan.path(name)}"
            raise ConfigError("Capture(on_error=...)", str(error)) from error


def check_cgi_names(names: Iterable[str]) -> None:
    """Refuse what is no CGI variable.

    Raises:
        ConfigError: One is a header, or belongs to the server or to Werkzeug.
    """
    for name in names:
        if not is_cgi_name(name):
            raise ConfigError(
                "Capture(environ=...)",
                f"{name!r} is not the name of a CGI variable, such as SSL_CLIENT_S_DN. Name a header in "
                "headers=...; what a server keeps in the environ for itself does not travel.",
            )
