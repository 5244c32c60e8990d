"""Threads, tasks, copies and streams (R30 to R33)."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.wsgi import ClosingIterator

from ctxjobs.errors import ContextPopError


def in_thread(function: Any, *args: Any) -> Any:
    """The result of *function* in a new thread."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function, *args).result(timeout=10)


def test_new_thread_sees_nothing(web: Any) -> None:
    """R30: a new thread has no context."""
    with web.app().test_request_context():
        assert in_thread(web.active) == (None, None)


def test_threads_do_not_mix(native: Any) -> None:
    """R30: threads that are inside of their requests at the same time see each their own."""
    app, barrier = native.app(), threading.Barrier(8)

    def work(number: int) -> Any:
        with app.test_request_context(f"/{number}"):
            native.globals.g.number = native.globals.session["number"] = number
            barrier.wait(timeout=10)
            return native.globals.request.path, native.globals.g.number, native.globals.session["number"]

    with ThreadPoolExecutor(8) as executor:
        assert list(executor.map(work, range(8))) == [(f"/{n}", n, n) for n in range(8)]


def test_tasks_do_not_mix(native: Any) -> None:
    """R30: tasks that take turns inside of their requests see each their own; nothing leaks back."""
    app = native.app()

    async def work(number: int) -> Any:
        with app.test_request_context(f"/{number}"):
            native.globals.g.number = number
            for _ in range(5):
                await asyncio.sleep(0)
            return native.globals.request.path, native.globals.g.number

    async def main() -> Any:
        results = await asyncio.gather(*map(work, range(20)))
        return results, native.active()

    assert asyncio.run(main()) == ([(f"/{n}", n) for n in range(20)], (None, None))


def test_task_outlives_the_request(web: Any) -> None:
    """R30: a task inherits the contexts, and still sees them when they are torn down."""

    async def main() -> str:
        popped = asyncio.Event()

        async def late() -> str:
            await popped.wait()
            return web.globals.request.path

        with web.app().test_request_context("/a"):
            task = asyncio.ensure_future(late())
        popped.set()
        return await task

    assert asyncio.run(main()) == "/a"


@pytest.mark.parametrize("kind", ["app_context", "test_request_context"])
def test_pop_elsewhere_is_refused_first(native: Any, kind: str) -> None:
    """R30, improvement 2: a pop in a copy of the contextvars, or in another thread, changes nothing."""
    app, seen = native.app(), []
    app.teardown_appcontext(seen.append)
    with getattr(app, kind)() as ctx:
        for run in (contextvars.copy_context().run, in_thread):
            with pytest.raises(ContextPopError, match="another thread, task or copy"):
                run(ctx.pop)
        assert seen == []
    assert seen == [None]


def test_copy_outside(web: Any) -> None:
    """R31: copy_current_request_context outside of a request is a RuntimeError."""
    with pytest.raises(RuntimeError), web.app().app_context():
        web.helpers.copy_current_request_context(print)


def test_copy_in_a_thread(web: Any) -> None:
    """R31: the copy has the same request and session objects, an empty g, and teardown in its thread."""
    app, torn_down = web.app(), []
    app.teardown_appcontext(lambda exc: torn_down.append(threading.current_thread()))

    def work() -> Any:
        """Its doc."""
        return web.globals.request._get_current_object(), web.active()[1]._session, list(web.globals.g)

    with app.test_request_context() as ctx:
        web.globals.g.x = 1
        copied = web.helpers.copy_current_request_context(work)
        request, session, names = in_thread(copied)
        assert (request is ctx.request, session is ctx._session, names) == (True, True, [])
        assert (copied.__name__, copied.__doc__) == ("work", "Its doc.")
    assert len(torn_down) == 2
    assert torn_down[0] is not threading.current_thread()


def test_copy_in_the_same_thread(web: Any) -> None:
    """R31: in the same thread, with the app context on top, the copy shares g; it may call itself."""
    with web.app().test_request_context("/a"):
        web.globals.g.x = 3

        @web.helpers.copy_current_request_context
        def countdown() -> Any:
            web.globals.g.x -= 1
            return countdown() if web.globals.g.x else web.globals.request.path

        assert countdown() == "/a"
        assert web.globals.g.x == 0


def test_copy_runs_in_many_threads_at_once(native: Any) -> None:
    """R31: one copy may run in several threads at the same time, each with its own g."""
    barrier = threading.Barrier(4)

    def work(number: int) -> Any:
        native.globals.g.number = number
        barrier.wait(timeout=10)
        return native.globals.request.path, native.globals.g.number

    with native.app().test_request_context("/a"):
        copied = native.helpers.copy_current_request_context(work)
        with ThreadPoolExecutor(4) as executor:
            assert list(executor.map(copied, range(4))) == [("/a", n) for n in range(4)]


def test_copy_of_an_async_function(native: Any) -> None:
    """R31: an async function becomes a plain one, in its context."""

    async def work() -> str:
        await asyncio.sleep(0)
        return native.globals.request.path

    with native.app().test_request_context("/a"):
        assert in_thread(native.helpers.copy_current_request_context(work)) == "/a"


def test_stream_outside(web: Any) -> None:
    """R32: stream_with_context outside of a request is a RuntimeError."""
    with pytest.raises(RuntimeError):
        web.helpers.stream_with_context(iter(["a"]))


@pytest.mark.parametrize("as_decorator", [False, True])
def test_stream_sees_request_session_and_g(web: Any, as_decorator: bool) -> None:
    """R32: a stream sees request, session and g after the request; teardown runs after each of the two."""
    app, log = web.app(), []

    def generate() -> Any:
        try:
            yield f"{web.globals.request.path} {web.globals.session['x']} {web.globals.g.x}"
            log.append("second chunk")
            yield "!"
        finally:
            log.append("closed")

    @app.route("/a")
    def view() -> Any:
        web.globals.session["x"] = web.globals.g.x = 1
        stream = web.helpers.stream_with_context
        return web.Response(stream(generate)() if as_decorator else stream(generate()))

    app.teardown_request(lambda exc: log.append("teardown"))
    assert app.test_client().get("/a").text == "/a 1 1!"
    assert log == ["teardown", "second chunk", "closed", "teardown"]
    assert web.active() == (None, None)


def test_abandoned_stream_is_torn_down(native: Any) -> None:
    """R32: closing a stream half-way closes the generator and tears the contexts down."""
    app, log = native.app(), []
    app.teardown_request(log.append)

    def generate() -> Any:
        try:
            yield "a"
            yield "b"
        finally:
            log.append("closed")

    with app.test_request_context():
        stream = native.helpers.stream_with_context(generate())
    next(stream)
    stream.close()
    assert (log[0], log[1], isinstance(log[2], GeneratorExit)) == (None, "closed", True)
    assert native.active() == (None, None)


def test_stream_closes_what_it_wraps(web: Any) -> None:
    """R32: an iterable that is not a generator is closed when it is read to its end."""
    log: list[str] = []
    with web.app().test_request_context():
        assert list(
            web.helpers.stream_with_context(ClosingIterator(["a"], lambda: log.append("closed")))
        ) == ["a"]
    assert log == ["closed"]


@pytest.mark.parametrize("loop_runs", [False, True])
def test_ensure_sync(native: Any, loop_runs: bool) -> None:
    """R33: async views, hooks, teardowns and receivers run, with or without a running loop; they share g."""
    app, log, g = native.app(), [], native.globals.g

    @app.before_request
    async def before() -> None:
        g.x = 1

    @app.route("/a")
    async def view() -> str:
        await asyncio.sleep(0)
        g.x += 1
        native.app().app_context().push()  # must not leak out of the task
        return native.globals.request.path

    @app.after_request
    async def after(response: Any) -> Any:
        log.append(g.x)
        return response

    @app.teardown_appcontext
    async def teardown(exc: Any) -> None:
        log.append(("teardown", exc, g.x))

    async def receiver(sender: Any) -> None:
        log.append(sender is app)

    native.signals.appcontext_popped.connect(receiver, app)

    def get() -> str:
        return app.test_client().get("/a").text

    async def get_in_loop() -> str:
        return get()

    assert (asyncio.run(get_in_loop()) if loop_runs else get()) == "/a"
    assert log == [2, ("teardown", None, 2), True]


@pytest.mark.parametrize("loop_runs", [False, True])
def test_ensure_sync_raises(native: Any, loop_runs: bool) -> None:
    """R33: what an async function raises comes out of the plain one."""

    async def failing() -> None:
        raise LookupError("x")

    plain = native.app().ensure_sync(failing)

    async def call() -> None:
        plain()

    with pytest.raises(LookupError, match="x"):
        asyncio.run(call()) if loop_runs else plain()
