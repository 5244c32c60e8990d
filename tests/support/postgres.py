"""A PostgreSQL of the tests' own: a cluster in a temporary directory, reached over a Unix socket.

Knows nothing of ctxjobs. Debian's package starts a cluster, too; that one is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: Where Debian puts the programs of each version.
DEBIAN = Path("/usr/lib/postgresql")
#: The longest that one of its programs may take, in seconds.
PROGRAM_TIMEOUT_S = 60


def find_programs() -> Path | None:
    """The directory with ``initdb`` and ``pg_ctl``, of the newest version; None if there is none."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """Run a server for the length of the block.

    Args:
        programs: See :func:`find_programs`.

    Yields:
        The URL of an empty database, for SQLAlchemy with psycopg 3.
    """
    with tempfile.TemporaryDirectory(prefix="ctxjobs-pg-") as directory:
        data = f"{directory}/data"
        if os.geteuid() == 0:  # as root PostgreSQL does not run
            shutil.chown(directory, "nobody")
        _run([programs / "initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync"])
        options = f"-F -k {directory} -c listen_addresses=''"
        log = f"{directory}/log"
        _run([programs / "pg_ctl", "start", "-w", "-s", "-D", data, "-l", log, "-o", options])
        try:
            yield f"postgresql+psycopg://tests@/postgres?host={directory}"
        finally:
            _run([programs / "pg_ctl", "stop", "-w", "-s", "-D", data, "-m", "immediate"])


def _run(command: list[Any]) -> None:
    user: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(
        command,
        check=True,
        timeout=PROGRAM_TIMEOUT_S,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        **user,
    )
