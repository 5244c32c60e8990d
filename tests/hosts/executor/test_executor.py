"""ContextExecutor: teardown, pools, and what must not leak, on both hosts."""

from __future__ import annotations

import contextvars
import gc
import threading
import weakref
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import flask
import pytest
from support import flask32
from support.futures import DEADLINE_S, result
from werkzeug.test import EnvironBuilder

import ctxjobs
from ctxjobs import ContextExecutor
from ctxjobs.hosts import register_host
from ctxjobs.hosts.native import NativeHost

# --- teardown -------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, LookupError("x"), KeyboardInterrupt()])
def test_teardown_runs_once_in_the_thread(web: Any, error: BaseException | None) -> None:
    """R10, R13, R21: both teardowns run once, in the thread, with the task's exception."""
    app, seen = web.app(), []
    app.teardown_appcontext(lambda exc: seen.append(("app", exc, threading.current_thread())))
    app.teardown_request(lambda exc: seen.append(("request", exc, threading.current_thread())))
    threads = []

    def task() -> None:
        threads.append(threading.current_thread())
        if error is not None:
            raise error

    with ContextExecutor() as executor, app.test_request_context():
        future = executor.submit(task)
        assert future.exception(timeout=DEADLINE_S) is error
        assert seen == [("request", error, threads[0]), ("app", error, threads[0])]


def test_teardown_that_raises_fails_the_task(web: Any, executor: ContextExecutor) -> None:
    """Improvement 1: a task that returned, and whose teardown raised, has failed."""
    app = web.app()

    @app.teardown_appcontext
    def fail(exc: BaseException | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise LookupError("commit failed")

    with app.app_context(), pytest.raises(ctxjobs.TeardownError, match="commit failed"):
        result(executor.submit(lambda: 1))


def test_session_registry_keyed_by_context(web: Any) -> None:
    """Section 4.22: a registry of database sessions by id(app_ctx), as Flask-SQLAlchemy's, stays right.

    Tasks that run at once have each a session of their own, which is removed in the end; the
    submitter's is neither used nor removed.
    """
    app, registry, barrier = web.app(), {}, threading.Barrier(4)

    def db_session() -> Any:
        return registry.setdefault(id(web.app_context()), object())

    @app.teardown_appcontext
    def remove(exc: BaseException | None) -> None:
        registry.pop(id(web.app_context()), None)

    def task() -> Any:
        mine = db_session()
        barrier.wait(DEADLINE_S)
        return mine

    with ContextExecutor(ThreadPoolExecutor(4)) as executor, app.test_request_context():
        mine = db_session()
        futures = [executor.submit(task) for _ in range(8)]
        assert len({id(s) for s in [mine, *map(result, futures)]}) == 9
        assert list(registry.values()) == [mine]


# --- pools ----------------------------------------------------------------------------------


def test_many_at_once(web: Any) -> None:
    """R31: calls that run at the same time, of different requests, see each their own."""
    app, barrier = web.app(), threading.Barrier(4)

    def task(number: int) -> Any:
        web.names.g.number = number
        barrier.wait(DEADLINE_S)
        return web.names.request.path, web.names.g.tenant, web.names.g.number, web.names.session["x"]

    with ContextExecutor(ThreadPoolExecutor(4)) as executor:
        futures = []
        for number in range(8):
            with app.test_request_context(f"/{number}"):
                web.names.g.tenant = web.names.session["x"] = number
                futures.append(executor.submit(task, number))
        assert [result(future) for future in futures] == [(f"/{n}", n, n, n) for n in range(8)]


def test_map(web: Any) -> None:
    """map() keeps the order, and gives each call a g of its own."""

    def task(a: int, b: int) -> int:
        web.names.g.sum += a * b
        return web.names.g.sum

    with ContextExecutor() as executor, web.app().app_context():
        web.names.g.sum = 1
        assert list(executor.map(task, [1, 2, 3], [10, 10, 10], timeout=DEADLINE_S)) == [11, 21, 31]


def test_nothing_leaks_to_the_next_task(web: Any, executor: ContextExecutor) -> None:
    """R30: a task without a context runs without one, also after a task that left a context pushed."""
    app = web.app()
    with app.test_request_context():
        result(executor.submit(lambda: app.app_context().push()))
    assert result(executor.submit(web.nothing_active)) is True


def test_what_a_task_leaves_is_reported(
    web: Any, executor: ContextExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """A context that a task pushed and left is popped with the task's own, and named in the log."""
    app, seen = web.app(), []
    app.teardown_appcontext(seen.append)

    def forgetful() -> None:
        app.app_context().push()

    with app.app_context():
        result(executor.submit(forgetful))
        executor.shutdown()
        assert seen == [None, None]
    assert "forgetful in a ContextExecutor: it pushed a context and never popped it" in caplog.text


def test_no_context(web: Any, executor: ContextExecutor) -> None:
    """Submitted outside of any context, a task runs plainly (flask-executor#52)."""
    web.app()
    assert result(executor.submit(lambda a, *, b: (a, b, web.nothing_active()), 1, b=2)) == (1, 2, True)


def test_nested_submit(web: Any) -> None:
    """A task that submits another one passes on its own contexts, as they are then."""
    with ContextExecutor(ThreadPoolExecutor(2)) as executor, web.app().test_request_context("/a"):
        web.names.g.x = 1

        def outer() -> Any:
            web.names.g.x += 1
            return result(executor.submit(lambda: (web.names.request.path, web.names.g.x)))

        assert result(executor.submit(outer)) == ("/a", 2)
        assert web.names.g.x == 1


def test_submitter_may_be_a_thread_of_another_pool(web: Any, executor: ContextExecutor) -> None:
    """R31: the contexts are those of the submitting thread, not of the thread that made the executor."""

    def view() -> Any:
        with web.app().test_request_context("/a"):
            return result(executor.submit(lambda: web.names.request.path))

    with web.app().test_request_context("/b"), ThreadPoolExecutor(1) as other:
        assert result(other.submit(view)) == "/a"


def test_executor_that_runs_in_the_same_thread(web: Any) -> None:
    """R26: with an executor that works at once, nothing of the submitter's contexts shines through."""

    class AtOnce(Executor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    app, seen = web.app(), []
    app.teardown_appcontext(seen.append)
    with app.test_request_context():
        web.names.g.x = 1

        def task() -> int:
            web.names.g.x += 1
            return web.names.g.x

        assert result(ContextExecutor(AtOnce()).submit(task)) == 2
        assert (web.names.g.x, seen) == (1, [None])


def test_contexts_of_both_frameworks(executor: ContextExecutor) -> None:
    """Where contexts of a Flask app and of a native one are active, a task has both."""
    with flask.Flask("outer").test_request_context("/outer"), ctxjobs.App("inner").app_context():
        names = executor.submit(lambda: (flask.request.path, ctxjobs.current_app.name))
        assert result(names) == ("/outer", "inner")


def test_one_context_for_both(executor: ContextExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 1, Flask 3.2: where one context has app and request, a task has one such context."""
    monkeypatch.setattr("ctxjobs.hosts._registered", [])
    register_host(flask32.Flask32Host)
    app, seen = flask32.Flask("shop"), []
    app.secret_key = "k"
    app.teardown_appcontext(seen.append)

    def task() -> Any:
        return flask32.request.path, flask32.g.x, flask32.session["cart"]

    with app.request_context(EnvironBuilder("/a").get_environ()):
        flask32.g.x, flask32.session["cart"] = 1, 7
        assert result(executor.submit(task)) == ("/a", 1, 7)
        assert seen == [None]


def test_adapter_that_is_registered_once_more(
    executor: ContextExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An adapter of ours that somebody registers again still gives a task one context."""
    monkeypatch.setattr("ctxjobs.hosts._registered", [])
    register_host(NativeHost)
    app, seen = ctxjobs.App("shop"), []
    app.teardown_appcontext(seen.append)
    with app.app_context():
        result(executor.submit(int))
        assert seen == [None]


def test_request_of_another_app_is_not_copied(web: Any, executor: ContextExecutor) -> None:
    """R26: below the context of another app, a request is not the task's."""
    with web.app().test_request_context("/a"), web.App("other").app_context():
        names = executor.submit(lambda: (web.names.current_app.name, web.names.has_request_context()))
        assert result(names) == ("other", False)


def test_other_context_variables_are_copied(web: Any, executor: ContextExecutor) -> None:
    """Section 5: variables of logging and tracing have the submitter's values; changes stay in the task."""
    variable = contextvars.ContextVar("request_id", default="none")
    variable.set("r1")

    def task() -> str:
        before = variable.get()
        variable.set("changed")
        return before

    with web.app().app_context():
        assert [result(executor.submit(task)) for _ in range(2)] == ["r1", "r1"]
    assert variable.get() == "r1"


def test_cancelled_task_tears_nothing_down(web: Any, executor: ContextExecutor) -> None:
    """A task that was cancelled before it began has pushed no context, so no teardown runs for it."""
    app, seen, go = web.app(), [], threading.Event()
    app.teardown_appcontext(seen.append)
    executor.submit(go.wait, DEADLINE_S)  # keeps the thread busy
    with app.app_context():
        future = executor.submit(print)
        executor.shutdown(wait=False, cancel_futures=True)
        assert future.cancelled()
    go.set()
    executor.shutdown()
    assert seen == [None]


def test_submit_after_shutdown(web: Any, executor: ContextExecutor) -> None:
    """After shutdown() the executor refuses work, as the one that it wraps."""
    executor.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(print)


def test_memory_is_freed_with_the_task(web: Any, executor: ContextExecutor) -> None:
    """Neither the pool nor the executor keeps what a finished task had on g (flask-executor#26)."""

    class Value:
        pass

    value = Value()
    alive = weakref.ref(value)
    with web.app().test_request_context():
        web.names.g.value = value
        result(executor.submit(lambda: web.names.g.value.__class__))
    del value
    result(executor.submit(int))  # the thread has let go of the task before
    gc.collect()
    assert alive() is None


def test_process_pools_are_refused() -> None:
    """A ProcessPoolExecutor is refused at once: contexts do not leave their process."""
    with ProcessPoolExecutor(1) as processes, pytest.raises(ctxjobs.CallerError, match="other processes"):
        ContextExecutor(processes)
