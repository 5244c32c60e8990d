"""``Override``: what the caller says about a job's contexts, in place of what is captured.

A checked value. May import :mod:`ctxjobs.policy`, :mod:`ctxjobs.codec` and :mod:`ctxjobs.errors`; knows
no propagator and no app. What it does to a snapshot is in :mod:`ctxjobs.propagation`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from ctxjobs import codec
from ctxjobs.codec import Primitive
from ctxjobs.errors import ConfigError, UnencodableValueError, ValueLimitError
from ctxjobs.policy import NEVER_G, NEVER_SESSION

_UNSET: Final = object()


class Override:
    """What a job shall see, whatever there is where it is enqueued.

    Values on ``g`` and in the session are encoded when the job is enqueued; its ``repr`` shows names only.

    Args:
        user: Whom the job runs as: an id or a user object; None means nobody, the anonymous user.
        locale: Name of the locale, or a ``babel.Locale``; None leaves it to the selector in the job.
        timezone: Name of the time zone, or a time zone that has one; None as for *locale*.
        g: Values on ``g``, by name.
        session: Values in the session, by key; the job has to have a request.
        request: A path or URL, such as ``"/"``. A job that would have no request gets one for it, as
            ``app.test_request_context(request)`` makes it, with an empty session.
        others: For propagators of your own, by the names that they take.

    Raises:
        ConfigError: A name on ``g`` or in the session is one that never travels, or is no string; or
            *request* is no string.
    """

    __slots__ = ("g", "request", "session", "values")

    def __init__(
        self,
        *,
        user: Any = _UNSET,
        locale: Any = _UNSET,
        timezone: Any = _UNSET,
        g: Mapping[str, Any] | None = None,
        session: Mapping[str, Any] | None = None,
        request: str | None = None,
        **others: Any,
    ) -> None:
        named = {"user": user, "locale": locale, "timezone": timezone}
        given = {name: value for name, value in named.items() if value is not _UNSET}
        self.values: Mapping[str, Any] = MappingProxyType({**given, **others})
        self.g = _checked("g", g, NEVER_G)
        self.session = _checked("session", session, NEVER_SESSION)
        self.request = _checked_url(request)

    def encoded_g(self, hidden: Collection[str]) -> dict[str, Primitive]:
        """The values on ``g``, encoded.

        Args:
            hidden: Paths, such as ``g.token``, of values that errors tell nothing of.

        Raises:
            UnencodableValueError, ValueLimitError: One does not encode; has its path.
        """
        return {
            name: _encoded(value, f"g.{name}", f"g.{name}" in hidden, references=True)
            for name, value in self.g.items()
        }

    def encoded_session(self, hidden: Collection[str]) -> dict[str, Primitive]:
        """The values in the session, encoded; as :meth:`encoded_g`."""
        return {
            name: _encoded(value, f"session[{name!r}]", f"session.{name}" in hidden, references=False)
            for name, value in self.session.items()
        }

    def __repr__(self) -> str:
        names = [*self.values, *(f"g.{name}" for name in self.g)]
        names += [f"session.{name}" for name in self.session]
        return f"Override({', '.join(names if self.request is None else ['request', *names])})"


def _encoded(value: Any, path: str, hidden: bool, references: bool) -> Primitive:
    try:
        return codec.encode(value, path, references)
    except (UnencodableValueError, ValueLimitError) as error:
        if hidden:
            error.path = path  # without the keys of dicts, which are a part of the value
        raise


def _checked(what: str, values: Any, never: Collection[str]) -> Mapping[str, Any]:
    key = f"Override({what}=...)"
    if values is None:
        return MappingProxyType({})
    if not isinstance(values, Mapping) or not all(type(name) is str for name in values):
        raise ConfigError(key, f"expected a dict with names as keys, got {type(values).__name__}.")
    if refused := ", ".join(repr(name) for name in values if name in never):
        raise ConfigError(key, f"{refused} never travels with a job; take it out.")
    return MappingProxyType(dict(values))


def _checked_url(url: Any) -> str | None:
    if url is None or isinstance(url, str):
        return url
    raise ConfigError("Override(request=...)", f"expected a path such as '/', got {type(url).__name__}.")
