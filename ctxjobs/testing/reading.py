"""Conformance: what a host reads from the contexts that are active.

One of the parts of :class:`ctxjobs.testing.HostConformance`.
"""

from __future__ import annotations

from typing import Any

from ctxjobs.errors import UnboundJobError
from ctxjobs.policy import Capture
from ctxjobs.propagation import capture
from ctxjobs.testing.harness import EVERYTHING, HostHarness, raises


class ReadingConformance(HostHarness):
    """Reading, which changes nothing."""

    def test_outside_of_contexts_nothing_is_active(self) -> None:
        """Outside of any context a host says None, and capture says how to push one (R4)."""
        app = self.app()
        assert self.host(app).active() is None
        with raises(UnboundJobError):
            capture()

    def test_an_app_context_has_no_request(self) -> None:
        """In an application context alone there is ``g``, and nothing of a request (R4, R6)."""
        app = self.app()
        host = self.host(app)
        with self.app_context(app):
            self.web.g.tenant = "acme"
            active = host.active()
            assert active is not None
            assert active.request_context is None
            assert host.read_g(active) == {"tenant": "acme"}
            assert host.read_environ(active) is None
            assert host.read_route(active) == (None, None)
            assert host.read_body(active, 1000) is None
            assert host.read_session(active, ["user"]) is None

    def test_a_request_is_read(self) -> None:
        """In a request a host reads its environ, its route, its body, its session and ``g``."""
        app = self.app()
        host = self.host(app)
        with self.request_context(app, "/7/x", method="POST", data=b"body"):
            self.web.g.tenant = "acme"
            self.web.session["user"] = 42
            active = host.active()
            assert active is not None
            environ = host.read_environ(active)
            assert environ is not None
            assert environ["PATH_INFO"] == "/7/x"
            assert host.read_route(active) == ("page", "/<failing:number>/<path:rest>")
            assert host.read_body(active, 1000) == b"body"
            assert host.read_session(active, ["user", "cart"]) == {"user": 42}
            assert host.read_g(active)["tenant"] == "acme"

    def test_reading_the_session_does_not_mark_it(self) -> None:
        """A response has no ``Vary: Cookie`` because its view captured (R24)."""
        app = self.app()
        taken: list[Any] = []

        def view() -> str:
            taken.append(capture(EVERYTHING))
            return "done"

        self.add_view(app, "/capture", "capture", view)
        response = self.ask(app, "/capture")
        assert response.status_code == 200
        assert len(taken) == 1
        assert "Vary" not in response.headers

    def test_no_session_without_a_key(self) -> None:
        """An app without a secret key for sessions has none to capture (R23)."""
        app = self.app(SECRET_KEY=None, CTXJOBS_SECRET_KEY="k" * 32)
        snapshot = self.captured(app)
        assert snapshot.request is not None
        assert snapshot.session is None

    def test_a_body_over_the_limit_is_left_out(self) -> None:
        """A body travels up to the policy's limit, exactly."""
        app = self.app()
        for size, limit_bytes, taken in ((10, 10, True), (11, 10, False), (0, 10, True)):
            with self.request_context(app, method="POST", data=b"x" * size):
                snapshot = capture(Capture(body_bytes=limit_bytes))
            assert snapshot.request is not None
            assert snapshot.request.body == (b"x" * size if taken else None)
            assert ("body" in snapshot.skipped) is not taken

    def test_a_body_without_a_length_is_left_out(self) -> None:
        """A body whose length nobody knows is not read to find out."""
        app = self.app()
        chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        with self.request_context(app, method="POST", data=b"x" * 99, environ_overrides=chunked) as context:
            del context.request.environ["CONTENT_LENGTH"]
            snapshot = capture(Capture(body_bytes=10))
            assert len(self.web.request.stream.read()) == 99
        assert snapshot.request is not None
        assert snapshot.request.body is None

    def test_a_body_read_as_a_form_is_left_out(self) -> None:
        """A form that was parsed before is gone, and the snapshot says so."""
        app = self.app()
        with self.request_context(app, method="POST", data={"name": "x"}):
            assert self.web.request.form["name"] == "x"
            snapshot = capture(EVERYTHING)
        assert snapshot.request is not None
        assert snapshot.request.body is None
        assert "body" in snapshot.skipped

    def test_the_view_can_still_read_the_body(self) -> None:
        """Capturing a body takes it away from nobody, whether it is read as bytes or as a form."""
        app = self.app()
        with self.request_context(app, method="POST", data={"name": "x"}):
            capture(EVERYTHING)
            assert self.web.request.get_data() == b"name=x"
            assert self.web.request.form["name"] == "x"

    def test_a_request_that_matched_nothing_has_no_route(self) -> None:
        """A 404 is captured as a request without a route (R19)."""
        snapshot = self.captured(self.app(), "/nowhere/at/all")
        assert snapshot.request is not None
        assert (snapshot.request.endpoint, snapshot.request.rule) == (None, None)

    def test_only_the_innermost_app_is_active(self) -> None:
        """Inside of another app's context an app is not active, and its request is not the other's (R26)."""
        outer, inner = self.app("outer"), self.app("inner")
        with self.request_context(outer), self.app_context(inner):
            assert self.host(outer).active() is None
            snapshot = capture(EVERYTHING)
        assert snapshot.app_id == "inner"
        assert snapshot.request is None
        assert snapshot.session is None

    def test_capturing_changes_no_context(self) -> None:
        """The contexts that are active before a capture are active after it."""
        app = self.app()
        with self.request_context(app):
            before = self.active_contexts()
            capture(EVERYTHING)
            assert all(one is other for one, other in zip(before, self.active_contexts(), strict=True))
