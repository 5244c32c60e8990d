"""How a policy names one value: ``g.token``, ``session.cart``, ``headers.X-Tenant``, ``body``.

A path has the kind, a dot, and the whole name of the value: nothing inside of a value has one. May import
:mod:`ctxjobs.policy.known` and :mod:`ctxjobs.errors`.
"""

from __future__ import annotations

import re
from typing import Final

from ctxjobs.errors import ConfigError
from ctxjobs.policy.known import CGI_KEYS, is_cgi_name

#: What a header may be called (RFC 9110, section 5.6.2).
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
#: Headers whose keys in an environ have no prefix.
_BARE_HEADERS: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")
_NAMES: Final = {
    "g": str.isidentifier,
    "session": str.isprintable,
    "headers": lambda name: _TOKEN.fullmatch(name) is not None,
    "environ": lambda name: name in CGI_KEYS or is_cgi_name(name),
    "propagators": str.isprintable,
}


def parse(argument: str, path: object, *, kinds: tuple[str, ...] = tuple(_NAMES), body: bool = False) -> str:
    """*path* as it stands in snapshots, where headers have one spelling.

    Args:
        argument: Where the path was given, such as ``hidden``, for messages.
        path: What was given.
        kinds: The kinds that can be named there.
        body: Whether ``body`` can.

    Raises:
        ConfigError: It can never match anything.
    """
    if body and path == "body":
        return "body"
    kind, _, name = path.partition(".") if isinstance(path, str) else ("", "", "")
    if kind not in kinds or not name or not _NAMES[kind](name):
        known = ", ".join([*(f"'{kind}.<name>'" for kind in kinds), *(["'body'"] if body else [])])
        raise ConfigError(f"Capture({argument}=...)", f"{path!r} names no value; write one of {known}.")
    return dotted(kind, header_name(name) if kind == "headers" else name)


def split(path: str) -> tuple[str, str]:
    """Kind and name of a path that :func:`parse` returned; the name of a header is its key in the environ."""
    kind, _, name = path.partition(".")
    return kind, header_key(name) if kind == "headers" else name


def dotted(kind: str, name: str) -> str:
    """The path of *name*; a header's is spelt as :func:`header_name` does."""
    return f"{kind}.{name}"


def header_key(name: str) -> str:
    """The key of the header *name* in a WSGI environ."""
    key = name.upper().replace("-", "_")
    return key if key in _BARE_HEADERS else "HTTP_" + key


def header_name(key: str) -> str:
    """The one spelling of a header: of its key in an environ, with or without ``HTTP_``, or of its name."""
    return key.removeprefix("HTTP_").replace("_", "-").title()


def is_header(key: str) -> bool:
    """Whether *key* of an environ is that of a header."""
    return key.startswith("HTTP_") or key in _BARE_HEADERS
