"""A module that says that it was imported: it writes the file that the variable ``TRIPWIRE`` names."""

from __future__ import annotations

import os
from pathlib import Path

from support.depot import jobs

if _path := os.environ.get("TRIPWIRE"):
    Path(_path).write_text("imported")


@jobs.job
def spring() -> str:
    return "sprung"
