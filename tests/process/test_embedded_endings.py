"""The embedded Redis goes with its owner, in every way an owner can end, and never before."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from support.embedded_owner import owner
from support.waiting import is_running, wait_until

# --- Stopping ------------------------------------------------------------------------------


def test_stop_leaves_no_zombie() -> None:
    """After stop, its caller has no child left, not even a dead one."""
    script = """
        with server: report()
        try: os.waitpid(-1, os.WNOHANG)
        except ChildProcessError: print("no children")
    """
    with owner(script) as started:
        output, _ = started.process.communicate(timeout=20)
        assert output == "no children\n"


@pytest.mark.parametrize("ending", ["server.stop(); sys.exit()", "sys.exit()", "os._exit(0)"])
def test_forked_child_that_ends_leaves_the_server(ending: str) -> None:
    """A forked child that stops the object it inherited, or only ends, leaves the server running."""
    script = f"""
        server.start()
        child = os.fork()
        if child == 0: {ending}
        assert os.waitpid(child, 0)[1] == 0
        report(); sys.stdin.read()
    """
    with owner(script) as started:
        assert started.answers()
        assert started.wait_for_end() == ""


def test_stop_is_prompt_where_its_owner_blocks_sigterm() -> None:
    """An owner that blocks SIGTERM, as one that waits for signals does, can stop the server."""
    script = """
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        server.start()
        report()
        watcher = server.process
        server.stop()
        print(watcher.returncode)
    """
    with owner(script) as started:
        output, errors = started.process.communicate(timeout=20)
        assert (output, errors) == ("0\n", "")


# --- Ending with the owner -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "last_words"),
    [
        ("", ""),
        ("sys.exit(3)", ""),
        ("raise LookupError('broken')", "LookupError: broken"),
        ("os._exit(1)", ""),
        ("os.kill(os.getpid(), signal.SIGTERM)", ""),
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),
        ("server.stop()", ""),
    ],
)
def test_server_ends_with_its_owner(ending: str, last_words: str) -> None:
    """However the owner ends, the server, its watcher and its folder go too, and nothing warns."""
    with owner(f"server.start(); report()\n{ending}") as started:
        assert started.wait_for_end().strip().endswith(last_words)


@pytest.mark.parametrize("ending", ["", "sys.exit(3)", "server.stop()"])
def test_normal_end_prints_nothing(ending: str) -> None:
    """An owner that ends normally, with every warning an error, has nothing on stderr."""
    with owner(f"server.start(); report()\n{ending}") as started:
        assert started.wait_for_end() == ""


FORKED = """
server.start()
child = os.fork()
if child == 0:
    os.close(1); os.close(2)
    signal.pause()
"""

EXECUTED = """
server.start()
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
child = subprocess.Popen(["tail", "-f", "/dev/null"], **quiet).pid
"""


@pytest.mark.parametrize("children", [FORKED, EXECUTED], ids=["forked", "executed"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_children_that_live_on_do_not_keep_the_server(children: str, number: signal.Signals) -> None:
    """The server ends with its owner while a child of the owner, forked or executed, lives on."""
    with owner(children + "report(child=child); sys.stdin.read()") as started:
        started.process.send_signal(number)
        started.wait_for_end()
        assert is_running(started.child)


def test_server_outlives_the_thread_that_started_it() -> None:
    """A server started in a thread goes on when the thread ends, and still ends with the process."""
    script = """
        thread = threading.Thread(target=server.start)
        thread.start(); thread.join()
        report(); sys.stdin.read()
    """
    with owner(script) as started:
        with pytest.raises(TimeoutError):
            wait_until(lambda: not is_running(started.server), timeout_s=0.5, what="the server ends")
        assert started.answers()
        started.process.kill()
        started.wait_for_end()


def test_ctrl_c_reaches_the_owner_alone() -> None:
    """Ctrl-C, a SIGINT to the owner's process group, leaves the server for the owner to shut down."""
    script = """
        server.start()
        try: report(); sys.stdin.read()
        except KeyboardInterrupt: print(server_pid(server), flush=True); sys.stdin.read()
    """
    with owner(script) as started:
        os.killpg(started.process.pid, signal.SIGINT)
        output, _ = started.process.communicate(timeout=20)
        assert output == f"{started.server}\n"


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG")
def test_server_ends_with_its_watcher() -> None:
    """A watcher that is killed takes the server with it, and stop removes what it left."""
    with owner("server.start(); report(); sys.stdin.read()") as started:
        os.kill(started.watcher, signal.SIGKILL)
        wait_until(lambda: not is_running(started.server), what="the server ends")
        started.process.communicate(timeout=20)
        assert not started.socket.parent.exists()


def test_server_that_is_killed_leaves_nothing() -> None:
    """When the server itself is killed, its watcher ends and removes the folder."""
    with owner("server.start(); report(); sys.stdin.read()") as started:
        os.kill(started.server, signal.SIGKILL)
        wait_until(lambda: not is_running(started.watcher), what="the watcher ends")
        assert not started.socket.parent.exists()
