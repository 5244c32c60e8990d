"""``Capture``: the policy, as an app writes it.

Checks what it is given, and works it out once. May import the other files of this package,
:mod:`ctxjobs.triggers` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, cast, get_args

from ctxjobs.errors import ConfigError
from ctxjobs.policy.known import NEEDED_KEYS, SAFE_HEADERS, never_travels
from ctxjobs.policy.paths import parse, split
from ctxjobs.policy.plans import Default, OnError, Plans, Rule, check_cgi_names, public, work_out
from ctxjobs.triggers import Trigger, TriggerRule, trigger_rules

PropagatorRule = Literal["auto", "none"] | tuple[str, ...]
GoneUser = Literal["fail", "anonymous", "drop"]
StaleUser = Literal["run", "fail", "anonymous", "drop"]
#: Names, and rules beside them; or one rule.
AllowList: TypeAlias = tuple[str | Rule, ...] | Rule
GRule: TypeAlias = Literal["public", "none"] | AllowList

_LISTS: Final = ("headers", "session", "g", "environ")
#: What stands for ``g`` in words, as a list.
_G_WORDS: Final[dict[Any, tuple[Rule, ...]]] = {"public": (public,), "none": ()}


@dataclass(frozen=True, slots=True)
class Capture:
    """What a job may take along from the context that enqueues it.

    ``headers``, ``session``, ``g`` and ``environ`` are allow-lists: tuples of names, and of rules
    ``(name, value) -> bool``; one rule may stand alone. What a list takes by name fails the enqueue if it
    cannot travel; what a rule takes is skipped then, with the reason, and so are the safe headers.

    A single value is named by its path: ``g.token``, ``session.cart``, ``headers.X-Tenant``,
    ``environ.SSL_CLIENT_S_DN``, ``body``.

    Args:
        request: Take the request's method, URL, address and headers.
        headers: The request headers that travel; names that carry secrets are refused.
        session: The session keys that travel; none by default.
        g: What of ``g`` travels. ``"public"`` is the rule that takes every name without a leading
            underscore, ``"none"`` takes nothing.
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
        environ: CGI variables of the WSGI environ that travel besides those of every request; strings only.
        hidden: Paths of what travels and is never shown, also ``propagators.<name>``. What it takes from
            a job that it is hidden in stays hidden.
        local: Paths of what never travels, whatever takes it; a job that reads it is told so.
        on_error: By path, what to do with a value that does not encode or is too large: ``"skip"``,
            ``"fail"``, or ``Default(value)`` to send something else.
        limit_bytes: The most that each value may take, in bytes of its JSON; None means that only all of
            them together have a limit, ``CTXJOBS_SNAPSHOT_LIMIT_BYTES``.
        limits: By path, the same for one value.

    Raises:
        ConfigError: Something that never travels is named, a path matches nothing, a default does not
            encode, or a value has the wrong shape.
    """

    request: bool = True
    headers: AllowList = SAFE_HEADERS
    session: AllowList = ()
    g: GRule = "public"
    body_bytes: int = 0
    propagators: PropagatorRule = "auto"
    triggers: Mapping[str, Mapping[Trigger, TriggerRule]] = field(default_factory=dict, hash=False)
    gone_user: GoneUser = "fail"
    stale_user: StaleUser = "fail"
    max_age_s: float | None = None
    environ: AllowList = ()
    hidden: tuple[str, ...] = ()
    local: tuple[str, ...] = ()
    on_error: Mapping[str, OnError] = field(default_factory=dict, hash=False)
    limit_bytes: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)
    #: The same, worked out; not for users.
    plans: Plans = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in _LISTS:
            value = getattr(self, name)
            if name != "g" or callable(value) or value not in ("public", "none"):
                put(self, name, _listed(name, value))
        if self.propagators not in ("auto", "none"):
            put(self, "propagators", _names("propagators", self.propagators))
        put(self, "triggers", _by_propagator(self.triggers))
        _check_word("gone_user", self.gone_user, get_args(GoneUser))
        _check_word("stale_user", self.stale_user, get_args(StaleUser))
        for name, parse_all in (("hidden", _parse_hidden), ("local", _parse_local)):
            put(self, name, parse_all(_names(name, getattr(self, name))))
        put(
            self,
            "on_error",
            _by_path("on_error", self.on_error, _is_decision, "'skip', 'fail' or Default(...)"),
        )
        put(self, "limits", _by_path("limits", self.limits, _is_size, "a number of bytes"))
        if not (self.limit_bytes is None or _is_size(self.limit_bytes)):
            raise ConfigError(
                "Capture(limit_bytes=...)", f"expected a number of bytes, got {self.limit_bytes!r}"
            )
        lists = {name: self._list(name) for name in _LISTS}
        for name, items in lists.items():
            _refuse(name, (item for item in items if isinstance(item, str) and never_travels(name, item)))
        check_cgi_names(item for item in lists["environ"] if isinstance(item, str))
        decisions = (self.local, self.hidden, self.on_error, self.limits, self.limit_bytes)
        put(self, "plans", work_out(lists, *decisions))

    def _list(self, name: str) -> tuple[str | Rule, ...]:
        value = getattr(self, name)
        return _G_WORDS[value] if isinstance(value, str) else value

    def replace(self, **changes: Any) -> Capture:
        """A copy with *changes*; each key is an argument of :class:`Capture`.

        Raises:
            ConfigError: As for :class:`Capture`; also for a key that it does not have.
        """
        unknown = changes.keys() - {field.name for field in fields(self) if field.init}
        if unknown:
            listed = ", ".join(repr(name) for name in sorted(unknown))
            raise ConfigError(
                "Capture.replace(...)", f"{listed}: Capture has no such argument; see its docstring."
            )
        return replace(self, **changes)

    def extend(
        self,
        *,
        headers: AllowList = (),
        session: AllowList = (),
        g: AllowList = (),
        environ: AllowList = (),
        hidden: tuple[str, ...] = (),
        local: tuple[str, ...] = (),
        on_error: Mapping[str, OnError] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Capture:
        """A copy that takes these, too; each argument is one of :class:`Capture`.

        What a rule takes stays as it is: ``Capture().extend(g=("tenant",))`` takes every public name, and
        fails the enqueue only if ``tenant`` cannot travel. What is local stays local.

        Raises:
            ConfigError: As for :class:`Capture`.
        """
        more = {"headers": headers, "session": session, "g": g, "environ": environ}
        merged: dict[str, Any] = {
            name: _merged(self._list(name), _listed(name, items))
            for name, items in more.items()
            if items != ()
        }
        for name, paths in (("hidden", hidden), ("local", local)):
            merged[name] = (*getattr(self, name), *_names(name, paths))
        merged["on_error"] = {**self.on_error, **(on_error or {})}
        merged["limits"] = {**self.limits, **(limits or {})}
        return replace(self, **merged)


#: A policy in place of the app's, or a function that derives one from the app's.
CaptureChoice: TypeAlias = Capture | Callable[[Capture], Capture]


def derived(choice: CaptureChoice | None, base: Capture) -> Capture:
    """The policy that *choice* stands for, in an app whose own is *base*; None means the app's own.

    Raises:
        ConfigError: A function returned something else.
    """
    if choice is None:
        return base
    return choice if isinstance(choice, Capture) else _derive(choice, base)


@lru_cache(maxsize=256)
def _derive(choice: Callable[[Capture], Capture], base: Capture) -> Capture:
    if not callable(choice):
        raise ConfigError("capture=...", f"expected a Capture or a function, got {type(choice).__name__}")
    policy = choice(base)
    if not isinstance(policy, Capture):
        raise ConfigError("capture=...", f"the function returned {type(policy).__name__}; return a Capture.")
    return policy


def _names(what: str, value: Any) -> tuple[str, ...]:
    listed = isinstance(value, Collection) and not isinstance(value, str)
    if not listed or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"Capture({what}=...)", f"expected a tuple of names, got {value!r}")
    return tuple(value)


def _listed(what: str, value: Any) -> tuple[str | Rule, ...]:
    if callable(value):
        return (cast("Rule", value),)
    listed = isinstance(value, Collection) and not isinstance(value, str)
    if not listed or not all(isinstance(item, str) or callable(item) for item in value):
        raise ConfigError(f"Capture({what}=...)", f"expected a tuple of names, got {value!r}")
    return tuple(value)


def _merged(items: Iterable[str | Rule], more: Iterable[str | Rule]) -> tuple[str | Rule, ...]:
    return tuple(dict.fromkeys((*items, *more)))


def _parse_hidden(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parse("hidden", path, body=True) for path in paths))


def _parse_local(paths: Iterable[str]) -> tuple[str, ...]:
    parsed = tuple(dict.fromkeys(parse("local", path, kinds=_LISTS, body=True) for path in paths))
    if needed := [path for path in parsed if split(path)[0] == "environ" and split(path)[1] in NEEDED_KEYS]:
        raise ConfigError(
            "Capture(local=...)",
            f"no request can be rebuilt without {needed[0]}; take all or none: request=False.",
        )
    return parsed


def _by_path(what: str, given: Any, fits: Callable[[Any], bool], expected: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(f"Capture({what}=...)", f"expected a dict by path, got {type(given).__name__}")
    for path, value in given.items():
        if not fits(value):
            raise ConfigError(f"Capture({what}=...)", f"{path!r}: expected {expected}, got {value!r}")
    return {parse(what, path, kinds=_LISTS): value for path, value in given.items()}


def _is_decision(value: Any) -> bool:
    return isinstance(value, Default) or value in ("skip", "fail")


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


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
