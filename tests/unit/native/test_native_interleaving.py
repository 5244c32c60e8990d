"""Random interleavings of push, pop, raise and copy, against a model of two stacks (R9 to R31).

A *lane* is a copy of the context variables, in which steps run: here, in another thread, or in an
asyncio task. The contexts of two apps, one in debug mode, are pushed and popped in all lanes, in any
order, right and wrong. After each step every lane must see what the model says, and the teardown
functions must have run as the model says; at the end nothing may be left.

The environment variable ``INTERLEAVINGS`` is their number: 500 by default, 10,000 for the full check
(a minute or so).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from werkzeug.routing import BaseConverter
from werkzeug.test import EnvironBuilder

from ctxjobs.errors import ContextPopError, TeardownError
from ctxjobs.native.app import App
from ctxjobs.native.globals import _cv_app, _cv_request, current_app, g, request
from ctxjobs.native.helpers import copy_current_request_context
from ctxjobs.native.sessions import SessionInterface
from ctxjobs.native.signals import appcontext_pushed

INTERLEAVINGS = int(os.environ.get("INTERLEAVINGS", "500"))
LANES = 4
ENVIRON = EnvironBuilder("/x").get_environ()

numbers = st.integers(0, 7)  # of a lane or a context, modulo how many there are
raises = st.sampled_from([False, False, True])
kinds = st.sampled_from(["app", "request"])
failures = st.sampled_from(["", "", "", "receiver", "session", "match"])


class BoomError(Exception):
    """What a teardown function raises when it is told to."""


class PushError(Exception):
    """What a push fails with when it is told to."""


@dataclass(eq=False)
class Lane:
    """What the model says of one copy of the context variables: its stacks, innermost last."""

    run: Callable[[Callable[[], Any]], Any]
    apps: list[Ctx] = field(default_factory=list)
    requests: list[Ctx] = field(default_factory=list)


@dataclass(eq=False)
class Ctx:
    """What the model says of one context: for each push its lane, and the app context that it brought."""

    real: Any
    kind: str
    app: App
    pushes: list[tuple[Lane, Ctx | None]] = field(default_factory=list)
    session_is_open: bool = False

    def stack(self, lane: Lane) -> list[Ctx]:
        return lane.apps if self.kind == "app" else lane.requests

    def may_pop(self, lane: Lane) -> bool:
        """Whether it is innermost in *lane*, and was pushed there, by the one that pops it."""
        stack = self.stack(lane)
        if not self.pushes or self.pushes[-1][0] is not lane or stack[-1] is not self:
            return False
        brought = self.pushes[-1][1]
        return brought is None or lane.apps[-1] is brought


class Interleaving(RuleBasedStateMachine):
    """One interleaving."""

    pool: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop
    made: list[weakref.ref[Any]]

    def __init__(self) -> None:
        super().__init__()
        self.fail_push, self.fail_teardown = "", False
        self.log: list[Any] = []
        self.expected: list[Any] = []
        self.apps = [self.make_app("shop"), self.make_app("other")]
        self.apps[1].debug = True
        self.lanes = [Lane(contextvars.Context().run)]
        self.contexts: list[Ctx] = []
        self.brought: list[Ctx] = []
        self.pushed: list[tuple[Lane, Ctx]] = []  # not popped yet, in the order of the pushes
        self.tasks: list[Any] = []

    # --- the apps -------------------------------------------------------------------------

    def make_app(self, name: str) -> App:
        machine = self

        class Sessions(SessionInterface):
            def open_session(self, app: App, request: Any) -> None:
                machine.fail("session")

        class Converter(BaseConverter):
            def to_python(self, value: str) -> str:
                machine.fail("match")
                return value

        app = App(name)
        app.session_interface = Sessions()
        app.url_map.converters["any_"] = Converter
        app.add_url_rule("/<any_:x>", "x")
        app.teardown_request(lambda exc: self.torn_down(name, "request", exc))
        app.teardown_appcontext(lambda exc: self.torn_down(name, "app", exc))
        appcontext_pushed.connect(self.receive_pushed, app)
        return app

    def receive_pushed(self, sender: Any) -> None:
        self.fail("receiver")

    def fail(self, where: str) -> None:
        if self.fail_push == where:
            raise PushError

    def torn_down(self, name: str, kind: str, exc: BaseException | None) -> None:
        self.log.append((name, kind, type(exc)))
        if self.fail_teardown:
            raise BoomError

    # --- one step -------------------------------------------------------------------------

    def step(
        self, lane: Lane, function: Callable[[], Any], fail_push: str = "", raising: bool = False
    ) -> Any:
        """The class of the error of *function* in *lane*, or NoneType."""
        self.fail_push, self.fail_teardown = fail_push, raising
        try:
            lane.run(function)
        except Exception as error:  # noqa: BLE001 - its class is the result
            return type(error)
        finally:
            self.fail_push, self.fail_teardown = "", False
        return type(None)

    def expect_teardown(self, ctx: Ctx, brought: Ctx | None, exc: type, last: bool) -> bool:
        """Note what tears down; whether anything does."""
        if last:
            self.expected.append((ctx.app.name, ctx.kind, exc))
        if brought is not None:
            self.expected.append((ctx.app.name, "app", exc))
        return last or brought is not None

    def pick(self, number: int) -> Lane:
        return self.lanes[number % len(self.lanes)]

    # --- rules ----------------------------------------------------------------------------

    @rule(number=numbers, app=st.integers(0, 1), kind=kinds, fail_push=failures, raising=raises)
    def push_new(self, number: int, app: int, kind: str, fail_push: str, raising: bool) -> None:
        """R8, R16: push a new context."""
        owner = self.apps[app]
        real = owner.app_context() if kind == "app" else owner.request_context(dict(ENVIRON))
        self.made.append(weakref.ref(real))
        self.contexts.append(Ctx(real, kind, owner))
        self.push(self.pick(number), self.contexts[-1], fail_push, raising)

    @rule(number=numbers, which=numbers, fail_push=failures, raising=raises)
    def push_again(self, number: int, which: int, fail_push: str, raising: bool) -> None:
        """R11, R12: push a context that is active, here or elsewhere, or was popped."""
        if self.contexts:
            self.push(self.pick(number), self.contexts[which % len(self.contexts)], fail_push, raising)

    def push(self, lane: Lane, ctx: Ctx, fail_push: str, raising: bool) -> None:
        """R17, R27: push, and see that a push that fails has been undone."""
        brings = ctx.kind == "request" and (not lane.apps or lane.apps[-1].app is not ctx.app)
        first = not ctx.pushes
        torn_down = False
        if fail_push == "receiver" and (ctx.kind == "app" or brings):
            torn_down = ctx.kind == "request" or first
            if torn_down:
                self.expected.append((ctx.app.name, "app", PushError))
        elif ctx.kind == "request" and (
            fail_push == "match" or (fail_push == "session" and not ctx.session_is_open)
        ):
            ctx.session_is_open = ctx.session_is_open or fail_push == "match"
            torn_down = self.expect_teardown(ctx, ctx if brings else None, PushError, first)
        else:
            fail_push = ""
        error = self.step(lane, ctx.real.push, fail_push, raising)
        if fail_push:
            assert error is (TeardownError if torn_down and raising else PushError)
            return
        assert error is type(None)
        ctx.session_is_open = True
        brought = None
        if brings:
            brought = Ctx(lane.run(_cv_app.get), "app", ctx.app)
            self.made.append(weakref.ref(brought.real))
            self.brought.append(brought)
            lane.apps.append(brought)
        ctx.pushes.append((lane, brought))
        ctx.stack(lane).append(ctx)
        self.pushed.append((lane, ctx))

    @rule(number=numbers, which=numbers, raising=raises)
    def pop_any(self, number: int, which: int, raising: bool) -> None:
        """R15, R30: pop any context anywhere; mostly refused, and then nothing has changed."""
        if self.contexts:
            self.pop(self.pick(number), self.contexts[which % len(self.contexts)], raising)

    @rule(number=numbers, kind=kinds, raising=raises)
    def pop_innermost(self, number: int, kind: str, raising: bool) -> None:
        """R9: pop what a lane sees as the innermost context."""
        lane = self.pick(number)
        stack = lane.apps if kind == "app" else lane.requests
        if stack:
            self.pop(lane, stack[-1], raising)

    @rule(number=numbers, which=numbers)
    def pop_what_was_brought(self, number: int, which: int) -> None:
        """R15, R17: the app context that a request context brought is popped by that one alone."""
        if self.brought:
            self.pop(self.pick(number), self.brought[which % len(self.brought)], False)

    def pop(self, lane: Lane, ctx: Ctx, raising: bool) -> None:
        exc = KeyError()
        if not ctx.may_pop(lane):
            assert self.step(lane, lambda: ctx.real.pop(exc), "", raising) is ContextPopError
            return
        _, brought = ctx.pushes.pop()
        torn_down = self.expect_teardown(ctx, brought, KeyError, not ctx.pushes)
        error = self.step(lane, lambda: ctx.real.pop(exc), "", raising)
        assert error is (TeardownError if torn_down and raising else type(None))
        ctx.stack(lane).pop()
        if brought is not None:
            lane.apps.pop()
        last = max(i for i, pushed in enumerate(self.pushed) if pushed == (lane, ctx))
        del self.pushed[last]

    @rule(number=numbers, where=st.sampled_from(["here", "thread", "task", "nowhere"]))
    def copy(self, number: int, where: str) -> None:
        """R30: make a lane that inherits what another one sees, or one that sees nothing."""
        if len(self.lanes) == LANES:
            return
        parent = self.pick(number) if where != "nowhere" else Lane(contextvars.Context().run)
        context = parent.run(contextvars.copy_context)
        run = {"thread": self.in_thread, "task": self.in_task}.get(where, lambda context: context.run)(
            context
        )
        self.lanes.append(Lane(run, list(parent.apps), list(parent.requests)))

    def in_thread(self, context: contextvars.Context) -> Callable[[Callable[[], Any]], Any]:
        return lambda function: self.pool.submit(context.run, function).result(timeout=10)

    def in_task(self, context: contextvars.Context) -> Callable[[Callable[[], Any]], Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()

        async def serve() -> None:
            while (work := await queue.get()) is not None:
                function, done = work
                try:
                    done.set_result(function())
                except Exception as error:  # noqa: BLE001 - handed to the one who waits
                    done.set_exception(error)
                del function, done, work

        def run(function: Callable[[], Any]) -> Any:
            done = self.loop.create_future()
            queue.put_nowait((function, done))
            return self.loop.run_until_complete(done)

        self.tasks.append((context.run(self.loop.create_task, serve()), queue))
        return run

    @rule(number=numbers, to=numbers, raising=raises)
    def call_copied_function(self, number: int, to: int, raising: bool) -> None:
        """R31: a function made in one lane runs in another one, for the same request."""
        lane, to_lane = self.pick(number), self.pick(to)
        if not lane.requests:
            return
        ctx, seen = lane.requests[-1], []
        copied = lane.run(
            lambda: copy_current_request_context(lambda: seen.append(request._get_current_object()))
        )
        brings = not to_lane.apps or to_lane.apps[-1].app is not ctx.app
        self.expect_teardown(ctx, ctx if brings else None, type(None), last=True)
        assert self.step(to_lane, copied, "", raising) is (TeardownError if raising else type(None))
        assert seen == [ctx.real.request]

    # --- what must be true ----------------------------------------------------------------

    @invariant()
    def every_lane_sees_its_own(self) -> None:
        """R9, R10, R30: the innermost contexts and the proxies of each lane are the model's."""
        for lane in self.lanes:
            app, request_ = (stack[-1].real if stack else None for stack in (lane.apps, lane.requests))
            assert lane.run(lambda: (_cv_app.get(None), _cv_request.get(None))) == (app, request_)
            if app is not None:
                assert lane.run(lambda: (current_app._get_current_object(), g._get_current_object())) == (
                    app.app,
                    app.g,
                )

    @invariant()
    def teardown_ran(self) -> None:
        """R10, R14, R21: teardown functions ran as often, in the order and with the errors of the model."""
        assert self.log == self.expected

    def teardown(self) -> None:
        """Pop what is left, innermost first: each must let itself be popped, and the root be empty."""
        for lane, ctx in self.pushed[::-1]:
            self.pop(lane, ctx, False)
            self.every_lane_sees_its_own()
            self.teardown_ran()
        assert self.lanes[0].run(lambda: (_cv_app.get(None), _cv_request.get(None))) == (None, None)
        for task, queue in self.tasks:
            queue.put_nowait(None)
            self.loop.run_until_complete(task)
        for name in ("lanes", "contexts", "brought", "pushed", "tasks"):
            getattr(self, name).clear()


def test_interleavings() -> None:
    """R9 to R17, R27, R30, R31: nothing is lost, mixed up or left, however contexts are interleaved."""
    Interleaving.made = []
    Interleaving.loop = asyncio.new_event_loop()
    try:
        with ThreadPoolExecutor(1) as Interleaving.pool:
            run_state_machine_as_test(
                Interleaving,
                settings=settings(
                    max_examples=INTERLEAVINGS,
                    stateful_step_count=12,
                    deadline=None,
                    database=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
    finally:
        Interleaving.loop.close()
    gc.collect()
    assert [ref() for ref in Interleaving.made if ref() is not None] == []
