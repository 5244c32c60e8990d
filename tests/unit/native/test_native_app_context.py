"""The application context (R8 to R15, R27) and the improvements on Flask."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from ctxjobs.errors import ContextPopError, TeardownError


class BoomError(Exception):
    """What the tests raise."""


def record_teardown(app: Any) -> list[Any]:
    """The exceptions that the app's teardown function is going to see."""
    seen: list[Any] = []
    app.teardown_appcontext(seen.append)
    return seen


def fail(error: BaseException) -> Any:
    """A function of any arguments that raises."""

    def failing(*args: Any, **kwargs: Any) -> None:
        raise error

    return failing


def test_nothing_is_active_until_push(web: Any) -> None:
    """R8: making a context activates nothing."""
    web.app().app_context()
    assert web.active() == (None, None)


def test_has_its_own_g_and_adapter(web: Any) -> None:
    """R8: a context has a g of the app's class, and a URL adapter only with SERVER_NAME."""
    app = web.app()
    app.app_ctx_globals_class = dict
    assert (app.app_context().g, app.app_context().url_adapter) == ({}, None)
    app.config["SERVER_NAME"] = "example.com"
    assert app.app_context().url_adapter.server_name == "example.com"


def test_contexts_stack(web: Any) -> None:
    """R9: the previous context comes back at pop, with its own g, also between two apps."""
    g, one, two = web.globals.g, web.app(), web.App("other")
    with one.app_context():
        g.x = "outer"
        with one.app_context():
            assert "x" not in g
            with two.app_context():
                assert web.globals.current_app.name == "other"
            g.x = "inner"
        assert g.x == "outer"


def test_two_apps_interleaved(native: Any) -> None:
    """R9: with two apps' contexts taking turns, each sees its own app and g at every step."""
    one, two, seen = native.app(), native.App("other"), []
    contexts = [one.app_context(), two.test_request_context(), one.test_request_context(), two.app_context()]
    for number, ctx in enumerate(contexts):
        ctx.push()
        native.globals.g.number = number
    for ctx in reversed(contexts):
        seen.append((native.globals.g.number, native.globals.current_app.name))
        ctx.pop()
    assert seen == [(3, "other"), (2, "shop"), (1, "other"), (0, "shop")]


def test_order_of_push_and_pop(web: Any) -> None:
    """R10: pushed; teardown in reverse and its signal while active; popped outside. The sender is the app."""
    app, log = web.app(), []

    def note(name: str) -> Any:
        return lambda sender, **values: log.append(
            (name, sender is app, values, bool(web.globals.current_app))
        )

    receivers = {
        name: note(name) for name in ("appcontext_pushed", "appcontext_tearing_down", "appcontext_popped")
    }
    app.teardown_appcontext(lambda exc: log.append("first"))
    app.teardown_appcontext(lambda exc: log.append("second"))
    for name, receiver in receivers.items():
        getattr(web.signals, name).connect(receiver, app)
    with app.app_context():
        log.append("body")
    assert log == [
        ("appcontext_pushed", True, {}, True),
        "body",
        "second",
        "first",
        ("appcontext_tearing_down", True, {"exc": None}, True),
        ("appcontext_popped", True, {}, False),
    ]


@pytest.mark.parametrize("name", ["appcontext_tearing_down", "request_tearing_down"])
def test_signals_tell_the_exception(web: Any, name: str) -> None:
    """R10, R21: the tearing down signals have the exception that the teardown functions get."""
    app, seen, error = web.app(), [], BoomError()

    def receiver(sender: Any, exc: Any) -> None:
        seen.append(exc)

    getattr(web.signals, name).connect(receiver, app)
    with pytest.raises(BoomError), app.test_request_context():
        raise error
    assert seen == [error]


def test_pushed_twice_tears_down_once(web: Any) -> None:
    """R11: of n pushes of one context, only the n-th pop tears down."""
    app = web.app()
    seen, ctx = record_teardown(app), app.app_context()
    with ctx:
        with ctx:
            pass
        assert seen == []
        assert web.active()[0] is ctx
    assert seen == [None]


def test_signals_of_each_push(web: Any) -> None:
    """R11: pushed and popped are sent for each push, tearing_down once."""
    app, log = web.app(), []
    ctx = app.app_context()

    def note(sender: Any, **values: Any) -> None:
        log.append(len(values))

    for name in ("appcontext_pushed", "appcontext_tearing_down", "appcontext_popped"):
        getattr(web.signals, name).connect(note, app)
    with ctx, ctx:
        pass
    assert log == [0, 0, 0, 1, 0]


def test_pushed_again_keeps_its_g(web: Any) -> None:
    """R12: a popped context may be pushed again, with its g, and is torn down again."""
    app = web.app()
    seen, ctx = record_teardown(app), app.app_context()
    with ctx:
        web.globals.g.x = 1
    with ctx:
        assert web.globals.g.x == 1
    assert seen == [None, None]


def test_exception_reaches_teardown_and_goes_on(web: Any) -> None:
    """R13: the body's exception is given to teardown and propagates, whatever teardown returns."""
    app, error = web.app(), BoomError()
    seen = record_teardown(app)
    app.teardown_appcontext(lambda exc: True)
    with pytest.raises(BoomError) as caught, app.app_context():
        raise error
    assert caught.value is error
    assert seen == [error]


def test_pop_without_argument_takes_the_handled_exception(web: Any) -> None:
    """R13: pop() inside an except block gives that block's exception to teardown."""
    app, error = web.app(), BoomError()
    seen, ctx = record_teardown(app), app.app_context()
    ctx.push()
    try:
        raise error
    except BoomError:
        ctx.pop()
    assert seen == [error]


@pytest.mark.parametrize("kind", ["app_context", "test_request_context"])
def test_pop_never_guesses_over_an_argument(native: Any, kind: str) -> None:
    """R13, improvement 4: pop(None) inside an except block gives None, at each of several pushes."""
    app = native.app()
    seen, ctx, between = record_teardown(app), getattr(app, kind)(), native.App("other").app_context()
    for pushed in (ctx, between, ctx):
        pushed.push()
    try:
        raise BoomError
    except BoomError:
        for pushed in (ctx, between, ctx):
            pushed.pop(None)
    assert set(seen) == {None}


def test_all_teardown_functions_run(native: Any) -> None:
    """R14, improvement 1: all functions and signals run; their errors are raised together, in order."""
    app, log, errors = native.app(), [], [BoomError("a"), BoomError("b"), BoomError("c")]
    app.teardown_appcontext(fail(errors[1]))
    app.teardown_appcontext(lambda exc: log.append("ran"))
    app.teardown_appcontext(fail(errors[0]))
    tearing_down, popped = fail(errors[2]), lambda sender: log.append("popped")
    native.signals.appcontext_tearing_down.connect(tearing_down, app)
    native.signals.appcontext_popped.connect(popped, app)
    with pytest.raises(
        TeardownError,
        match=r"3 functions raised while <AppContext 0x\w+ of 'shop'>.*r\('a'\); BoomError\('b'\)",
    ) as caught:
        app.app_context().__enter__().pop()
    assert list(caught.value.errors) == errors
    assert log == ["ran", "popped"]


def test_teardown_error_keeps_the_body_error(native: Any) -> None:
    """R14: when body and teardown raise, the body's error is the context of the TeardownError."""
    app, error = native.app(), BoomError("body")
    app.teardown_appcontext(fail(BoomError("teardown")))
    with pytest.raises(TeardownError) as caught, app.app_context():
        raise error
    assert caught.value.__context__ is error or caught.value.errors[0].__context__ is error


def test_exit_from_a_teardown_function_stays_an_exit(native: Any) -> None:
    """R14: SystemExit from a teardown function stays one, after all others ran."""
    app = native.app()
    seen = record_teardown(app)
    app.teardown_appcontext(fail(SystemExit(3)))
    app.teardown_appcontext(fail(BoomError()))
    with pytest.raises(SystemExit) as caught, app.app_context():
        pass
    assert seen == [None]
    assert isinstance(caught.value.__cause__, TeardownError)


def test_teardown_error_pickles(native: Any) -> None:
    """R14: a TeardownError crosses a process border with its errors."""
    app = native.app()
    app.teardown_appcontext(fail(ValueError("v")))
    with pytest.raises(TeardownError) as caught, app.app_context():
        pass
    copied = pickle.loads(pickle.dumps(caught.value))
    assert str(copied) == str(caught.value)
    assert repr(copied.errors) == repr(caught.value.errors)


@pytest.mark.parametrize("kind", ["app_context", "test_request_context"])
def test_wrong_pop_is_refused_first(native: Any, kind: str) -> None:
    """R15, improvement 2: popping the outer context raises, names both, and changes nothing."""
    app = native.app()
    seen, outer, inner = record_teardown(app), getattr(app, kind)(), getattr(native.App("other"), kind)()
    with outer, inner:
        before = native.active()
        with pytest.raises(
            ContextPopError, match=r"'shop'> cannot be popped: <.*'other'> was pushed after it"
        ):
            outer.pop()
        assert native.active() == before
        assert seen == []
    assert seen == [None]


@pytest.mark.parametrize("kind", ["app_context", "test_request_context"])
@pytest.mark.parametrize("error_class", [AssertionError, RuntimeError])
def test_pop_of_what_is_not_pushed(native: Any, kind: str, error_class: Any) -> None:
    """R15, improvement 2: popping a context that was never pushed is a ContextPopError, both bases."""
    with pytest.raises(
        error_class, match=r"cannot be popped: it is not active: never pushed, or popped already"
    ):
        getattr(native.app(), kind)().pop()


def test_failing_push_leaves_nothing_active(native: Any) -> None:
    """R27, improvement 3: if a receiver of appcontext_pushed raises, the context is torn down and gone."""
    app, error = native.app(), BoomError()
    seen, receiver = record_teardown(app), fail(error)
    native.signals.appcontext_pushed.connect(receiver, app)
    for ctx in (app.app_context(), app.test_request_context()):
        with pytest.raises(BoomError):
            ctx.push()
        assert native.active() == (None, None)
    assert seen == [error, error]


def test_failing_push_comes_back_to_the_outer_context(native: Any) -> None:
    """R27, improvement 3: after a failed push on top of another context, that one is active; also if
    the failing receiver left a third one pushed.
    """
    app, other = native.app(), native.App("other")

    def receiver(sender: Any) -> None:
        other.app_context().push()
        raise BoomError

    with native.App("outer").app_context() as outer:
        native.signals.appcontext_pushed.connect(receiver, app)
        with pytest.raises(BoomError), app.app_context():
            pass
        assert native.active() == (outer, None)
