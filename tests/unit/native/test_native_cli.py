"""Commands in the application context (R40), beside Flask's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import click
import flask.cli
import pytest
from click.testing import CliRunner

import ctxjobs
from ctxjobs.native import cli as native_cli
from ctxjobs.propagation.capturing import _trigger

#: Before click 8.2, Flask's teardown functions never learn of the command's exception.
CLICK_TELLS_ERRORS = hasattr(click.Context, "_close_with_exception_info")


@pytest.fixture
def cli(web: Any) -> Any:
    """The module of the command line that belongs to *web*."""
    return {"native": native_cli, "flask": flask.cli}[web.name]


@pytest.fixture
def app(web: Any) -> Any:
    """An app that notes what its teardown functions get, in ``app.seen``."""
    app = web.app()
    app.seen = []
    app.teardown_appcontext(app.seen.append)
    return app


def invoke(app: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of a command line that must not fail."""
    result = app.test_cli_runner().invoke(*args, **kwargs)
    assert result.exception is None, result.exception
    return result


def test_command_runs_in_an_app_context(web: Any, app: Any) -> None:
    """R40: a command of app.cli runs in an application context, not in a request context."""

    @app.cli.command("look")
    def look() -> None:
        click.echo(f"{web.globals.current_app.name} {web.helpers.has_request_context()}")

    assert invoke(app, args=["look"]).output == "shop False\n"
    assert app.seen == [None]
    assert web.active() == (None, None)


def test_group_has_the_name_of_the_app(app: Any) -> None:
    """R40: app.cli is a click group named after the app; it stays the same one."""
    assert (app.cli.name, isinstance(app.cli, click.Group), app.cli is app.cli) == ("shop", True, True)


def test_command_without_the_context(web: Any, app: Any) -> None:
    """R40: with_appcontext=False leaves the context out, and so the teardown."""

    @app.cli.command("look", with_appcontext=False)
    def look() -> None:
        click.echo(web.helpers.has_app_context())

    assert invoke(app, args=["look"]).output == "False\n"
    assert app.seen == []


def test_subgroup_commands_run_in_the_context(web: Any, app: Any, cli: Any) -> None:
    """R40: a group below an AppGroup is one, too; the callback of the group itself is left alone."""

    @app.cli.group("sub")
    def sub() -> None:
        click.echo(web.helpers.has_app_context())

    @sub.command("look")
    def look() -> None:
        click.echo(web.helpers.has_app_context())

    assert isinstance(sub, cli.AppGroup)
    assert invoke(app, args=["sub", "look"]).output == "False\nTrue\n"


def test_context_spans_the_subcommands(web: Any, app: Any, cli: Any) -> None:
    """R40: a group's callback with the context shares it with the subcommand: one g, one teardown."""

    @click.group()
    @cli.with_appcontext
    def top() -> None:
        web.globals.g.x = 1

    @top.command("look")
    @cli.with_appcontext
    def look() -> None:
        click.echo(web.globals.g.x)

    assert invoke(app, top, ["look"]).output == "1\n"
    assert app.seen == [None]


def test_active_context_is_reused(web: Any, app: Any) -> None:
    """R40: inside of an application context, the command runs in that one and does not tear it down."""

    @app.cli.command("look")
    def look() -> None:
        click.echo(web.globals.g.x)

    with app.app_context():
        web.globals.g.x = 1
        assert invoke(app, args=["look"]).output == "1\n"
        assert app.seen == []


def test_command_that_invokes_another(web: Any, app: Any) -> None:
    """R40: a command that a command invokes has the same context."""

    @app.cli.command("inner")
    def inner() -> None:
        click.echo(web.globals.g.x)

    @app.cli.command("outer")
    @click.pass_context
    def outer(ctx: click.Context) -> None:
        web.globals.g.x = 2
        ctx.invoke(inner)

    assert invoke(app, args=["outer"]).output == "2\n"
    assert app.seen == [None]


@pytest.mark.parametrize("kind", [LookupError, KeyboardInterrupt, SystemExit])
def test_teardown_gets_the_exception(web: Any, app: Any, kind: type[BaseException]) -> None:
    """R40: teardown functions get what the command raised (on Flask: with click 8.2 and later)."""
    if web.name == "flask" and not CLICK_TELLS_ERRORS:
        pytest.skip("click 8.1 keeps the exception from Flask")

    @app.cli.command("fail")
    def fail() -> None:
        raise kind(3)

    app.test_cli_runner().invoke(args=["fail"])
    assert [type(error) for error in app.seen] == [kind]


def test_teardown_gets_the_exception_of_a_subcommand(native: Any) -> None:
    """R40: the context of a group's callback ends with the exception of the subcommand."""
    app, seen = native.app(), []
    app.teardown_appcontext(seen.append)

    @click.group()
    @native_cli.with_appcontext
    def top() -> None: ...

    @top.command("fail")
    def fail() -> None:
        raise LookupError

    app.test_cli_runner().invoke(top, ["fail"])
    assert [type(error) for error in seen] == [LookupError]


@pytest.mark.parametrize("code", [0, 3])
def test_exit_is_no_error(app: Any, code: int) -> None:
    """R40: click's ctx.exit() ends the context without an exception, even while one is handled."""

    @app.cli.command("leave")
    @click.pass_context
    def leave(ctx: click.Context) -> None:
        try:
            raise LookupError
        except LookupError:
            ctx.exit(code)

    assert app.test_cli_runner().invoke(args=["leave"]).exit_code == code
    assert app.seen == [None]


def test_error_handled_outside_is_not_guessed(app: Any) -> None:
    """R40, improvement 4: an error that is being handled around the command line is not the command's."""

    @app.cli.command("look")
    def look() -> None: ...

    try:
        raise LookupError
    except LookupError:
        invoke(app, args=["look"])
    assert app.seen == [None]


def test_parameters_reach_the_command(app: Any) -> None:
    """R40: arguments and options pass through the context's wrapper; name and help are the function's."""

    @app.cli.command()
    @click.argument("name")
    @click.option("--times", type=int)
    def greet(name: str, times: int) -> None:
        """Say hello."""
        click.echo(f"{name} " * times)

    assert invoke(app, args="greet Ann --times 2").output == "Ann Ann \n"
    assert "Say hello." in invoke(app, args=["--help"]).output


def test_command_without_parentheses(native: Any) -> None:
    """R40: @app.cli.command takes the function itself, as click's own groups do."""
    app = native.app()

    @app.cli.command
    def look() -> None:
        click.echo(native.helpers.has_app_context())

    assert invoke(app, args=["look"]).output == "True\n"


def test_async_command(native: Any) -> None:
    """R33, R40: an async def command runs to its end, in the context."""
    app = native.app()

    @app.cli.command("look")
    async def look() -> None:
        click.echo(native.globals.current_app.name)

    assert invoke(app, args=["look"]).output == "shop\n"


def test_script_info_makes_the_app_once(web: Any, app: Any, cli: Any) -> None:
    """R40: ScriptInfo(create_app=...) makes the app when it is first needed, and then keeps it."""
    made = []
    info = cli.ScriptInfo(create_app=lambda: made.append(app) or app)
    assert made == []
    assert (info.load_app() is app, info.load_app() is app, len(made), info.data) == (True, True, 1, {})


def test_script_info_is_the_obj_of_the_command_line(app: Any, cli: Any) -> None:
    """R40: commands reach the ScriptInfo, and the data that others left there, through click."""

    @app.cli.command("look")
    @click.pass_obj
    def look(info: Any) -> None:
        click.echo(info.data["x"])

    info = cli.ScriptInfo(create_app=lambda: app)
    info.data["x"] = 1
    assert invoke(app, args=["look"], obj=info).output == "1\n"


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (None, "no create_app was given"),
        (native_cli.ScriptInfo(create_app=lambda: None), "create_app returned None"),  # type: ignore[arg-type, return-value]  # the mistake
    ],
)
def test_command_line_without_an_app(info: Any, reason: str) -> None:
    """R40: a command line that knows no app ends with a message that says how to name one."""

    @click.command()
    @native_cli.with_appcontext
    def look() -> None: ...

    result = CliRunner().invoke(look, obj=info)
    assert result.exit_code == 2
    assert f"There is no app to run this command in: {reason}." in result.output.replace("\n", " ")
    assert "ScriptInfo(create_app=...)" in result.output


def test_own_group_needs_no_script_info(native: Any) -> None:
    """R40: app.cli called by itself is the command line of its app."""
    app = native.app()

    @app.cli.command("look")
    def look() -> None:
        click.echo(native.globals.current_app._get_current_object() is app)

    assert CliRunner().invoke(app.cli, ["look"]).output == "True\n"


def test_own_group_below_a_plain_group(native: Any) -> None:
    """R40: below a command line that knows no app, app.cli still runs in its own."""
    app = native.app()

    @app.cli.command("look")
    def look() -> None:
        click.echo(native.globals.current_app.name)

    top = click.Group("top", commands={"app": app.cli})
    assert CliRunner().invoke(top, ["app", "look"], obj="of the user").output == "shop\n"


def test_own_group_below_another_one(web: Any) -> None:
    """R40: below another command line, app.cli runs in the app of that one's ScriptInfo."""
    app, other = web.app(), web.app(SERVER_NAME="other")

    @app.cli.command("look")
    def look() -> None:
        click.echo(web.globals.current_app.config["SERVER_NAME"])

    top = click.Group("top", commands={"app": app.cli})
    assert invoke(other, top, ["app", "look"]).output == "other\n"


def test_runs_do_not_share_data(native: Any) -> None:
    """R40: each run of app.cli has a ScriptInfo of its own."""
    app = native.app()

    @app.cli.command("look")
    @click.pass_obj
    def look(info: Any) -> None:
        info.data["x"] = info.data.get("x", 0) + 1
        click.echo(info.data["x"])

    assert [CliRunner().invoke(app.cli, ["look"]).output for _ in range(2)] == ["1\n", "1\n"]


def test_jobs_of_a_command_are_triggered_by_cli(native: Any) -> None:
    """R40: what a command enqueues has the trigger "cli"."""
    app = native.app()

    @app.cli.command("look")
    def look() -> None:
        click.echo(_trigger(None))

    assert invoke(app, args=["look"]).output == "cli\n"


def test_public_names(native: Any) -> None:
    """The public names are the ones that app.cli and app.test_cli_runner() use."""
    app = native.app()
    assert isinstance(app.cli, ctxjobs.AppGroup)
    assert isinstance(app.test_cli_runner(), ctxjobs.AppCliRunner)
    assert (ctxjobs.ScriptInfo, ctxjobs.with_appcontext) == (
        native_cli.ScriptInfo,
        native_cli.with_appcontext,
    )


def test_click_is_not_loaded_before_it_is_needed() -> None:
    """A process that imports ctxjobs and makes an app loads click only for its commands."""
    code = """if True:
        import sys, ctxjobs
        app = ctxjobs.App("shop")
        with app.app_context():
            assert "click" not in sys.modules
        app.cli
        assert "click" in sys.modules
        assert "click.testing" not in sys.modules
    """
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
