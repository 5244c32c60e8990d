"""The app with real extensions, a browser for it, and what its views capture."""

from __future__ import annotations

from typing import Any

import flask_login
from support.extensions_app import create_app, look

from ctxjobs import Capture, Override, Snapshot, capture, run_in_context

TOKEN = {"Authorization": "Bearer SECRET-8"}


class Site:
    """An app, a browser, and what the last view saw and captured."""

    def __init__(self, **config: Any) -> None:
        self.app = create_app(**config)
        self.client = self.app.test_client()
        self.seen: dict[str, Any] = {}

    @property
    def users(self) -> dict[str, Any]:
        """The database of users."""
        users: dict[str, Any] = self.app.extensions["tests.users"]
        return users

    def take(
        self,
        url: str = "/",
        policy: Capture | None = None,
        first: Any = int,
        context: Override | None = None,
        **options: Any,
    ) -> Snapshot:
        """What a view at *url* captures."""
        taken: list[Snapshot] = []

        def view() -> str:
            first()
            taken.append(capture(policy, context=context))
            self.seen = look()
            return "taken"

        self.app.extensions["tests.view"] = view
        response = self.client.get(url, **options)
        assert response.status_code == 200
        return taken[0]


def of_user(snapshot: Snapshot) -> Any:
    """The id of the user in a job of *snapshot*; None for an anonymous one."""
    return run_in_context(snapshot, lambda: flask_login.current_user.get_id())
