"""``ctxjobs demo`` as a process of its own, as a person starts it.

Imports the standard library and :mod:`.waiting`.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from support.waiting import wait_until

#: Generous: other tests may load the machine.
DEADLINE_S = 120.0


@dataclass(frozen=True)
class ServedDemo:
    """A running ``ctxjobs demo --serve``."""

    process: subprocess.Popen[bytes]
    url: str

    def request(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """Status and body of the answer; underscores in the names of *headers* become dashes."""
        connection = HTTPConnection(str(urlsplit(self.url).netloc), timeout=DEADLINE_S)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def json(self, method: str, path: str, **headers: str) -> Any:
        """The answer's JSON."""
        return json.loads(self.request(method, path, **headers)[1])


@contextmanager
def served_demo(host: str = "native") -> Iterator[ServedDemo]:
    """Start ``ctxjobs demo --serve``, wait until it says where, and end it with SIGINT."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ctxjobs", "demo", "--serve", "--host", host], stdout=output, stderr=output
        )

        def words() -> list[str]:
            output.seek(0)
            return [word for word in output.read().decode().split() if word.startswith("http://")]

        try:
            wait_until(lambda: words() or process.poll() is not None, timeout_s=DEADLINE_S, what="an address")
            output.seek(0)
            assert process.poll() is None, output.read().decode()
            yield ServedDemo(process, words()[0])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(DEADLINE_S)


def descendants(pid: int) -> set[int]:
    """Ids of the processes that *pid* started, and of those that they started."""
    parents = {int(stat.parent.name): _parent(stat) for stat in Path("/proc").glob("[0-9]*/stat")}
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return 0
