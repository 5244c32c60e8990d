"""Both hosts under one name, so that one test shows that they behave alike.

Makes apps and nothing else: fixtures are the business of the tests that want them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import flask

import ctxjobs


@dataclass(frozen=True)
class Web:
    """A framework: its app class, and the module with its proxies."""

    module: ModuleType
    App: Any

    @property
    def g(self) -> Any:
        return self.module.g

    def app(self, name: str = "shop", **config: Any) -> Any:
        """An app with one route, bound to ctxjobs."""
        app = self.App(name)
        app.config.update({"SECRET_KEY": "k", "TESTING": True, **config})
        app.add_url_rule("/", "index", lambda: "ok", methods=["GET", "POST"])
        ctxjobs.CtxJobs(app)
        return app


WEBS = {
    "native": Web(ctxjobs, ctxjobs.App),
    "flask": Web(flask, flask.Flask),
}
