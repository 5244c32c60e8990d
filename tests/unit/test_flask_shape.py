"""Which Flask host is chosen: by what Flask has, in a Python of its own where warnings are errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

LIKE_3_2 = """
import flask.ctx, flask.globals, warnings

def deprecated(name):
    if name in ("request_ctx", "RequestContext"):
        warnings.warn(name, DeprecationWarning, stacklevel=2)
    raise AttributeError(name)

del flask.globals._cv_request, flask.globals.request_ctx, flask.ctx.RequestContext
flask.globals.__getattr__ = flask.ctx.__getattr__ = deprecated
"""

CHOICE = """
import flask.globals
import ctxjobs.hosts
from ctxjobs.hosts import flask as adapters

host = ctxjobs.hosts.host_for(flask.Flask("shop"))
assert type(host) is adapters.{expected}, type(host)
assert {variables} == {{v for v in ctxjobs.hosts.context_vars() if v.name.startswith("flask.")}}
"""


@pytest.mark.parametrize(
    ("before", "expected", "variables"),
    [
        ("", "FlaskHost", "{flask.globals._cv_app, flask.globals._cv_request}"),
        (LIKE_3_2, "MergedFlaskHost", "{flask.globals._cv_app}"),
    ],
    ids=["two contexts", "one context"],
)
def test_the_host_is_chosen_by_what_flask_has(before: str, expected: str, variables: str) -> None:
    """Flask with one variable gets the host for one context, and no deprecated name is touched."""
    code = before + CHOICE.format(expected=expected, variables=variables)
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
