"""Many requests at once: threads, tasks, executors, generators, two apps (R9, R28, R30 to R33)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ctxjobs.errors import ContextPopError

REQUESTS = 40


def make_app(web: Any, name: str = "shop") -> Any:
    """An app that tells what it sees, each time after others had a turn, and what it tore down."""
    app = web.App(name)
    app.config.update(SECRET_KEY="k", TESTING=True)
    app.torn_down = []
    globals_ = web.globals

    def see() -> list[Any]:
        return [
            globals_.current_app.name,
            globals_.request.path,
            globals_.g.number,
            globals_.session["number"],
        ]

    @app.before_request
    def before() -> None:
        globals_.g.number = globals_.session["number"] = globals_.request.view_args["number"]

    @app.get("/sync/<int:number>")
    def sync(number: int) -> Any:
        return see()

    @app.get("/async/<int:number>")
    async def asynchronous(number: int) -> Any:
        first = see()
        for _ in range(3):
            await asyncio.sleep(0)
        return see() if see() == first else "mixed up"

    app.teardown_request(lambda exc: app.torn_down.append(globals_.request.view_args["number"]))
    return app


def expected(app: Any, kind: str) -> list[Any]:
    """What the requests of *app* are answered with."""
    return [[app.name, f"/{kind}/{number}", number, number] for number in range(REQUESTS)]


def get(app: Any, kind: str, number: int) -> Any:
    """The answer of *app*, with a client of its own."""
    return app.test_client().get(f"/{kind}/{number}").json


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_requests_in_threads(native: Any, kind: str) -> None:
    """R30: requests to two apps in the threads of one pool see each their own, and leave nothing there."""
    apps = make_app(native), make_app(native, "other")
    with ThreadPoolExecutor(8) as pool:
        answers = [list(pool.map(lambda n, app=app: get(app, kind, n), range(REQUESTS))) for app in apps]
        left = set(pool.map(lambda _: native.active(), range(REQUESTS)))
    assert answers == [expected(app, kind) for app in apps]
    assert left == {(None, None)}
    assert [sorted(app.torn_down) for app in apps] == [list(range(REQUESTS))] * 2


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_gather_of_requests(native: Any, kind: str) -> None:
    """R30, R33: requests gathered in threads of one loop see each their own; nothing leaks back."""
    app = make_app(native)

    async def main() -> Any:
        gathered = await asyncio.gather(*(asyncio.to_thread(get, app, kind, n) for n in range(REQUESTS)))
        return gathered, native.active()

    assert asyncio.run(main()) == (expected(app, kind), (None, None))


def test_gather_of_contexts_of_two_apps(native: Any) -> None:
    """R9, R30: tasks that push contexts of two apps in turns, inside of a request of a third, keep theirs."""
    apps = [native.App("one"), native.App("two")]
    globals_ = native.globals

    async def work(number: int) -> Any:
        outer, inner = apps[number % 2], apps[1 - number % 2]
        seen = [globals_.request.path]
        with outer.test_request_context(f"/{number}"):
            await asyncio.sleep(0)
            with inner.app_context():
                await asyncio.sleep(0)
                seen += [globals_.current_app.name, globals_.request.path]
            await asyncio.sleep(0)
            seen += [globals_.current_app.name, globals_.request.path]
        return [*seen, globals_.request.path]

    async def main() -> Any:
        with native.app().test_request_context("/outside") as ctx:
            gathered = await asyncio.gather(*map(work, range(REQUESTS)))
            assert native.active()[1] is ctx
        return gathered

    for number, seen in enumerate(asyncio.run(main())):
        names = ["one", "two"] if number % 2 else ["two", "one"]
        path = f"/{number}"
        assert seen == ["/outside", names[0], path, names[1], path, "/outside"]


def test_what_an_executor_sees(web: Any) -> None:
    """R30: an executor's thread sees nothing, also where asyncio calls it; asyncio.to_thread copies."""

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(pool, web.active), await asyncio.to_thread(web.active)]

    with web.app().test_request_context() as ctx, ThreadPoolExecutor(1) as pool:
        app_ctx = web.active()[0]
        assert pool.submit(web.active).result(timeout=10) == (None, None)
        assert asyncio.run(main()) == [(None, None), (app_ctx, ctx)]


def test_push_in_a_borrowed_copy_does_not_come_back(web: Any) -> None:
    """R30: a context that work in asyncio.to_thread leaves pushed is not seen by its caller."""
    app = web.app()

    async def main() -> Any:
        await asyncio.to_thread(app.app_context().push)
        return web.active()

    assert asyncio.run(main()) == (None, None)


def test_generator_outlives_its_context(web: Any) -> None:
    """R30: a generator that was made in a request and is read after it is outside; that is an error."""

    def generate() -> Iterator[str]:
        yield web.globals.request.path

    with web.app().test_request_context():
        generator = generate()
    with pytest.raises(RuntimeError, match=r"^Working outside of request context"):
        next(generator)


def test_suspended_generator_leaves_its_context_to_the_reader(web: Any) -> None:
    """R30: what a generator pushes is active in its reader while it is suspended, until it is closed."""
    app = web.app()

    def generate() -> Iterator[Any]:
        with app.app_context() as ctx:
            yield ctx

    generator = generate()
    ctx = next(generator)
    assert web.active()[0] is ctx
    generator.close()
    assert web.active()[0] is None


def test_suspended_generators_closed_in_the_wrong_order(native: Any) -> None:
    """R15: of two suspended generators the outer one is refused its pop, and the inner one is not harmed."""
    app, torn_down = native.app(), []
    app.teardown_appcontext(torn_down.append)

    def generate() -> Iterator[Any]:
        with app.app_context() as ctx:
            yield ctx

    outer, inner = generate(), generate()
    contexts = next(outer), next(inner)
    with pytest.raises(ContextPopError, match="was pushed after it and is still active"):
        outer.close()
    assert (native.active()[0], torn_down) == (contexts[1], [])
    inner.close()
    contexts[0].pop(None)
    assert native.active() == (None, None)


def test_generator_closed_in_another_thread(native: Any) -> None:
    """R30: a generator that is closed in another thread cannot pop what it pushed here."""
    app = native.app()

    def generate() -> Iterator[Any]:
        with app.app_context() as ctx:
            yield ctx

    generator = generate()
    ctx = next(generator)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ContextPopError, match="another thread, task or copy"):
        pool.submit(generator.close).result(timeout=10)
    assert native.active()[0] is ctx
    ctx.pop()


def test_stream_is_read_between_requests(native: Any) -> None:
    """R32: streams of two apps, read in turns with requests in between, see each their own request."""
    apps = native.app(), native.App("other")
    for app in apps:
        app.add_url_rule("/<x>", "x", lambda x: stream())

    def stream() -> Any:
        return native.helpers.stream_with_context(native.globals.request.path for _ in range(2))

    bodies = [app.test_client().get(f"/{app.name}").iter_encoded() for app in apps]
    with contextlib.ExitStack() as stack:
        seen = []
        for body in bodies:
            seen.append(next(body))
            stack.callback(list, body)  # read to the end, the last one first
        assert apps[0].test_client().get("/between").data == b"/between/between"
    assert seen == [b"/shop", b"/other"]
    assert native.active() == (None, None)


@pytest.mark.parametrize("where", ["thread", "task", "copied"])
def test_freed_without_the_collector_elsewhere(native: Any, where: str) -> None:
    """R28: what a request in another thread, task or copied context made is freed by counting."""
    app, refs = make_app(native), []

    def remember(sender: Any, **values: Any) -> None:
        refs.extend(map(weakref.ref, (*native.active(), native.active()[1].request, native.active()[0].g)))

    native.signals.request_tearing_down.connect(remember, app)

    async def main() -> None:
        await asyncio.create_task(asyncio.to_thread(get, app, "sync", 1))

    def copied() -> None:
        with app.test_request_context("/sync/1"):
            function = native.helpers.copy_current_request_context(lambda: None)
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()

    gc.disable()
    try:
        if where == "thread":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(get, app, "sync", 1).result(timeout=10)
        elif where == "task":
            asyncio.run(main())
        else:
            copied()
        assert refs
        assert [ref() for ref in refs if ref() is not None] == []
    finally:
        gc.enable()
