"""``PropagationMatrix``: every way that a job can take, against one app and one kind of state.

The class, with the hooks to override. Its files: ``ways`` (the ways), ``jobs`` (the functions that are
enqueued), ``stage`` (events, Redis and workers). Imports no test framework; pytest runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

from redis import Redis

from ctxjobs.embedded import EmbeddedRedis
from ctxjobs.extension import CtxJobs
from ctxjobs.propagation import run_in_context, system_snapshot
from ctxjobs.registry import registry
from ctxjobs.snapshot import Snapshot
from ctxjobs.testing.matrix.jobs import MatrixError, stages
from ctxjobs.testing.matrix.stage import Event, Stage
from ctxjobs.testing.matrix.ways import WAYS, Way


@dataclass(frozen=True)
class Play:
    """What came of one way.

    Attributes:
        before: What the caller saw before, inside the state.
        expected: What the jobs have to see: the same, or else what the app's system context has.
        afterwards: What it saw after it had enqueued.
        events: What happened.
        next_job: What a job saw that was enqueued outside of the state, and ran next.
        next_call: What code saw next, outside of the state, in the worker's process.
    """

    before: Any
    expected: Any
    afterwards: Any
    events: list[Event]
    next_job: Any
    next_call: Any


class PropagationMatrix:
    """Tests that no way forgets the state of a propagator, or of the contexts: make a subclass.

    For a propagator of your own, override three methods::

        class TestTenants(PropagationMatrix):
            def make_app(self):
                return create_app()

            @contextmanager
            def entered(self, app, value):
                with app.test_request_context():
                    with tenant_is(value):
                        yield

            def see(self):
                return current_tenant()

    Each way gets tests by its name: the function sees what the caller saw, in every run and in every
    callback; teardown runs exactly once after each of them, with the right exception; nothing is visible to
    the next job; and a job keeps the envelope that it was born with, byte for byte. Needs the embedded
    Redis and inline mode: ``pip install ctxjobs[embedded,inline]``, or redis-server on PATH and
    ``pip install ctxjobs[inline]``.

    Attributes:
        values: Two values for :meth:`entered` that :meth:`see` tells apart; used in turns.
    """

    values: ClassVar[tuple[Any, Any]] = ("first", "second")

    _redis: ClassVar[EmbeddedRedis]
    _plays: ClassVar[dict[str, Play]]

    # --- to be overridden -----------------------------------------------------------------

    def make_app(self) -> Any:
        """Return a new app, with a secret key; the matrix sets ``CTXJOBS_REDIS_URL`` and binds it."""
        raise NotImplementedError

    def entered(self, app: Any, value: Any) -> AbstractContextManager[None]:
        """Return a block inside of which the state to carry is *value*, in contexts of *app*.

        Args:
            app: What :meth:`make_app` returned.
            value: One of :attr:`values`.
        """
        raise NotImplementedError

    def see(self) -> Any:
        """What code sees of the state; something to compare, inside of an application context."""
        raise NotImplementedError

    # --- running --------------------------------------------------------------------------

    @classmethod
    def setup_class(cls) -> None:
        """Start Redis; it lives as long as the class's tests."""
        cls._redis = EmbeddedRedis()
        cls._redis.start()
        cls._plays = {}

    @classmethod
    def teardown_class(cls) -> None:
        """Stop Redis."""
        cls._redis.stop()

    def play(self, name: str) -> Play:
        """Use the way *name*, once for all tests of the class."""
        if name not in self._plays:
            apps_before = dict(registry.apps)
            registry.apps.clear()
            try:
                with Redis.from_url(self._redis.url) as connection:
                    self._plays[name] = self._play(WAYS[name], connection)
            finally:
                registry.apps.clear()
                registry.apps.update(apps_before)
                stages.clear()
        return self._plays[name]

    def _play(self, way: Way, connection: Redis) -> Play:
        connection.flushall()
        stage = Stage(self.see, connection)
        stages.append(stage)
        app = self._bound_app(stage, way.inline)
        value = self.values[list(WAYS.values()).index(way) % 2]
        with self.entered(app, value):
            before = self.see()
            way.act(stage)
            afterwards = self.see()
        way.finish(stage)
        events, stage.events = stage.events, []
        [app_id] = registry.apps
        return Play(
            before,
            before if way.carries else run_in_context(system_snapshot(app_id), self.see),
            afterwards,
            events,
            self._next_job(app, stage),
            run_in_context(Snapshot(app_id), self.see),
        )

    def _bound_app(self, stage: Stage, inline: bool) -> Any:
        app = self.make_app()
        app.config.update(CTXJOBS_REDIS_URL=self._redis.url, CTXJOBS_INLINE=inline)
        app.teardown_appcontext(stage.torn_down)
        registry.apps.clear()  # a factory may have bound it, with another Redis
        CtxJobs(app)
        return app

    def _next_job(self, app: Any, stage: Stage) -> Any:
        with app.app_context():
            WAYS["enqueue"].act(stage)
        stage.work()
        return next(event.seen for event in stage.events if event.kind == "run")

    # --- what is tested -------------------------------------------------------------------

    def check_context(self, name: str) -> None:
        """The function and the callbacks see what they have to; the caller sees what it saw before."""
        play = self.play(name)
        seen = [event.seen for event in play.events if event.kind != "teardown"]
        assert seen == [play.expected for _ in WAYS[name].ends]
        assert play.afterwards == play.before

    def check_teardown(self, name: str) -> None:
        """After each run teardown runs exactly once, with the exception of that run."""
        kinds = [(event.kind == "teardown", type(event.error)) for event in self._runs(name)]
        expected = []
        for end in WAYS[name].ends:
            expected += [(False, type(None)), (True, MatrixError if end == "raises" else type(None))]
        assert kinds == expected

    def _runs(self, name: str) -> list[Event]:
        """The events of the way, without the teardown of the caller's own contexts."""
        return [event for event in self.play(name).events if event.who != "caller" or name == "call"]

    def check_next_job(self, name: str) -> None:
        """A job that is enqueued outside of the state, and runs next, sees nothing of it."""
        play = self.play(name)
        assert play.next_job == play.next_call != play.before

    def check_envelope(self, name: str) -> None:
        """Every run of a job finds the envelope that it was enqueued with, byte for byte."""
        by_job: dict[str, set[bytes | None]] = {}
        for event in self.play(name).events:
            if event.kind != "teardown":
                by_job.setdefault(event.who, set()).add(event.envelope)
        assert all(len(envelopes) == 1 and None not in envelopes for envelopes in by_job.values())


def _test(check: Callable[[PropagationMatrix, str], None], way: str) -> Callable[[PropagationMatrix], None]:
    def test(self: PropagationMatrix) -> None:
        check(self, way)

    test.__doc__ = f"On the way {way!r}: {check.__doc__}"
    return test


def _add_tests() -> None:
    for name, way in WAYS.items():
        checks = {
            "carries_the_context": PropagationMatrix.check_context,
            "tears_down_once": PropagationMatrix.check_teardown,
            "leaves_nothing": PropagationMatrix.check_next_job,
        }
        if way.enqueues:
            checks["keeps_the_envelope"] = PropagationMatrix.check_envelope
        for what, check in checks.items():
            setattr(PropagationMatrix, f"test_{name}_{what}", _test(check, name))


_add_tests()
