"""Capture policy: what may be taken from a context, and what never is.

Pure values and predicates. May import :mod:`ctxjobs.triggers` and :mod:`ctxjobs.errors`; knows no
framework and takes nothing itself (see :mod:`ctxjobs.hosts` and :mod:`ctxjobs.propagation`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Literal, get_args

from ctxjobs.errors import ConfigError
from ctxjobs.triggers import Trigger, TriggerRule, trigger_rules

#: Request headers that travel by default: what content negotiation, logs, login protection
#: (Flask-Login hashes User-Agent and address) and URL building need, and nothing that authenticates.
SAFE_HEADERS: Final = (
    "Accept",
    "Accept-Language",
    "Host",
    "User-Agent",
    "X-Correlation-ID",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Request-ID",
)

#: Headers that never travel, even when a policy names them: they are secrets.
NEVER_HEADERS: Final = re.compile(
    r"(cookie|set-cookie|authorization|proxy-authorization|(x-)?(csrf|xsrf).*|(x-)?api-?key.*|x-auth-token)",
    re.IGNORECASE,
)

#: Public names on ``g`` that extensions use for secrets and for objects of one process.
NEVER_G: Final = frozenset({"csrf_token", "identity", "flask_httpauth_user", "flask_caching_hit_cache"})
#: Session keys that never travel.
NEVER_SESSION: Final = frozenset({"csrf_token", "_csrf_token"})

PropagatorRule = Literal["auto", "none"] | tuple[str, ...]
GoneUser = Literal["fail", "anonymous", "drop"]
StaleUser = Literal["run", "fail", "anonymous", "drop"]
GRule = Literal["public", "none"] | tuple[str, ...] | Callable[[str, Any], bool]


@dataclass(frozen=True, slots=True)
class Capture:
    """What a job may take along from the context that enqueues it.

    Args:
        request: Take the request's method, URL, address and headers.
        headers: Names of the request headers that travel; names that carry secrets are refused.
        session: Names of the session keys that travel; none unless named.
        g: ``"public"`` takes every name without a leading underscore whose value encodes; a tuple of
            names takes these, and fails the enqueue when one does not encode; a callable
            ``(name, value) -> bool`` chooses; ``"none"`` takes nothing.
        body_bytes: Largest request body that travels, in bytes; 0 takes none.
        propagators: Whose state besides the contexts travels: ``"auto"`` takes that of every registered
            propagator whose library the app uses; a tuple of names takes that of these, and fails the
            enqueue when the app does not use one; ``"none"`` takes nothing.
        triggers: What is done with the state of a propagator, by its name and by what enqueues the job, such
            as ``{"login": {"cron": "clear"}}``: ``"propagate"`` (as if nothing were said) takes it;
            ``"clear"`` takes none, and the job runs with none, whatever its process has; ``"inherit"`` hands
            on what the job that enqueues was given itself, and takes none where no job enqueues.
        gone_user: What a job does whose user no longer exists: ``"fail"``, run as ``"anonymous"``, or
            ``"drop"``, which ends it as finished without running it.
        stale_user: The same where the user's stamp (``CTXJOBS_USER_STAMP``) has changed; ``"run"``
            carries none.
        max_age_s: Seconds after which a job that is due is too old to run; None leaves it to
            ``CTXJOBS_MAX_AGE_S``.

    Raises:
        ConfigError: A header or session key that never travels is named, or a value has the wrong shape.
    """

    request: bool = True
    headers: tuple[str, ...] = SAFE_HEADERS
    session: tuple[str, ...] = ()
    g: GRule = "public"
    body_bytes: int = 0
    propagators: PropagatorRule = "auto"
    triggers: Mapping[str, Mapping[Trigger, TriggerRule]] = field(default_factory=dict, hash=False)
    gone_user: GoneUser = "fail"
    stale_user: StaleUser = "fail"
    max_age_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("headers", "session"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        if not callable(self.g) and self.g not in ("public", "none"):
            object.__setattr__(self, "g", _names("g", self.g))
        if self.propagators not in ("auto", "none"):
            object.__setattr__(self, "propagators", _names("propagators", self.propagators))
        object.__setattr__(self, "triggers", _by_propagator(self.triggers))
        _check_word("gone_user", self.gone_user, get_args(GoneUser))
        _check_word("stale_user", self.stale_user, get_args(StaleUser))
        _refuse("headers", (name for name in self.headers if NEVER_HEADERS.fullmatch(name.replace("_", "-"))))
        _refuse("session", (name for name in self.session if name in NEVER_SESSION))
        if isinstance(self.g, tuple):
            _refuse("g", (name for name in self.g if name in NEVER_G))

    def takes_g(self, name: str, value: Any) -> bool:
        """Whether the rule or list for ``g`` takes *name*."""
        if isinstance(self.g, tuple):
            return name in self.g
        if name in NEVER_G or self.g == "none":
            return False
        return self.g(name, value) if callable(self.g) else not name.startswith("_")

    @property
    def g_is_named(self) -> bool:
        """Whether ``g`` is taken by name, so that a value that does not encode is an error."""
        return isinstance(self.g, tuple)

    def replace(self, **changes: Any) -> Capture:
        """A copy with *changes*; each key is an argument of :class:`Capture`.

        Raises:
            ConfigError: As for :class:`Capture`; also for a key that it does not have.
        """
        unknown = changes.keys() - {field.name for field in fields(self)}
        _refuse("Capture", unknown)
        return replace(self, **changes)


def _names(what: str, value: Any) -> tuple[str, ...]:
    listed = isinstance(value, Collection) and not isinstance(value, str)
    if not listed or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"Capture({what}=...)", f"expected a tuple of names, got {value!r}")
    return tuple(value)


def _by_propagator(triggers: Any) -> dict[str, Mapping[Trigger, TriggerRule]]:
    if not isinstance(triggers, Mapping):
        got = type(triggers).__name__
        raise ConfigError("Capture(triggers=...)", f"expected a dict by names of propagators, got {got}.")
    return {
        str(name): trigger_rules(f"Capture(triggers={{{name!r}: ...}})", rules)
        for name, rules in triggers.items()
    }


def _check_word(what: str, value: Any, words: Collection[str]) -> None:
    if value not in words:
        raise ConfigError(f"Capture({what}=...)", f"expected one of {', '.join(words)}, got {value!r}.")


def _refuse(what: str, names: Iterable[str]) -> None:
    if listed := ", ".join(repr(name) for name in names):
        raise ConfigError(
            f"Capture({what}=...)", f"{listed} never travels with a job; take it out, and pass an id instead."
        )
