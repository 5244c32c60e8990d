"""Flask apps in jobs: factories, several apps, a native one beside them, blueprints, classes for ``g``."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from support.capturing import Recorder, ask, bind

import ctxjobs
from ctxjobs import Capture, CtxJobs, Snapshot, run_in_context
from ctxjobs.errors import TeardownError, UnboundJobError

jobs = CtxJobs()


def create_app(view: Recorder, **config: Any) -> flask.Flask:
    app = flask.Flask("factory")
    app.config.update(SECRET_KEY="k" * 32, CTXJOBS_APP_ID="factory", **config)
    app.add_url_rule("/<int:number>", "page", view)
    jobs.init_app(app)
    return app


def test_a_factory(view: Recorder) -> None:
    """A job that the web process's app enqueued runs in the app that the worker's factory has made."""
    ask(create_app(view), "/7")
    worker_app = create_app(view)
    assert view.job() == {**view.seen, "app": worker_app}


def test_the_app_of_a_factory_that_was_replaced(view: Recorder) -> None:
    """An app whose place under its id another one has taken cannot enqueue any longer, and is told so."""
    first = create_app(view)
    create_app(view)
    with first.test_request_context("/7"), pytest.raises(UnboundJobError):
        ctxjobs.capture()


def test_several_apps_in_one_worker() -> None:
    """Each job runs in its own app, with that app's request, ``g`` and session, in any order."""
    views = [Recorder(before=lambda n=n: setattr(flask.g, "tenant", n)) for n in range(3)]
    for number, view in enumerate(views):
        app = bind(flask.Flask(f"app{number}"), f"app{number}")
        app.add_url_rule("/<int:number>", "page", view)
        ask(app, f"/{number}")
    for number in (2, 0, 1, 2, 1, 0):
        assert views[number].job() == views[number].seen
        assert views[number].seen["g"]["tenant"] == number


def test_a_flask_app_beside_a_native_one(view: Recorder) -> None:
    """A job of the one sees nothing of the other, also while the other's job or request is around it."""
    flask_app, native_app = bind(flask.Flask("flask")), bind(ctxjobs.App("native"), "native")
    flask_app.add_url_rule("/<int:number>", "page", view)
    ask(flask_app, "/7")

    def active() -> tuple[Any, ...]:
        proxies = flask.current_app, flask.request, ctxjobs.current_app, ctxjobs.request
        return tuple(bool(proxy) for proxy in proxies)

    def native_job() -> tuple[Any, ...]:
        return active(), run_in_context(view.snapshot, active), active()

    native, in_flask = (False, False, True, False), (True, True, False, False)
    assert run_in_context(Snapshot("native"), native_job) == (native, in_flask, native)
    with native_app.test_request_context("/"):
        assert run_in_context(view.snapshot, active) == in_flask
        assert active() == (False, False, True, True)


def test_two_apps_that_are_active_at_once_are_refused() -> None:
    """A native context inside of a Flask request: nothing says whose job it is, and capture asks."""
    flask_app, native_app = bind(flask.Flask("flask")), bind(ctxjobs.App("native"), "native")
    with flask_app.test_request_context("/"), native_app.app_context(), pytest.raises(UnboundJobError):
        ctxjobs.capture()


def test_a_job_sees_flask_s_own_objects(view: Recorder) -> None:
    """What a job finds behind Flask's names are the app, and objects of the app's own classes."""

    class OwnRequest(flask.Request):
        pass

    app = create_app(view)
    app.request_class = OwnRequest
    names = ("current_app", "request", "session", "g")
    view.look = lambda: [type(getattr(flask, name)._get_current_object()) for name in names]
    ask(app, "/7")
    assert view.seen[:2] == [flask.Flask, OwnRequest]
    assert view.job() == view.seen


def test_before_request_functions_do_not_run(view: Recorder) -> None:
    """A job runs neither before_request nor after_request functions (R20)."""
    app = create_app(view)
    calls: list[str] = []
    app.before_request(lambda: calls.append("before"))
    app.after_request(lambda response: calls.append("after") or response)  # type: ignore[func-returns-value]  # a list's append
    ask(app, "/7")
    view.job()
    assert calls == ["before", "after"]


def test_blueprints_tear_down_as_in_a_request(view: Recorder) -> None:
    """A blueprint's teardown functions run before the app's, innermost first, as for the view (R21)."""
    app = bind(flask.Flask("shop"))
    calls: list[str] = []
    outer, inner = flask.Blueprint("outer", "shop"), flask.Blueprint("inner", "shop")
    other = flask.Blueprint("other", "shop")
    for owner, name in ((app, "app"), (outer, "outer"), (inner, "inner"), (other, "other")):
        for number in (1, 2):
            owner.teardown_request(lambda exc, name=f"{name} {number}": calls.append(name))
    app.teardown_appcontext(lambda exc: calls.append("app context"))
    inner.add_url_rule("/<int:number>", "page", view)
    outer.register_blueprint(inner)
    app.register_blueprint(outer, url_prefix="/shop")
    app.register_blueprint(other, url_prefix="/other")
    ask(app, "/shop/7")
    in_the_view = calls.copy()
    calls.clear()
    assert view.job() == view.seen
    assert view.seen["route"][-1] == ["outer.inner", "outer"]
    assert calls == in_the_view
    assert calls[0] == "inner 2"


def test_a_job_inside_of_a_flask_command(view: Recorder) -> None:
    """In a worker that a ``flask`` command started, a job has its own ``g`` and teardown (R17, R40)."""
    app = create_app(view)
    view.before = lambda: setattr(flask.g, "tenant", "acme")
    ended: list[Any] = []
    app.teardown_appcontext(lambda exc: ended.append(flask.g.get("tenant")))
    ask(app, "/7")
    ended.clear()
    app.cli.command("work")(lambda: [view.job(), view.job(), flask.g.get("tenant")])
    found = app.test_cli_runner().invoke(args=["work"], standalone_mode=False).return_value
    assert found == [view.seen, view.seen, None]
    assert ended == ["acme", "acme", None]


class SlotsG:
    """No ``__dict__``, and none of Flask's methods (R29)."""

    __slots__ = ("_private", "tenant", "unset")


class MixedG(SlotsG):
    """A ``__dict__`` beside the slots of its base."""


class PlainG:
    """None of Flask's methods."""


class OneSlotG:
    """A string is one slot."""

    __slots__ = "tenant"


@pytest.mark.parametrize("cls", [SlotsG, MixedG, PlainG, OneSlotG])
def test_classes_for_g(cls: type[Any]) -> None:
    """``g`` of any class travels: what is set on it, whether it has a ``__dict__``, slots or both (R29)."""
    app = bind(flask.Flask("shop"))
    app.app_ctx_globals_class = cls
    with app.app_context():
        flask.g.tenant = "acme"
        if issubclass(cls, SlotsG):
            flask.g._private = "stays"
        snapshot = ctxjobs.capture()
    assert snapshot.g == {"tenant": "acme"}
    seen = run_in_context(snapshot, lambda: (isinstance(flask.g._get_current_object(), cls), flask.g.tenant))
    assert seen == (True, "acme")


def test_teardown_that_needs_before_request(view: Recorder) -> None:
    """A teardown function that relies on before_request fails the job, with its own error in it (R14)."""
    app = create_app(view)
    app.before_request(lambda: setattr(flask.g, "_start", 1))
    app.teardown_request(lambda exc: flask.g._start)
    ask(app, "/7")
    with pytest.raises(TeardownError, match="_start") as caught:
        view.job()
    [error] = caught.value.errors
    assert isinstance(error, AttributeError)


def test_a_capture_in_after_request(view: Recorder) -> None:
    """A job that an after_request function enqueues has the request's contexts."""
    app = create_app(Recorder())
    app.after_request(lambda response: view() and response)
    ask(app, "/7")
    assert view.job() == view.seen


def test_a_policy_of_the_app(view: Recorder) -> None:
    """Without a policy of its own, a capture takes what the app's CTXJOBS_CAPTURE says."""
    app = create_app(view, CTXJOBS_CAPTURE=Capture(g=("tenant",), request=False))
    with app.test_request_context("/7"):
        flask.g.tenant, flask.g.lang = "acme", "de"
        snapshot = ctxjobs.capture()
    assert (snapshot.g, snapshot.request) == ({"tenant": "acme"}, None)
