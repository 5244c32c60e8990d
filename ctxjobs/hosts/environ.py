"""The WSGI environ: what of it travels, and how a request is rebuilt from that.

Copying CGI keys is exact where rebuilding from a URL is not (ProxyFix, a prefix, a subdomain,
quoted paths). May import the policy's and the snapshot's floor; knows no framework.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ctxjobs.snapshot import RequestData

#: CGI keys that say which request it was. ``REMOTE_USER`` is the identity a front-end server vouches for.
_CGI_KEYS: Final = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "wsgi.url_scheme",
)


def read_environ(environ: Mapping[str, Any], headers: Iterable[str]) -> dict[str, str]:
    """The keys of *environ* that travel: the CGI keys, and the request headers named in *headers*."""
    wanted = (*_CGI_KEYS, *("HTTP_" + name.upper().replace("-", "_") for name in headers))
    return {key: value for key in wanted if isinstance(value := environ.get(key), str)}


def content_type(environ: Mapping[str, Any]) -> dict[str, str]:
    """The header that tells how to read the body."""
    value = environ.get("CONTENT_TYPE")
    return {"CONTENT_TYPE": value} if isinstance(value, str) else {}


def rebuild_environ(request: RequestData) -> dict[str, Any]:
    """A WSGI environ for *request*, with streams of its own."""
    body = request.body or b""
    return {
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.version": (1, 0),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        **request.environ,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
