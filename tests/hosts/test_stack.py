"""The hard rules of push, unwind and teardown around a job, on both hosts."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from support.both_hosts import WEBS, Web
from werkzeug.routing import BaseConverter

import ctxjobs
from ctxjobs import Capture, Snapshot, capture, restore, run_in_context
from ctxjobs.errors import ContextError, ContextMismatchError, TeardownError
from ctxjobs.hosts import context_vars
from ctxjobs.registry import registry


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No app of another test is bound."""
    monkeypatch.setattr(registry, "apps", {})


@pytest.fixture(autouse=True)
def nothing_left_active() -> Iterator[None]:
    """No test of this file leaves a context behind."""
    yield
    left = [variable for variable in context_vars() if variable.get(None) is not None]
    for variable in left:
        variable.set(None)  # for the tests that follow; this one has failed
    assert left == []


class BoomError(Exception):
    """What the tests raise."""


def take(app: Any, path: str = "/", **options: Any) -> Snapshot:
    """A snapshot of a request to *path*."""
    with app.test_request_context(path):
        return capture(Capture(**options) if options else None)


def active() -> list[Any]:
    return [variable.get(None) for variable in context_vars() if variable.get(None) is not None]


def fail(*args: Any, **kwargs: Any) -> None:
    raise BoomError("teardown")


# --- Push -----------------------------------------------------------------------------------


class Exploding(BaseConverter):
    armed = False

    def to_python(self, value: str) -> str:
        if self.armed:
            raise BoomError("converter")
        return value


def arm_converter(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exploding, "armed", True)


def arm_session(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(app.session_interface), "session_class", fail)


def app_with_converter(web: Web) -> Any:
    app = web.app()
    app.url_map.converters["exploding"] = Exploding
    app.add_url_rule("/<exploding:name>", "named", lambda name: name)
    return app


@pytest.mark.parametrize("arm", [arm_converter, arm_session])
def test_a_push_that_fails_leaves_nothing_active(web: Web, arm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R27: when a converter or the session interface raises, no context stays, and the error comes out."""
    app = app_with_converter(web)
    snapshot = take(app, "/x")
    arm(app, monkeypatch)
    with pytest.raises(BoomError), restore(snapshot):
        pytest.fail("the block ran")
    assert active() == []


def test_what_was_pushed_before_the_failure_is_torn_down(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app context that was pushed first runs its teardown once, with the error of the push."""
    app, seen = app_with_converter(web), []
    app.teardown_appcontext(seen.append)
    snapshot = take(app, "/x")
    seen.clear()
    arm_converter(app, monkeypatch)
    with pytest.raises(BoomError) as caught, restore(snapshot):
        pass
    assert seen == [caught.value]


def test_another_route_is_refused(web: Web) -> None:
    """A request that matches another route here than where it was captured does not run."""
    app = web.app()
    snapshot = take(app)
    other = web.app()
    other.view_functions.clear()
    other.url_map = type(other.url_map)()
    other.add_url_rule("/<name>", "page", str)
    with pytest.raises(ContextMismatchError) as caught, restore(snapshot):
        pytest.fail("the block ran")
    assert (caught.value.then, caught.value.now) == ("endpoint 'index' (/)", "no route")
    assert active() == []


def test_an_app_that_is_not_bound_is_named(web: Web) -> None:
    """A snapshot of an app that this process does not know is no snapshot to restore."""
    with pytest.raises(ContextError, match="App 'nowhere' is not bound in this process"):
        restore(Snapshot("nowhere"))


# --- What the job left behind ---------------------------------------------------------------


@pytest.mark.parametrize(
    "pushed",
    [
        ["app"],
        ["request"],
        ["app", "app", "app"],
        ["app", "request"],
        ["request", "app"],
        ["request", "request"],
        ["other app"],
        ["other request"],
        ["other request", "app"],
        ["app", "other request", "request"],
        ["other request", "other app", "request", "app"],
    ],
    ids="+".join,
)
@pytest.mark.parametrize("in_request", [True, False], ids=["in a request", "in an app context"])
def test_contexts_that_the_job_left_are_popped_and_reported(
    web: Web, pushed: list[str], in_request: bool
) -> None:
    """Contexts that the job pushed are popped, one report for each, before its own teardown runs."""
    app, other, ended = web.app(), web.app("other"), []
    snapshot = take(app) if in_request else Snapshot("shop")
    make = {
        "app": app.app_context,
        "request": app.test_request_context,
        "other app": other.app_context,
        "other request": other.test_request_context,
    }
    with restore(snapshot) as stack:
        own = web.g._get_current_object()
        app.teardown_appcontext(lambda exc: ended.append(web.g._get_current_object() is own))
        for kind in pushed:
            make[kind]().push()
    assert active() == []
    texts = [leak.partition(" (")[0] for leak in stack.leaks]
    assert texts == ["it pushed a context and never popped it"] * len(pushed)
    assert (ended[-1], ended.count(True)) == (True, 1)


def test_left_contexts_are_torn_down_with_the_jobs_exception(web: Web) -> None:
    """A context that the job left gets the exception that ended the job."""
    app, seen = web.app(), []
    app.teardown_appcontext(seen.append)
    error = BoomError()
    with suppress(BoomError), restore(Snapshot("shop")):
        app.app_context().push()
        raise error
    assert seen == [error, error]


# --- Teardown -------------------------------------------------------------------------------


def test_the_other_teardowns_run_when_one_raises(web: Web) -> None:
    """The app's teardown functions run though the request's raised."""
    app, seen = web.app(), []
    snapshot = take(app)
    app.teardown_request(fail)
    app.teardown_appcontext(seen.append)
    with suppress(TeardownError), restore(snapshot):
        pass
    assert (len(seen), active()) == (1, [])


def test_a_success_whose_teardown_raises_is_a_teardown_error(web: Web) -> None:
    """It names every error, and is caused by the first."""
    app = web.app()
    snapshot = take(app)
    app.teardown_request(fail)
    app.teardown_appcontext(fail)
    with pytest.raises(TeardownError) as caught, restore(snapshot):
        pass
    assert [type(error) for error in caught.value.errors] == [BoomError, BoomError]
    assert caught.value.__cause__ is caught.value.errors[0]
    assert str(caught.value) == (
        "The job returned, then its teardown raised: BoomError: teardown; BoomError: teardown"
    )


def test_the_jobs_exception_wins_over_teardown_errors(web: Web) -> None:
    """The job's own exception comes out, unchanged but for a note for each teardown error."""
    app = web.app()
    snapshot = take(app)
    app.teardown_request(fail)
    app.teardown_appcontext(fail)
    error = KeyError("the job")
    with pytest.raises(KeyError) as caught, restore(snapshot):
        raise error
    assert caught.value is error
    if sys.version_info >= (3, 11):
        assert error.__notes__ == ["Afterwards its teardown raised BoomError: teardown"] * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt("now"), SystemExit(3)], ids=["interrupt", "exit"])
def test_an_interrupt_in_a_teardown_stays_one(web: Web, error: BaseException) -> None:
    """What must end the process does, after the contexts are gone."""
    app = web.app()

    def interrupt(exc: BaseException | None) -> None:
        raise error

    app.teardown_appcontext(interrupt)
    with pytest.raises(type(error)) as caught, restore(Snapshot("shop")):
        pass
    assert (caught.value is error, active()) == (True, [])


@pytest.mark.parametrize("error", [None, BoomError("job"), KeyboardInterrupt("now")], ids=repr)
def test_every_teardown_gets_the_jobs_exception(web: Web, error: BaseException | None) -> None:
    """R13: request and app teardown see how the job ended, once each."""
    app, seen = web.app(), []
    snapshot = take(app)
    app.teardown_request(seen.append)
    app.teardown_appcontext(seen.append)
    with suppress(BoomError, KeyboardInterrupt), restore(snapshot):
        if error is not None:
            raise error
    assert seen == [error, error]


def test_a_success_inside_of_an_except_block_is_a_success(web: Web) -> None:
    """R13: teardown functions never see an exception that is not the job's."""
    app, seen = web.app(), []
    app.teardown_appcontext(seen.append)
    try:
        raise BoomError
    except BoomError:
        with restore(Snapshot("shop")):
            pass
    assert seen == [None]


# --- Session --------------------------------------------------------------------------------


def record_session(web: Web, app: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to the session store of *app* from now on."""
    done: list[str] = []
    interface = type(app.session_interface)
    for name in ("open_session", "save_session"):
        monkeypatch.setattr(interface, name, lambda *args, name=name: done.append(name))
    return done


def test_the_session_store_is_never_touched(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job reads its session from the snapshot: nothing is opened, nothing is saved."""
    app = web.app()
    with app.test_request_context("/"):
        web.module.session["user"] = 7
        snapshot = capture(Capture(session=("user",)))
    done = record_session(web, app, monkeypatch)
    with restore(snapshot):
        assert dict(web.module.session) == {"user": 7}
        web.module.session["user"] = 8
    assert done == []


def test_a_write_to_the_session_is_reported(web: Web) -> None:
    """A write has no effect, and the job hears of it."""
    app = web.app()
    snapshot = take(app, session=("user",))
    with restore(snapshot) as stack:
        web.module.session["user"] = 8
    assert stack.in_vain == ["it changed the session; a job's session is never saved"]


def test_reading_the_session_is_not_reported(web: Web) -> None:
    """A job that only reads has done nothing in vain."""
    app = web.app()
    with restore(take(app, session=("user",))) as stack:
        web.module.session.get("user")
    assert stack.in_vain == []


def test_capture_does_not_mark_the_session_as_accessed(web: Web) -> None:
    """R24: a view that enqueues answers without ``Vary: Cookie``, also when session keys travel."""
    app = web.app()

    def enqueues() -> str:
        capture(Capture(session=("user",)))
        return "ok"

    app.add_url_rule("/enqueues", "enqueues", enqueues)
    app.add_url_rule("/reads", "reads", lambda: str(web.module.session.get("user")))
    client = app.test_client()
    assert "Cookie" not in client.get("/enqueues").headers.get("Vary", "")
    assert "Cookie" in client.get("/reads").headers.get("Vary", "")


# --- Nothing shines through -----------------------------------------------------------------


@pytest.mark.parametrize("outer_host", ["native", "flask"])
@pytest.mark.parametrize("kind", ["app_context", "test_request_context"])
def test_a_job_sees_nothing_of_what_is_active_around_it(web: Web, outer_host: str, kind: str) -> None:
    """R26, R40: an outer app or request context, of any host, is hidden from a job, and is back after it."""
    outer_web = WEBS[outer_host]
    web.app()
    outer = outer_web.app("outer")

    def look() -> tuple[Any, ...]:
        seen = (web.module.current_app.name, bool(web.module.request), "x" in web.g, len(active()))
        web.g.x = "job"
        return seen

    with getattr(outer, kind)():
        outer_web.g.x = "outer"
        before = active()
        assert run_in_context(Snapshot("shop"), look) == ("shop", False, False, 1)
        assert (active(), outer_web.g.x) == (before, "outer")


def test_context_variables_of_others_reach_the_job() -> None:
    """What Sentry, OpenTelemetry or structlog keep in context variables goes on working."""
    ctxjobs.CtxJobs(WEB_APP)
    trace = contextvars.ContextVar("trace", default="none")
    trace.set("t1")
    assert run_in_context(Snapshot(WEB_APP.name), trace.get) == "t1"


def test_context_variables_that_the_job_sets_stay_inside() -> None:
    """What one job sets is not there for the next."""
    ctxjobs.CtxJobs(WEB_APP)
    trace = contextvars.ContextVar("trace", default="none")
    run_in_context(Snapshot(WEB_APP.name), trace.set, "t1")
    assert trace.get() == "none"


WEB_APP = ctxjobs.App("shop")
WEB_APP.config["SECRET_KEY"] = "k"


def test_a_context_that_is_pushed_elsewhere_is_untouched(web: Web) -> None:
    """What was active before a ``restore`` without a clean context is active after it."""
    app = web.app()
    with ExitStack() as outer:
        outer.enter_context(app.app_context())
        before = active()
        with restore(Snapshot("shop")):
            assert active() != before
        assert active() == before
