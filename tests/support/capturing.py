"""A view that captures, and the same look at the contexts from the view and from a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flask
from werkzeug.test import Client, TestResponse

import ctxjobs
from ctxjobs import Capture, CtxJobs, Snapshot, run_in_context

POLICY = Capture(session=("user", "cart"))


def bind(app: Any, app_id: str = "shop", **config: Any) -> Any:
    """*app*, configured and bound."""
    app.config.update({"SECRET_KEY": "k" * 32, "CTXJOBS_APP_ID": app_id, **config})
    CtxJobs(app)
    return app


def ask(wsgi: Any, path: str = "/", **request: Any) -> TestResponse:
    """Send one request, as a server would."""
    response = Client(wsgi).open(path, **request)
    assert response.status_code == 200, response.text
    return response


def look() -> dict[str, Any]:
    """What Flask's own names say here."""
    request = flask.request
    return {
        "app": flask.current_app._get_current_object(),
        "request": (request.method, request.url, request.root_path, request.host, request.remote_addr),
        "route": (request.endpoint, str(request.url_rule), request.view_args, request.blueprints),
        "urls": (flask.url_for(request.endpoint, **request.view_args),),
        "external": flask.url_for(request.endpoint, _external=True, **request.view_args),
        "g": {name: getattr(flask.g, name, None) for name in ("tenant", "lang")},
        "session": {name: flask.session.get(name) for name in ("user", "cart")},
    }


@dataclass
class Recorder:
    """A view, and what it saw and captured when it was called last.

    Attributes:
        policy: What it captures.
        look: What it looks at.
        before: Called first.
    """

    policy: Capture = POLICY
    look: Callable[[], Any] = look
    before: Callable[[], Any] = lambda: None
    seen: Any = None
    snapshot: Snapshot = field(default_factory=lambda: Snapshot("none"))

    def __call__(self, **view_args: Any) -> str:
        self.before()
        self.seen = self.look()
        self.snapshot = ctxjobs.capture(self.policy)
        return "captured"

    def job(self) -> Any:
        """What a job sees that this view has enqueued."""
        return run_in_context(self.snapshot, self.look)
