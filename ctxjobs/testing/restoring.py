"""Conformance: what a host rebuilds from a snapshot.

One of the parts of :class:`ctxjobs.testing.HostConformance`.
"""

from __future__ import annotations

from typing import Any

from ctxjobs import codec
from ctxjobs.errors import ContextMismatchError
from ctxjobs.hosts import ContextStack
from ctxjobs.override import Override
from ctxjobs.policy import Capture
from ctxjobs.propagation import capture, run_in_context
from ctxjobs.references import register_model
from ctxjobs.snapshot import RequestData, Snapshot
from ctxjobs.testing.harness import EVERYTHING, HostHarness, raises, watched


class _Kept:
    """An object of a model."""


class RestoringConformance(HostHarness):
    """Rebuilding, which is exact."""

    def round_trip(self, app: Any, path: str, **request: Any) -> None:
        """Compare what a view sees with what a job sees."""
        seen: dict[str, Any] = {}

        def fill() -> None:
            self.web.g.tenant, self.web.g.number = "acme", 7
            self.web.session["user"], self.web.session["cart"] = 42, [1, 2]
            seen.update(self.picture())

        snapshot = self.captured(app, path, fill, **request)
        wire = Snapshot.from_primitive(codec.loads(snapshot.to_bytes(32_768)))
        assert run_in_context(wire, self.picture) == seen

    def test_a_job_sees_what_the_view_saw(self) -> None:
        """Method, URL, address, headers, route, body, ``g`` and session come through."""
        self.round_trip(
            self.app(),
            "/7/a/b",
            base_url="https://shop.example:8443/prefix",
            query_string="q=1&q=2&empty=",
            method="POST",
            data=b"\x00\xff body",
            headers={"Accept-Language": "de, en;q=0.5", "User-Agent": "test"},
            environ_overrides={"REMOTE_ADDR": "203.0.113.9"},
        )

    def test_paths_come_through_as_they_were_sent(self) -> None:
        """Letters of any language, quoted slashes, spaces and bytes that are no UTF-8 come through."""
        app = self.app()
        for path in ("/1/größe", "/1/日本/語", "/1/a%2Fb", "/1/a b+c", "/1/%25", "/1/100%"):
            self.round_trip(app, path, query_string="ü=ß&b=%FF%00&c=+")
        with self.request_context(app, environ_overrides={"PATH_INFO": "/1/\xff\xfe"}):
            snapshot, seen = capture(EVERYTHING), self.picture()
        assert run_in_context(snapshot, self.picture)["url"] == seen["url"]

    def test_every_method_comes_through(self) -> None:
        """The rebuilt request has its method, and matches as it did."""
        app = self.app()
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
            self.round_trip(app, "/7/x", method=method)

    def test_a_request_is_made_where_one_is_said(self) -> None:
        """It has the URL that was said, matches its route, and has an empty session."""
        app = self.app()
        with self.app_context(app):
            snapshot = capture(context=Override(request="/7/x?q=1"))

        def look() -> tuple[Any, ...]:
            request = self.web.request
            return request.path, request.args["q"], request.endpoint is not None, dict(self.web.session)

        assert run_in_context(snapshot, look) == ("/7/x", "1", True, {})

    def test_a_request_without_its_body_is_empty(self) -> None:
        """A body that did not travel is empty, of length 0; reading it does not wait for a client."""
        app = self.app()
        with self.request_context(app, method="POST", data=b"body"):
            snapshot = capture(Capture(body_bytes=0))

        def read() -> tuple[bytes, Any, Any]:
            request = self.web.request
            return request.get_data(), request.content_length, dict(request.form)

        assert run_in_context(snapshot, read) == (b"", 0, {})

    def test_a_form_can_be_read_again(self) -> None:
        """A body that travelled keeps its type, so that it parses as the form it was."""
        app = self.app()
        snapshot = self.captured(app, method="POST", data={"name": "ü"})
        assert run_in_context(snapshot, lambda: self.web.request.form["name"]) == "ü"

    def test_layers_pushes_nothing(self) -> None:
        """``layers`` makes contexts with ``g`` and session in them, and makes none active."""
        app = self.app()
        snapshot = self.captured(app, fill=lambda: setattr(self.web.g, "tenant", "acme"))
        layers = self.host(app).layers(snapshot)
        assert self.active_contexts() == []
        assert layers

    def test_every_run_has_contexts_of_its_own(self) -> None:
        """Two runs of one snapshot share no context, no ``g`` and no session (R31)."""
        app = self.app()
        host = self.host(app)
        snapshot = self.captured(app, fill=lambda: self.web.session.update(cart=[1]))
        first, second = host.layers(snapshot), host.layers(snapshot)
        assert not any(one is other for one in first for other in second)

        def change() -> list[int]:
            self.web.session["cart"].append(2)
            cart: list[int] = self.web.session["cart"]
            return cart

        assert run_in_context(snapshot, change) == [1, 2]
        assert run_in_context(snapshot, change) == [1, 2]

    def test_a_model_on_g_is_loaded(self) -> None:
        """What ``g`` refers to is loaded with the contexts pushed, and stands there when the job runs."""
        app, kept = self.app(), _Kept()
        host = self.host(app)
        pushed: list[bool] = []

        class Loader:
            def key_of(self, obj: _Kept, /) -> int:
                return 7

            def load(self, key: int, /) -> _Kept:
                pushed.append(host.active() is not None)
                return kept

        register_model(_Kept, loader=Loader())
        snapshot = self.captured(app, fill=lambda: setattr(self.web.g, "kept", [kept]))
        assert run_in_context(snapshot, lambda: self.web.g.kept == [kept])
        assert pushed == [True]

    def test_no_session_is_opened_or_saved(self) -> None:
        """A job's session is the captured one: no store is read, and none is written (R18, R20)."""
        app = self.app()
        snapshot = self.captured(app, fill=lambda: self.web.session.update(user=42))
        with watched(app, "session_interface") as calls:
            assert run_in_context(snapshot, lambda: self.web.session["user"]) == 42
            run_in_context(snapshot, lambda: self.web.session.update(user=43))
        assert not {"open_session", "save_session"} & set(calls)

    def test_a_session_that_was_not_captured_is_a_null_session(self) -> None:
        """Without a captured session none is opened: reads find nothing, writes say so (R23)."""
        app = self.app()
        with self.request_context(app):
            self.web.session["user"] = 42
            taken = capture(EVERYTHING)
        snapshot = Snapshot(taken.app_id, request=taken.request, session=None)
        assert run_in_context(snapshot, lambda: self.web.session.get("user")) is None
        with raises(RuntimeError):
            run_in_context(snapshot, lambda: self.web.session.update(user=1))

    def test_another_route_is_refused(self) -> None:
        """A worker whose URLs are others than the web process's says so, and runs nothing (R19)."""
        app = self.app()
        request = self.captured(app, "/7/x").request
        assert request is not None
        ran: list[int] = []
        for endpoint, rule in ((None, None), ("other", "/<failing:number>/<path:rest>"), ("page", "/old")):
            changed = Snapshot("conformance", request=RequestData(request.environ, endpoint, rule))
            with raises(ContextMismatchError):
                run_in_context(changed, ran.append, 1)
        assert ran == []

    def test_check_accepts_the_same_route(self) -> None:
        """``check`` is content with a request that matches what it matched, also if that is nothing."""
        app = self.app()
        for path in ("/7/x", "/nowhere/at/all"):
            with ContextStack(self.host(app), self.captured(app, path)):
                assert self.has_request()
