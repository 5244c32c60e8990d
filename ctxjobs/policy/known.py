"""Names that every policy knows: what travels by default, what may be asked for, and what never travels.

Constants and predicates. May import the standard library only.
"""

from __future__ import annotations

import re
from typing import Final

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

#: CGI keys that a request cannot be rebuilt without.
NEEDED_KEYS: Final = frozenset(
    {"REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "SERVER_NAME", "SERVER_PORT", "wsgi.url_scheme"}
)
#: CGI keys that travel with every request. ``REMOTE_USER`` is the identity a front-end server vouches for.
CGI_KEYS: Final = NEEDED_KEYS | {
    "QUERY_STRING",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
}

#: A variable of CGI: neither what a server keeps for itself (``wsgi.*``, ``werkzeug.*``), nor a header.
_CGI_NAME: Final = re.compile(r"(?!HTTP_)[A-Z][A-Z0-9_]*")
#: Apache puts this before what it had before it rewrote the URL, once for each time.
_REDIRECTED: Final = re.compile(r"(REDIRECT_)*(HTTP_)?")


def is_cgi_name(key: str) -> bool:
    """Whether *key* is shaped like a variable of CGI that is not a header."""
    return _CGI_NAME.fullmatch(key) is not None and not _is_redirected_header(key)


def never_travels(kind: str, name: str) -> bool:
    """Whether no policy can take *name*.

    Args:
        kind: ``g``, ``session``, ``headers``, ``environ`` or ``cookies``.
        name: The name; a header's with dashes or underscores, in any case, or its key in an environ.
    """
    if kind == "g":
        return name in NEVER_G
    if kind == "session":
        return name in NEVER_SESSION
    if kind == "headers":
        return NEVER_HEADERS.fullmatch(name.removeprefix("HTTP_").replace("_", "-")) is not None
    if kind == "environ":
        bare = _REDIRECTED.sub("", name, count=1)
        return not is_cgi_name(name) or NEVER_HEADERS.fullmatch(bare.replace("_", "-")) is not None
    return kind == "cookies"


def _is_redirected_header(key: str) -> bool:
    prefix = _REDIRECTED.match(key)
    return prefix is not None and prefix[2] is not None
