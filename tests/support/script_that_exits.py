"""A script without a main guard: it ends the process that imports it."""

raise SystemExit(7)
