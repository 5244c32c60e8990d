"""What a propagator does around every job, whether it carries anything or not; on both hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.both_hosts import Web

from ctxjobs import Capture, Snapshot, capture, register_propagator, run_in_context
from ctxjobs.errors import TeardownError
from ctxjobs.hosts import context_vars

pytestmark = pytest.mark.usefixtures("own_registries")


class BoomError(Exception):
    """What the tests raise."""


def boom() -> None:
    raise BoomError


@dataclass
class Surrounding:
    """A propagator that carries nothing, and notes when it is entered and left."""

    name: str
    events: list[Any]
    used: bool = True
    essential: bool = False
    enter: Callable[[], Any] = lambda: None
    leave: Callable[[], Any] = lambda: None
    contexts: list[Any] = field(default_factory=list)

    def wanted(self, host: Any) -> bool:
        return self.used

    def capture(self, active: Any) -> None: ...

    def restore(self, value: Any, active: Any) -> None: ...

    @contextmanager
    def around(self, host: Any, context: Any) -> Iterator[None]:
        self.enter()
        self.contexts.append(context)
        self.events.append((f"{self.name} in", host.active() is None))
        try:
            yield
        except BoomError as exc:
            self.events.append(type(exc))
            raise
        finally:
            self.events.append((f"{self.name} out", host.active() is None))
            self.leave()


def snapshot_of(app: Any, **options: Any) -> Snapshot:
    with app.test_request_context("/"):
        return capture(Capture(**options))


@pytest.mark.parametrize("rule", ["auto", "none"])
def test_it_is_around_everything(web: Web, rule: Any) -> None:
    """Entered before the contexts are there, left after the last teardown function; a policy has no say."""
    events: list[Any] = []
    one, other = Surrounding("one", events), Surrounding("other", events)
    for propagator in (one, other, Surrounding("unused", events, used=False)):
        register_propagator(propagator)
    app = web.app()
    snapshot = snapshot_of(app, propagators=rule)
    app.teardown_appcontext(lambda exc: events.append("teardown"))
    run_in_context(snapshot, lambda: events.append("job"))
    entered, left = [("one in", True), ("other in", True)], [("other out", True), ("one out", True)]
    assert events == [*entered, "job", "teardown", *left]
    assert one.contexts[0] is other.contexts[0]


def test_it_gets_the_application_context(web: Web) -> None:
    """The one that the job will have; it is not pushed yet."""
    surrounding = Surrounding("one", [])
    register_propagator(surrounding)
    g = run_in_context(snapshot_of(web.app()), lambda: web.g._get_current_object())
    assert surrounding.contexts[0].g is g


def test_it_gets_the_exception_of_the_job(web: Web) -> None:
    """Which stays the one that is raised."""
    events: list[Any] = []
    register_propagator(Surrounding("one", events))
    with pytest.raises(BoomError):
        run_in_context(snapshot_of(web.app()), boom)
    assert events == [("one in", True), BoomError, ("one out", True)]


def test_an_exit_that_fails_is_a_teardown_error(web: Web) -> None:
    """The others are left nevertheless."""
    events: list[Any] = []
    register_propagator(Surrounding("one", events))
    register_propagator(Surrounding("other", events, leave=boom))
    with pytest.raises(TeardownError):
        run_in_context(snapshot_of(web.app()), int)
    assert events[-1] == ("one out", True)


def test_an_entry_that_fails_fails_the_job(web: Web) -> None:
    """No context was pushed, no teardown function runs, and what was entered is left."""
    events: list[Any] = []
    register_propagator(Surrounding("one", events))
    register_propagator(Surrounding("other", events, enter=boom))
    app = web.app()
    snapshot = snapshot_of(app)
    app.teardown_appcontext(lambda exc: events.append("teardown"))
    with pytest.raises(BoomError):
        run_in_context(snapshot, lambda: pytest.fail("the job ran"))
    assert events == [("one in", True), BoomError, ("one out", True)]
    assert [variable.get(None) for variable in context_vars()] == [None] * len(context_vars())
