"""The process between an embedded Redis and the process that asked for it: it ends the one with the other.

Lives here: the program that :mod:`ctxjobs.embedded` runs by its path. It makes the server's private
folder, starts the server in it, and waits; when the owner is gone, or asks for it by SIGTERM, it kills
the server (nothing in it is meant to last) and removes the folder. It imports the standard library
alone, so that it starts in an instant, and it must not know what ctxjobs is.

Why a process of its own: an owner that dies by SIGKILL cannot clean up. Why it asks for its parent's id
and does not wait for a pipe to close: children that the owner forked hold the pipe open after it. Why
PR_SET_PDEATHSIG guards the server and not this process: that signal comes when the *thread* ends that
started a process; this process has one thread, its owner may have many.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

POLL_S = 0.05
"""Time between two looks at the owner: the longest that a server outlives it, in seconds."""

PR_SET_PDEATHSIG = 1
"""From ``linux/prctl.h``: the signal to get when the parent ends."""


def watch(owner_pid: int, directory: str, command: list[str]) -> None:
    """Run a server inside a new private folder until its owner, or the server itself, ends.

    Args:
        owner_pid: Process that started this one.
        directory: Absolute path of the folder to make, and to remove with all that is in it.
        command: Program and arguments of the server; it runs in ``directory``.

    Raises:
        OSError: The folder cannot be made, or the program cannot be run.
    """
    stop_requests: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stop_requests.append(number))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the owner may block SIGTERM, and masks are inherited
    os.mkdir(directory, mode=0o700)
    try:
        with subprocess.Popen(command, cwd=directory, preexec_fn=_end_with_parent) as server:
            try:
                while os.getppid() == owner_pid and server.poll() is None and not stop_requests:
                    time.sleep(POLL_S)
            finally:
                server.kill()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
