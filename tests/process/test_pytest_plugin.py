"""The pytest plugin, in runs of pytest of its own (pytest's own ``pytester``)."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from support.both_hosts import WEBS

from ctxjobs.registry import registry

pytest_plugins = ["pytester"]

SHOP = """
    import threading
    import {host} as web
    from ctxjobs import CtxJobs

    jobs = CtxJobs()

    @jobs.job
    def send(order_id, *, urgent=False):
        if order_id == 13:
            raise ValueError("thirteen")
        return f"order {{order_id}} of {{web.g.tenant}}"

    @jobs.job(queue="mail")
    def leave_a_context():
        web.current_app.app_context().push()

    def create_app(**config):
        app = web.{app}("shop")
        app.config.update(SECRET_KEY="k" * 32, **config)
        jobs.init_app(app)
        return app
"""

CONFTEST = """
    import pytest
    from shop import create_app

    @pytest.fixture
    def inline_app():
        with create_app(CTXJOBS_INLINE=True).app_context() as context:
            context.g.tenant = "acme"
            yield

    @pytest.fixture
    def app(ctxjobs_redis):
        with create_app(CTXJOBS_REDIS_URL=ctxjobs_redis.url).app_context() as context:
            context.g.tenant = "acme"
            yield
"""


@pytest.fixture(params=WEBS)
def run(request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run these tests against a small shop of either host."""
    monkeypatch.setattr(registry, "apps", {})
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # other plugins take seconds
    host, app = {"native": ("ctxjobs", "App"), "flask": ("flask", "Flask")}[request.param]
    pytester.makepyfile(shop=SHOP.format(host=host, app=app))
    pytester.makeconftest(CONFTEST)

    def run(tests: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_shop=tests)
        known = "ignore:Module already imported"  # by this very run
        return pytester.runpytest_inprocess("-p", "ctxjobs_pytest", "-W", "error", "-W", known, *options)

    return run


def test_worker_runs_what_is_queued(run: Any) -> None:
    """Redis is private and empty for each test; run() returns the jobs, in order, each in fresh contexts."""
    result = run("""
        import pytest
        from rq import Retry
        from rq.exceptions import NoSuchJobError
        from shop import send, leave_a_context

        def test_run(app, ctxjobs_worker):
            jobs = [send.enqueue(1), send.enqueue(13), leave_a_context.enqueue()]
            done = ctxjobs_worker.run()
            assert [job.id for job in done] == [job.id for job in jobs]
            assert done[0].return_value() == "order 1 of acme"
            assert "thirteen" in done[1].latest_result().exc_string
            assert ctxjobs_worker.run() == []

        def test_redis_is_empty(app, ctxjobs_redis):
            assert ctxjobs_redis.connection.keys() == []

        def test_only_some_queues(app, ctxjobs_worker):
            send.enqueue(1), leave_a_context.enqueue()
            assert [job.origin for job in ctxjobs_worker.run("mail")] == ["mail"]

        def test_the_schedule_waits_unless_asked(app, ctxjobs_worker):
            job = send.options(retry=Retry(max=1, interval=60)).enqueue_in(3600, 13)
            assert ctxjobs_worker.run() == []
            assert [one.id for one in ctxjobs_worker.run(scheduled=True)] == [job.id]
            assert job.get_status() == "failed"

        def test_dependents(app, ctxjobs_worker):
            parent = send.enqueue(1)
            child = send.options(depends_on=parent).enqueue(2)
            assert [job.id for job in ctxjobs_worker.run()] == [parent.id, child.id]

        def test_patched(app, ctxjobs_worker, monkeypatch):
            monkeypatch.setattr(send, "func", lambda order_id: "patched")
            send.enqueue(1)
            assert ctxjobs_worker.run()[0].return_value() == "patched"
    """)
    result.assert_outcomes(passed=6)


def test_enqueued_jobs_are_recorded_and_not_executed(run: Any) -> None:
    """In order, with function, arguments, queue and snapshot; a retry is no new job; inline as in Redis."""
    result = run("""
        import pytest
        from rq import Retry
        from shop import send, leave_a_context

        def test_in_redis(app, enqueued_jobs):
            send.enqueue(1, urgent=True), leave_a_context.enqueue_in(60)
            first, second = enqueued_jobs
            assert (first.func_name, first.args, first.kwargs) == ("shop.send", (1,), {"urgent": True})
            assert (second.origin, first.snapshot.g) == ("mail", {"tenant": "acme"})
            assert first.get_status() == "queued"

        def test_inline(inline_app, enqueued_jobs):
            send.options(retry=Retry(max=3)).enqueue(13)
            assert [job.args for job in enqueued_jobs] == [(13,)]

        def test_without_any_backend(inline_app, enqueued_jobs):
            assert len(enqueued_jobs) == 0
            enqueued_jobs.assert_not_enqueued()

        def test_assertions(inline_app, enqueued_jobs):
            send.enqueue_many([(1,), (2,)])
            assert enqueued_jobs.assert_enqueued(send, (1,)) == [enqueued_jobs[0]]
            enqueued_jobs.assert_enqueued(send, kwargs={"order_id": 2, "urgent": False}, queue="default")
            enqueued_jobs.assert_enqueued("shop.send", times=2)
            enqueued_jobs.assert_enqueued(send, times=None)
            enqueued_jobs.assert_not_enqueued(leave_a_context)
            enqueued_jobs.assert_not_enqueued(queue="mail")
            assert len(enqueued_jobs.of(send)) == 2
            enqueued_jobs.clear()
            enqueued_jobs.assert_not_enqueued()
    """)
    result.assert_outcomes(passed=4)


def test_failed_assertions_tell_what_was_enqueued(run: Any) -> None:
    """Wrong arguments, wrong number, wrong queue, nothing wanted, nothing there: each says what there is."""
    result = run("""
        from shop import send

        def test_arguments(inline_app, enqueued_jobs):
            send.enqueue(2, urgent=True)
            enqueued_jobs.assert_enqueued(send, (1,))

        def test_number(inline_app, enqueued_jobs):
            send.enqueue(3), send.enqueue(3)
            enqueued_jobs.assert_enqueued(send, (3,))

        def test_queue(inline_app, enqueued_jobs):
            send.enqueue(4)
            enqueued_jobs.assert_enqueued(send, queue="mail", times=None)

        def test_not(inline_app, enqueued_jobs):
            send.enqueue(5)
            enqueued_jobs.assert_not_enqueued()

        def test_nothing(inline_app, enqueued_jobs):
            enqueued_jobs.assert_enqueued(send)
    """)
    result.assert_outcomes(failed=5)
    result.stdout.fnmatch_lines_random(
        [
            "E * shop.send(1) was enqueued 0 times, not once.",
            "E * 1. shop.send(2, urgent=True) on queue 'default'",
            "E * shop.send(3) was enqueued 2 times, not once.",
            "E * shop.send on queue 'mail' was enqueued 0 times, not at least once.",
            "E * No job was to be enqueued.",
            "E * Nothing was enqueued.",
        ]
    )


LEAKY_TESTS = """
    import threading
    import pytest
    import shop
    from shop import create_app, leave_a_context

    stop = threading.Event()

    @pytest.fixture(scope="module")
    def service():
        thread = threading.Thread(target=stop.wait, name="service")
        thread.start()
        with create_app(CTXJOBS_INLINE=True).app_context():
            yield
        stop.set()
        thread.join()

    def test_context(inline_app):
        shop.web.current_app.app_context().push()

    def test_thread(service):
        threading.Thread(target=stop.wait, name="poller").start()

    def test_job(inline_app):
        leave_a_context.enqueue()

    @pytest.mark.ctxjobs_allow_leaks
    def test_allowed(service):
        threading.Thread(target=stop.wait, name="allowed").start()

    def test_clean(inline_app, service):
        with shop.web.current_app.app_context():
            threading.Thread(target=lambda: None).start()
"""


@pytest.mark.parametrize("how", ["option", "ini"])
def test_leaks_fail_the_test_that_left_them(run: Any, pytester: pytest.Pytester, how: str) -> None:
    """Contexts, threads and what jobs left; not what fixtures keep, nor in a test that may."""
    if how == "ini":
        pytester.makeini("[pytest]\nctxjobs_leaks = true\n")
    result = run(LEAKY_TESTS, "--strict-markers", *(["--ctxjobs-leaks"] if how == "option" else []))
    result.assert_outcomes(passed=3, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*ERROR at teardown of test_thread*",
            "  - it left thread 'poller' running (threading.Event.wait)",
            "*_ test_context _*",
            "  - it pushed a context and never popped it (AppContext)",
            "*_ test_job _*",
            "  - job *: it pushed a context and never popped it (AppContext)",
        ]
    )


def test_leaks_are_not_looked_for_unless_asked(run: Any) -> None:
    """By default the plugin does nothing around tests."""
    run(LEAKY_TESTS, "--strict-markers", "-k", "not context").assert_outcomes(passed=4, deselected=1)


def test_loading_the_plugin_loads_nothing_else() -> None:
    """Projects that never test a job do not pay for it."""
    code = (
        "import sys, pytest; before = set(sys.modules); import ctxjobs_pytest; "
        "print(set(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{'ctxjobs_pytest'}"
