"""Conformance: what code inside of restored contexts must not see, and what it leaves alone.

One of the parts of :class:`ctxjobs.testing.HostConformance`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from threading import Barrier
from typing import Any

from ctxjobs.errors import ContextMismatchError
from ctxjobs.propagation import restore, run_in_context
from ctxjobs.snapshot import RequestData, Snapshot
from ctxjobs.testing.harness import HostHarness, raises

_unrelated: ContextVar[str] = ContextVar("ctxjobs.testing.unrelated", default="")


class IsolationConformance(HostHarness):
    """Several apps, threads and tasks; and contexts without a request."""

    def seen(self) -> tuple[Any, Any, Any]:
        """The current app, the tenant on ``g``, the path of the request."""
        web = self.web
        app = web.current_app._get_current_object()  # noqa: SLF001 - how a proxy says what it stands for
        return app, getattr(web.g, "tenant", None), web.request.path if self.has_request() else None

    def tenant(self, app: Any, name: str) -> Snapshot:
        """A snapshot of a request of the tenant *name*."""
        return self.captured(app, f"/1/{name}", lambda: setattr(self.web.g, "tenant", name))

    def test_a_system_context_has_an_app_and_no_request(self) -> None:
        """A snapshot without a request restores the app with an empty ``g``, tears down that alone (R4)."""
        app = self.app()
        journal = self.journal(app)
        assert run_in_context(Snapshot("conformance"), self.seen) == (app, None, None)
        assert journal.calls() == [("app", None)]

    def test_g_travels_without_a_request(self) -> None:
        """What is on ``g`` of an application context comes through (R8)."""
        app = self.app()
        snapshot = Snapshot("conformance", g={"tenant": "acme"})
        assert run_in_context(snapshot, self.seen) == (app, "acme", None)

    def test_nothing_of_an_outer_request_shines_through(self) -> None:
        """A job inside of a request sees its own contexts, and does not touch the request's (R26)."""
        app, other = self.app(), self.app("other")
        for outer in (app, other):
            with self.request_context(outer, "/7/outer"):
                self.web.g.tenant = "outer"
                assert run_in_context(Snapshot("conformance"), self.seen) == (app, None, None)
                assert self.seen() == (outer, "outer", "/7/outer")

    def test_teardown_runs_inside_of_an_outer_context_of_the_app(self) -> None:
        """In a worker started by the app's own command, a job has its own ``g`` and teardown (R17, R40)."""
        app = self.app()
        snapshot = self.tenant(app, "acme")
        journal = self.journal(app)
        with self.app_context(app):
            assert run_in_context(snapshot, self.seen) == (app, "acme", "/1/acme")
            assert [name for name, _, _ in journal] == ["request", "app"]
            assert self.seen() == (app, None, None)

    def test_restore_leaves_what_was_active_before(self) -> None:
        """``restore`` inside of other contexts pops its own alone, also if its push fails."""
        app, other = self.app(), self.app("other")
        snapshot = self.tenant(app, "acme")
        broken = Snapshot("conformance", request=RequestData({**_ENVIRON, "PATH_INFO": "/666/x"}))
        with self.request_context(app, "/7/outer"):
            with restore(snapshot):
                assert self.seen() == (app, "acme", "/1/acme")
            with restore(Snapshot("conformance")):
                self.request_context(app, "/8/left").push()
            with raises(LookupError), restore(broken):
                pass
            with raises(ContextMismatchError), restore(Snapshot("conformance", request=_NOWHERE)):
                pass
            assert self.seen() == (app, None, "/7/outer")
            with self.app_context(other), restore(Snapshot("conformance")):
                self.app_context(other).push()
            assert self.seen() == (app, None, "/7/outer")

    def test_two_apps_one_in_the_other(self) -> None:
        """A job's contexts may be restored inside of another app's; each sees its own (R9)."""
        one, two = self.app("one"), self.app("two")
        first, second = self.tenant(one, "first"), self.tenant(two, "second")

        def outer() -> list[tuple[Any, Any, Any]]:
            return [self.seen(), run_in_context(second, self.seen), self.seen()]

        assert run_in_context(first, outer) == [
            (one, "first", "/1/first"),
            (two, "second", "/1/second"),
            (one, "first", "/1/first"),
        ]

    def test_the_newest_app_of_a_factory_runs_the_job(self) -> None:
        """A snapshot names an app's id: it runs in the app that this process has under it."""
        snapshot = self.tenant(self.app(), "acme")
        newer = self.app()
        assert run_in_context(snapshot, self.seen) == (newer, "acme", "/1/acme")

    def test_threads_do_not_see_each_other(self) -> None:
        """Snapshots restored in threads at the same time do not mix, and do not reach the caller (R30)."""
        app = self.app()
        snapshots = [self.tenant(app, f"t{number}") for number in range(4)]
        everybody_is_inside = Barrier(len(snapshots), timeout=30)

        def job() -> tuple[Any, Any, Any]:
            everybody_is_inside.wait()
            return self.seen()

        with ThreadPoolExecutor(len(snapshots)) as executor:
            results = list(executor.map(lambda snapshot: run_in_context(snapshot, job), snapshots))
        assert results == [(app, f"t{number}", f"/1/t{number}") for number in range(4)]
        assert self.active_contexts() == []

    def test_tasks_do_not_see_each_other(self) -> None:
        """Snapshots restored in asyncio tasks that take turns do not mix or reach the caller (R30)."""
        app = self.app()
        journal = self.journal(app)
        snapshots = [self.tenant(app, f"t{number}") for number in range(4)]
        journal.clear()

        async def job(snapshot: Snapshot) -> list[tuple[Any, Any, Any]]:
            with restore(snapshot):
                before = self.seen()
                for _ in range(3):
                    await asyncio.sleep(0)
                return [before, self.seen()]

        async def main() -> list[list[tuple[Any, Any, Any]]]:
            return await asyncio.gather(*map(job, snapshots))

        expected = [(app, f"t{number}", f"/1/t{number}") for number in range(4)]
        assert asyncio.run(main()) == [[one, one] for one in expected]
        assert len(journal) == 2 * len(snapshots)

    def test_restore_in_a_task_that_outlives_its_request(self) -> None:
        """A task sees the request that started it, also when it ended; its own contexts end as ever (R30)."""
        app = self.app()
        snapshot = self.tenant(app, "acme")
        journal = self.journal(app)

        async def job() -> tuple[Any, Any, Any]:
            with restore(snapshot):
                self.request_context(app, "/8/left").push()
                return self.seen()

        async def main() -> tuple[Any, Any, Any]:
            with self.request_context(app, "/7/outer"):
                task = asyncio.create_task(job())
            journal.clear()
            return await task

        assert asyncio.run(main())[2] == "/8/left"
        assert [where for name, where, _ in journal if name == "request"] == ["/8/left", "/1/acme"]

    def test_a_coroutine_function_runs_inside(self) -> None:
        """An ``async def`` job has its contexts until its end, and teardown runs after it (R33)."""
        app = self.app()
        snapshot = self.tenant(app, "acme")
        journal = self.journal(app)

        async def job() -> tuple[Any, int]:
            await asyncio.sleep(0)
            return self.seen(), len(journal)

        assert run_in_context(snapshot, job) == ((app, "acme", "/1/acme"), 0)
        assert len(journal) == 2

    def test_other_context_variables_stay(self) -> None:
        """What others keep in context variables is seen by a job; what a job sets does not come back."""
        self.app()

        def job() -> str:
            before = _unrelated.get()
            _unrelated.set("the job's")
            return before

        token = _unrelated.set("the caller's")
        try:
            assert run_in_context(Snapshot("conformance"), job) == "the caller's"
            assert _unrelated.get() == "the caller's"
        finally:
            _unrelated.reset(token)


_ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "wsgi.url_scheme": "http",
}
_NOWHERE = RequestData({**_ENVIRON, "PATH_INFO": "/1/x"}, "gone", "/gone")
