"""Conformance: how contexts end, whatever happened in them.

One of the parts of :class:`ctxjobs.testing.HostConformance`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from ctxjobs.errors import TeardownError
from ctxjobs.hosts import Active, ContextStack
from ctxjobs.propagation import run_in_context
from ctxjobs.snapshot import RequestData, Snapshot
from ctxjobs.testing.harness import HostHarness, raises


class UnwindingConformance(HostHarness):
    """Ends: teardown once, with the right exception, and nothing left active."""

    def test_teardown_runs_once_after_success(self) -> None:
        """The request's teardown functions run, then the app's, once each, with None (R10, R21)."""
        app = self.app()
        journal = self.journal(app)
        snapshot = self.captured(app)
        journal.clear()
        run_in_context(snapshot, lambda: None)
        assert journal.calls() == [("request", None), ("app", None)]

    def test_teardown_gets_the_exception(self) -> None:
        """Teardown functions get what the job raised, which goes on unchanged (R13, R35)."""
        app = self.app()
        journal = self.journal(app)
        snapshot = self.captured(app)
        for error in (ValueError("no"), SystemExit(3), KeyboardInterrupt()):
            journal.clear()
            with raises(type(error)) as caught:
                run_in_context(snapshot, _raise, error)
            assert caught == [error]
            assert journal.calls() == [("request", error), ("app", error)]

    def test_teardown_does_not_get_an_error_that_is_being_handled(self) -> None:
        """A job that succeeds inside of an ``except`` block is torn down with None (R13)."""
        app = self.app()
        journal = self.journal(app)
        snapshot = self.captured(app)
        journal.clear()
        try:
            raise ValueError("unrelated")
        except ValueError:
            run_in_context(snapshot, lambda: None)
        assert journal.calls() == [("request", None), ("app", None)]

    def test_teardown_sees_the_contexts(self) -> None:
        """While teardown functions run, request and ``g`` are still those of the job (R10, R21)."""
        app = self.app()
        journal = self.journal(app)
        snapshot = self.captured(app, "/7/x", lambda: setattr(self.web.g, "mark", "m"))
        journal.clear()
        run_in_context(snapshot, lambda: None)
        assert [where for _, where, _ in journal] == ["/7/x", "m"]

    def test_teardown_errors_are_raised_together(self) -> None:
        """A job that succeeded fails if teardown raises, with every error in order (R14)."""
        app = self.app()
        snapshot = self.captured(app)
        self.on_teardown(app, _raising(ValueError("request")), _raising(LookupError("app")))
        with raises(TeardownError) as caught:
            run_in_context(snapshot, lambda: None)
        [error] = caught
        assert isinstance(error, TeardownError)
        assert [str(single) for single in error.errors] == self.teardown_errors("request", "app")
        assert self.active_contexts() == []

    def teardown_errors(self, *texts: str) -> list[str]:
        """What of these errors the framework tells; override it if that is not all."""
        return list(texts)

    def test_teardown_errors_do_not_replace_the_job_s(self) -> None:
        """What the job raised is raised, whatever teardown raises (R14)."""
        app = self.app()
        snapshot = self.captured(app)
        self.on_teardown(app, _raising(ValueError("request")), _raising(LookupError("app")))
        error = OSError("the job's")
        with raises(OSError) as caught:
            run_in_context(snapshot, _raise, error)
        assert caught == [error]
        assert self.active_contexts() == []

    def test_an_exit_in_teardown_is_raised(self) -> None:
        """An exit or interrupt that strikes in teardown is not wrapped, and stops no unwinding."""
        app = self.app()
        snapshot = self.captured(app)
        self.on_teardown(app, _raising(SystemExit(3)), _raising(LookupError("app")))
        with raises(SystemExit), ContextStack(self.host(app), snapshot):
            pass
        assert self.active_contexts() == []

    def test_a_push_that_fails_leaves_nothing_active(self) -> None:
        """If the second half of a push raises, the first is undone, with the error (R27)."""
        app = self.app()
        journal = self.journal(app)
        environ = {"PATH_INFO": "/666/x", "REQUEST_METHOD": "GET", "SERVER_NAME": "localhost"}
        request = RequestData({**environ, "SERVER_PORT": "80", "wsgi.url_scheme": "http"}, "page", "/")
        snapshot = Snapshot("conformance", request=request)
        ran: list[int] = []
        with raises(LookupError) as caught, ContextStack(self.host(app), snapshot):
            ran.append(1)
        assert self.active_contexts() == []
        assert (ran, journal.calls()[-1]) == ([], ("app", caught[0]))
        assert len([name for name, _ in journal.calls() if name == "app"]) == 1

    def test_what_the_job_left_is_popped(self) -> None:
        """Contexts that a job left are popped in any order of pushes, each torn down once (R9, R15)."""
        app, other = self.app("conformance"), self.app("other")
        snapshot = self.captured(app, "/7/own", lambda: setattr(self.web.g, "mark", "own"))
        journals = self.journal(app), self.journal(other)
        left = self._what_a_job_may_leave(app, other)
        for length in (1, 2, 3):
            for names in product(left, repeat=length):
                for journal in journals:
                    journal.clear()
                self._leave_behind(app, snapshot, names, left)
                self._check_ends(names, [*journals[0], *journals[1]])

    def _what_a_job_may_leave(self, app: Any, other: Any) -> dict[str, Callable[[Active, str], Any]]:
        """Contexts to push and forget: how each is made from the job's own ones, and from a path."""
        return {
            "app": lambda own, path: self.app_context(app),
            "request": lambda own, path: self.request_context(app, path),
            "other app": lambda own, path: self.app_context(other),
            "other request": lambda own, path: self.request_context(other, path),
            "own app again": lambda own, path: own.app_context,
            "own request again": lambda own, path: own.request_context,
        }

    def _leave_behind(
        self,
        app: Any,
        snapshot: Snapshot,
        names: Sequence[str],
        left: dict[str, Callable[[Active, str], Any]],
    ) -> None:
        stack = ContextStack(self.host(app), snapshot)
        with stack:
            own = self.host(app).active()
            assert own is not None
            for number, name in enumerate(names):
                path = f"/{number}/left"
                left[name](own, path).push()
                self.web.g.mark = getattr(self.web.g, "mark", path)  # for its teardown to find
        assert stack.leaks, names
        assert self.active_contexts() == [], names

    def _check_ends(self, names: Sequence[str], journal: list[tuple[str, str, Any]]) -> None:
        paths = [where for name, where, _ in journal if name == "request"]
        marks = [where for name, where, _ in journal if name == "app"]
        pushed = [f"/{number}/left" for number, name in enumerate(names) if name.endswith("request")]
        assert sorted(paths) == sorted([*pushed, "/7/own"]), names
        assert len(marks) == len(set(marks)), names
        assert "own" in marks, names

    def test_what_has_no_effect_is_said(self) -> None:
        """A write to the session and a function for the response are reported; a mere read is not."""
        app = self.app()
        snapshot = self.captured(app, fill=lambda: self.web.session.update(user=42))
        expected: list[tuple[Callable[[], Any], str]] = [
            (lambda: self.web.session.update(user=43), "session"),
            (lambda: self.web.after_this_request(lambda response: response), "after_this_request"),
            (lambda: self.web.session["user"], ""),
        ]
        for do, word in expected:
            stack = ContextStack(self.host(app), snapshot)
            with stack:
                do()
            assert len(stack.in_vain) == bool(word)
            assert word in " ".join(stack.in_vain)

    def test_nothing_has_no_effect_without_a_request(self) -> None:
        """In an application context alone there is nothing to be written in vain."""
        app = self.app()
        stack = ContextStack(self.host(app), Snapshot("conformance"))
        with stack:
            self.web.g.tenant = "acme"
        assert stack.in_vain == []


def _raise(error: BaseException) -> None:
    raise error


def _raising(error: BaseException) -> Callable[[BaseException | None], None]:
    return lambda exc: _raise(error)
