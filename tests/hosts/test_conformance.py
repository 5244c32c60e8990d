"""The hosts that ctxjobs brings, each against the one description of what a host must do."""

from __future__ import annotations

import sys
from typing import Any

import flask
import pytest
from flask.ctx import RequestContext
from support import flask32

import ctxjobs
from ctxjobs.hosts.flask import ADAPTER
from ctxjobs.hosts.native import NativeHost
from ctxjobs.testing import HostConformance


class TestNativeHost(HostConformance):
    """The native context system."""

    host_class = NativeHost
    web = ctxjobs

    def make_app(self, import_name: str) -> Any:
        return ctxjobs.App(import_name)


class TestFlaskHost(HostConformance):
    """The Flask that is installed."""

    host_class = ADAPTER
    web = flask

    def make_app(self, import_name: str) -> Any:
        return flask.Flask(import_name)


@pytest.mark.skipif(not hasattr(RequestContext, "session"), reason="the shape stands on Flask 3.1.3")
class TestFlask32Host(HostConformance):
    """Flask with one context for both."""

    host_class = flask32.Flask32Host
    web = flask32

    def make_app(self, import_name: str) -> Any:
        return flask32.Flask(import_name)

    def teardown_errors(self, *texts: str) -> list[str]:
        """Before Python 3.11 there are no groups, and Flask 3.2 raises the first error."""
        return list(texts) if sys.version_info >= (3, 11) else list(texts[:1])
