"""Commands of a native app: click's, run inside of its application context.

Imports :mod:`.globals`. The only file of this package that needs click, but for the test runner in
:mod:`.testing`; nothing imports it until an app is asked for its ``cli``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

import click

from .globals import _cv_app, get_app_context

if TYPE_CHECKING:
    from .app import App

F = TypeVar("F", bound=Callable[..., Any])

#: Whether a click context hands its exception to what it closes: 8.2 and later do, 8.1 does not.
_TELLS_ERRORS = hasattr(click.Context, "_close_with_exception_info")


class ScriptInfo:
    """Which app a command line is for; kept as the ``obj`` of its click context.

    Args:
        create_app: Returns the app; called once, when a command first needs it.

    Attributes:
        create_app: As given.
        data: Free for the commands' own use.
    """

    def __init__(self, *, create_app: Callable[[], App] | None = None) -> None:
        self.create_app = create_app
        self.data: dict[Any, Any] = {}
        self._app: App | None = None

    def load_app(self) -> App:
        """Return the app; the first call makes it.

        Raises:
            click.UsageError: Nothing says how to make it.
        """
        if self._app is None:
            self._app = None if self.create_app is None else self.create_app()
        if self._app is None:
            reason = "no create_app was given" if self.create_app is None else "create_app returned None"
            raise click.UsageError(
                f"There is no app to run this command in: {reason}. Run the command below app.cli, or "
                "start it with obj=ScriptInfo(create_app=...)."
            )
        return self._app


class _CommandContext:
    """An application context that lasts as long as a click context, and gets its exception."""

    def __init__(self, app: App) -> None:
        self._context = app.app_context()

    def __enter__(self) -> None:
        self._handled_outside = sys.exc_info()[1]
        self._context.push()

    def __exit__(self, kind: type | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._context.pop(exc if _TELLS_ERRORS else self._find_error())

    def _find_error(self) -> BaseException | None:
        error = sys.exc_info()[1]
        # Exit is how click 8.1 ends a command; later versions close the context before they raise it.
        return None if error is self._handled_outside or isinstance(error, click.exceptions.Exit) else error


def with_appcontext(function: F) -> F:
    """Run a command's *function* inside of the app's application context, but not of a request context.

    The context lasts as long as the command and its subcommands; teardown functions get what the
    command raised. If an application context is active already, the command runs in that one.

    Args:
        function: The callback; below the decorators of click. It may be ``async def``.

    Raises:
        click.UsageError: When it is called: the command line has no :class:`ScriptInfo` with an app.
    """

    @click.pass_context
    def in_context(ctx: click.Context, /, *args: Any, **kwargs: Any) -> Any:
        if _cv_app.get(None) is None:
            ctx.with_resource(_CommandContext(ctx.ensure_object(ScriptInfo).load_app()))
        return ctx.invoke(get_app_context().app.ensure_sync(function), *args, **kwargs)

    return cast("F", update_wrapper(in_context, function))


class AppGroup(click.Group):
    """A click group whose commands, also those of its subgroups, run inside of the application context."""

    @overload
    def command(self, function: Callable[..., Any], /) -> click.Command: ...
    @overload
    def command(self, *args: Any, **kwargs: Any) -> Callable[[Callable[..., Any]], click.Command]: ...
    def command(self, *args: Any, **kwargs: Any) -> Any:
        """Register the decorated function as a command of this group.

        Args:
            args: As for :meth:`click.Group.command`.
            kwargs: The same; and ``with_appcontext=False`` for a command that runs outside of the context.
        """
        wrap = with_appcontext if kwargs.pop("with_appcontext", True) else _leave
        if args and callable(args[0]):
            return super().command(wrap(args[0]))
        register = super().command(*args, **kwargs)
        return lambda function: register(wrap(function))


AppGroup.group_class = AppGroup


def _leave(function: F) -> F:
    return function


class OwnGroup(AppGroup):
    """The group behind ``app.cli``: without a :class:`ScriptInfo` from outside, it is for its own app.

    Args:
        app: The app; its name is the group's.
    """

    def __init__(self, app: App) -> None:
        super().__init__(app.name)
        self._app = app

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of one run, with a ScriptInfo in it; arguments as for click."""
        if parent is None or parent.find_object(ScriptInfo) is None:
            extra.setdefault("obj", ScriptInfo(create_app=lambda: self._app))
        return super().make_context(info_name, args, parent, **extra)
