"""The command line: ``ctxjobs``. Subcommands are named here and loaded when they are asked for.

Names, not imports, so that nothing points upward and ``ctxjobs --help`` starts at once.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Final

import click

#: Subcommand -> (module and attribute, help line).
_COMMANDS: Final = {
    "cron": ("ctxjobs.cli.cron:cron", "Enqueue jobs at fixed times or intervals."),
    "demo": ("ctxjobs.demo.command:demo", "See it work: web app, Redis and worker in one command."),
    "worker": ("ctxjobs_worker.cli:worker", "Run jobs inside the contexts that they were enqueued in."),
}


class _LazyGroup(click.Group):
    """A group whose subcommands are imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup)
@click.version_option(version("ctxjobs"), prog_name="ctxjobs")
def main() -> None:
    """Background jobs that run in the context that enqueued them."""
