"""``python -m ctxjobs``: the command line."""

from __future__ import annotations

from ctxjobs.cli import main

main(prog_name="ctxjobs")
