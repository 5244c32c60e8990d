"""What the user sees when a context is not popped, or popped wrongly: who pushed it (R15), in debug mode."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import subprocess
import sys
import threading
import warnings
import weakref
from inspect import currentframe
from pathlib import Path
from typing import Any

import pytest

import ctxjobs
from ctxjobs.errors import ContextPopError, TeardownError
from ctxjobs.native.ctx import AppContext, RequestContext

ROOT = Path(ctxjobs.__file__).parents[1]
LEAKED = "A context of app 'shop' was pushed here and never popped"


def place(lines_above: int = 0) -> str:
    """File and line of the caller, or of a line above it."""
    frame = currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return f"{__file__}:{frame.f_back.f_lineno - lines_above}"


@pytest.fixture(params=["app_context", "test_request_context"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the two contexts."""
    return request.param


def test_pushed_at(native: Any, kind: str) -> None:
    """In debug mode a context tells where it was pushed, as long as it is."""
    ctx = getattr(native.app(DEBUG=True), kind)()
    seen = [ctx.pushed_at]
    ctx.push()
    pushed = place(1)
    seen.append(ctx.pushed_at)
    ctx.pop()
    assert [*seen, ctx.pushed_at] == [None, pushed, None]


def test_pushed_at_is_the_innermost_push(native: Any, kind: str) -> None:
    """R11: of a context that is pushed twice, the place is the one that the next pop ends."""
    ctx = getattr(native.app(DEBUG=True), kind)()
    with ctx:
        outer = place(1)
        with ctx:
            assert ctx.pushed_at == place(1)
        assert ctx.pushed_at == outer


@pytest.mark.parametrize("enter", ["with", "stack", "client"])
def test_pushed_at_is_in_the_code_of_the_user(native: Any, enter: str) -> None:
    """The place is outside of the context system and of contextlib, however the context is pushed."""
    app = native.app(DEBUG=True)
    app.add_url_rule("/", "a", lambda: native.globals.app_ctx.pushed_at)
    with contextlib.ExitStack() as stack:
        if enter == "with":
            with app.app_context() as ctx:
                assert ctx.pushed_at == place(1)
        elif enter == "stack":
            assert stack.enter_context(app.app_context()).pushed_at == place()
        else:
            assert "werkzeug" in app.test_client().get("/").text


def test_nothing_is_noted_outside_of_debug(native: Any, kind: str, monkeypatch: Any) -> None:
    """Outside of debug mode nothing is noted: a context knows no place, and is not watched."""
    for watched in (AppContext, RequestContext):
        monkeypatch.setattr(watched, "note_push", pytest.fail)
        monkeypatch.setattr(watched, "note_pop", pytest.fail)
    with getattr(native.app(), kind)() as ctx:
        assert ctx.pushed_at is None
        assert "pushed at" not in repr(ctx)


@pytest.mark.parametrize("debug", [(True, False), (False, True)])
def test_debug_mode_may_change_while_pushed(native: Any, kind: str, debug: tuple[bool, bool]) -> None:
    """A context that outlives a change of the mode is popped as any other, and not reported."""
    app = native.app(DEBUG=debug[0])
    with getattr(app, kind)() as ctx:
        app.debug = debug[1]
        with ctx:
            pass
    assert ctx.pushed_at is None


def test_wrong_pop_names_both_and_their_places(native: Any, kind: str) -> None:
    """R15: in debug mode the error of a wrong pop names both contexts and where each was pushed."""
    outer, inner = (getattr(native.app(DEBUG=True), kind)() for _ in range(2))
    with outer:
        first = place(1)
        with inner:
            second = place(1)
            with pytest.raises(ContextPopError) as caught:
                outer.pop()
    text = str(caught.value)
    assert f"{id(outer):#x}" in text.partition(f"pushed at {first}>")[0]
    assert f"{id(inner):#x}" in text.partition(f"pushed at {first}>")[2].partition(f"pushed at {second}>")[0]


def test_pop_of_what_a_request_brought(native: Any) -> None:
    """R15, R17: the app context of a request is popped with the request alone, and the error says so."""
    app = native.app()
    with app.test_request_context():
        ctx = native.active()[0]
        with pytest.raises(
            ContextPopError, match=r"^<AppContext .* popped: a request context brought it; pop that\."
        ):
            ctx.pop()
        with ctx:  # pushed once more, it is popped as any other
            pass
        assert native.active()[0] is ctx
    with ctx:
        assert native.active() == (ctx, None)


def test_what_a_view_leaves_is_named_with_its_place(native: Any) -> None:
    """R15: the error at the end of the request says where the view pushed what it left."""
    app, other = native.app(), native.App("other")
    other.debug = True

    @app.route("/")
    def view() -> str:
        view.place, view.ctx = place(-1), other.app_context()
        view.ctx.push()
        return ""

    with pytest.raises(TeardownError) as caught:
        app.test_client().get("/")
    assert f"pushed at {view.place}>" in str(caught.value)
    view.ctx._pushes[0].end()  # type: ignore[attr-defined]  # else it is reported once more, when it is collected


def leak(ctx: Any) -> int:
    """Push *ctx* in a thread that ends; return the line that does it."""
    lines = []

    def work() -> None:
        ctx.push()
        lines.append(int(place(1).rpartition(":")[2]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return lines[0]


def test_leak_is_reported_when_it_is_collected(native: Any, kind: str) -> None:
    """A context whose thread ended before it was popped is reported once, with the line that pushed it."""
    line = leak(getattr(native.app(DEBUG=True), kind)())
    with pytest.warns(RuntimeWarning, match=LEAKED) as caught:
        gc.collect()
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, line)}


def test_leaks_of_one_line_are_one_warning(native: Any) -> None:
    """A request context and the app context that it brought, leaked a second time too, are one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            leak(native.app(DEBUG=True).test_request_context())
            gc.collect()
    assert [str(warning.message).startswith(LEAKED) for warning in caught] == [True]


def test_leak_of_a_copy_is_reported(native: Any) -> None:
    """A push inside a copy of the context variables that is dropped is reported as well."""
    contextvars.copy_context().run(native.app(DEBUG=True).app_context().push)
    with pytest.warns(RuntimeWarning, match=LEAKED):
        gc.collect()


@pytest.mark.parametrize("debug", [True, False])
def test_what_is_popped_is_not_reported(native: Any, kind: str, debug: bool) -> None:
    """A context that was popped, or outside of debug mode, is collected in silence, by counting."""
    app = native.app(DEBUG=debug)
    app.add_url_rule("/", "a")
    with getattr(app, kind)() as ctx:
        pass
    ref = weakref.ref(ctx)
    gc.disable()
    try:
        del ctx
        assert ref() is None
    finally:
        gc.enable()
    if not debug:
        leak(app.app_context())
        gc.collect()


@pytest.mark.parametrize(("debug", "reports"), [("True", 1), ("False", 0)])
def test_leak_is_reported_at_exit(tmp_path: Path, debug: str, reports: int) -> None:
    """In debug mode a context that is still pushed at exit is reported, with the line."""
    script = tmp_path / "leaky.py"
    script.write_text(
        "from ctxjobs.native.app import App\n"
        "app = App('shop')\n"
        f"app.debug = {debug}\n"
        "app.test_request_context().push()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.count(f"{script}:4: RuntimeWarning: {LEAKED}") == reports
    assert bool(done.stderr) == bool(reports)
