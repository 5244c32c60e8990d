"""RQ's own test suite, of the installed version, with our ``Worker`` in the places of RQ's.

    .venv/bin/python tests/interop/rq_suite/run.py [--slow] [--stock] [--processes N] [pytest arguments]

Gets RQ's source distribution by pip, once; unpacks its tests; runs them in parallel, each process with a
Redis of its own. Which of them do not pass, and why, says ``exceptions.ini`` beside this file. Short when all
is well; otherwise it prints all that pytest has said. Imports nothing of ctxjobs.

Many of the suite's tests give a process half a second to start or to end, and fail under load, with RQ's
worker, too. So a few that fail are run once more, alone; what passes then is named at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from configparser import ConfigParser
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "ctxjobs-rq-suite")

#: The suite sleeps for most of its time.
PROCESSES = 4
#: The longest that one test may take, in seconds: the slowest of the slow ones takes 70.
TEST_TIMEOUT_S = 120
#: At most so many tests may be excepted.
MOST_EXCEPTIONS = 3
#: At most so many are run once more.
MOST_AGAIN = 4
#: In at least so many tests our loop has to run. (In most of the others no loop runs; in a few it is RQ's,
#: because the test overrides one of its hooks.)
LEAST_ON_THE_ENGINE = 110

_PR_SET_CHILD_SUBREAPER = 36


def archive_of(rq_version: str) -> Path:
    """RQ's source distribution of this version; gets it if it is not there yet."""
    archive = CACHE / f"rq-{rq_version}.tar.gz"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            what = ("--no-deps", "--no-binary", ":all:", f"rq=={rq_version}")
            subprocess.run((sys.executable, "-m", "pip", "download", "-q", "-d", folder, *what), check=True)
            next(Path(folder).glob("rq-*.tar.gz")).replace(archive)
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Put RQ's tests into *folder*."""
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, _, member.name = member.name.partition("/")
            if member.name.startswith("tests/"):
                tar.extract(member, folder, filter="data")
    for path in folder.rglob("*.py"):
        path.write_text(_with_own_files(path.read_text()))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow\n    ssl_test\n")


def _with_own_files(text: str) -> str:
    """The same, with the files that it writes to /tmp in a folder of the process' own."""
    return text.replace("'/tmp/", "__import__('os').environ['RQ_SUITE_TMP'] + '/")


@dataclass(frozen=True)
class Suite:
    """The suite, as it is to be run.

    Attributes:
        folder: Where it is unpacked.
        scratch: A folder for what the run writes down.
        slow: Whether to run what RQ calls slow.
        stock: Whether to leave RQ's own workers in their places.
    """

    folder: Path
    scratch: Path
    slow: bool
    stock: bool

    def run(self, arguments: list[str], processes: int) -> tuple[int, str]:
        """Run pytest; its exit code and what it has said."""
        options = [
            "-p",
            "rq_suite_plugin",
            "-p",
            "no:ctxjobs_pytest",
            "-p",
            "no:cacheprovider",
            "--no-header",
        ]
        options += ["-q", "--tb=short", "-rfEX", "-n", str(processes), "--dist", "worksteal"]
        options += ["-o", f"faulthandler_timeout={TEST_TIMEOUT_S}", "-o", "faulthandler_exit_on_timeout=true"]
        log = self.scratch / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *arguments],
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            code = _wait_and_reap(process)
        return code, log.read_text(errors="replace")

    def _environment(self) -> dict[str, str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CTXJOBS_", "RQ_", "RUN_S"))
        }
        env |= {"RQ_SUITE": "stock" if self.stock else "ours", "RQ_SUITE_SCRATCH": str(self.scratch)}
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
        env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # for rqworker
        return env | ({"RUN_SLOW_TESTS_TOO": "1"} if self.slow else {})

    def failed(self) -> list[str]:
        """The tests that have failed."""
        return sorted({test for test, *_ in self._lines("failed")})

    def loops(self) -> tuple[set[str], dict[str, set[str]]]:
        """Tests in which our loop has run; and the hooks because of which RQ's own has, with their tests."""
        engine, own = set(), {}
        for test, which, *hooks in self._lines("loops"):
            if which == "engine":
                engine.add(test)
            for hook in hooks:
                own.setdefault(hook, set()).add(test)
        return engine, own

    def _lines(self, name: str) -> list[list[str]]:
        path = self.scratch / name
        return [line.split("\t") for line in path.read_text().splitlines()] if path.exists() else []


def _wait_and_reap(process: subprocess.Popen[bytes]) -> int:
    """Wait for pytest, and see to what its tests leave behind, as process 1 does where there is one.

    One of the tests looks whether a process that it has killed is gone.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        while process.returncode is None:
            pid, status = os.wait()
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        process.send_signal(signal.SIGINT)
        raise
    return process.returncode


def named_exceptions() -> ConfigParser:
    """The exceptions: a section for each test."""
    parser = ConfigParser(interpolation=None)
    parser.read_string((HERE / "exceptions.ini").read_text())
    return parser


def _is_in(folder: Path, test: str) -> bool:
    path, _, names = test.partition("::")
    text = (folder / path).read_text() if (folder / path).exists() else ""
    return all(re.search(rf"(class|def) {name}\b", text) for name in names.split("::"))


def main() -> int:
    """Run the suite, and tell how it went."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slow", action="store_true", help="also the tests that RQ itself calls slow")
    parser.add_argument("--stock", action="store_true", help="with RQ's own workers, for comparison")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="0 runs them in one")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what runs beside
    began, rq_version, exceptions = time.monotonic(), version("rq"), named_exceptions().sections()
    with tempfile.TemporaryDirectory(prefix="rq-suite-") as scratch:
        suite = Suite(Path(scratch, "rq"), Path(scratch), options.slow, options.stock)
        unpack(archive_of(rq_version), suite.folder)
        code, said = suite.run(arguments or ["tests"], options.processes)
        summary = (re.findall(r"^.*\d+ (?:passed|failed).*$", said, re.MULTILINE) or ["no test ran"])[-1]
        again = suite.failed()
        if code == 1 and 0 < len(again) <= MOST_AGAIN:
            code, said_again = suite.run(again, 0)
            said += said_again
        engine, own = suite.loops()
        gone = [test for test in exceptions if not _is_in(suite.folder, test)]

    problems = [f"{test} is an exception, and not in the suite" for test in gone]
    if code:
        problems.append(f"pytest ended with exit code {code}")
    if len(exceptions) > MOST_EXCEPTIONS:
        problems.append(f"there are {len(exceptions)} exceptions; at most {MOST_EXCEPTIONS} are allowed")
    if not (arguments or options.stock) and len(engine) < LEAST_ON_THE_ENGINE:
        problems.append(f"our loop ran in {len(engine)} tests; {LEAST_ON_THE_ENGINE} are expected")
    if problems:
        print(said)
        print(*(f"RQ's own loop, because of {hook}: {tests}" for hook, tests in own.items()), sep="\n")
    lines = [f"passed the second time, alone: {test}" for test in again if not code]
    lines += [f"exception, {named_exceptions()[test]['how']}: {test}" for test in exceptions]
    print(*lines, *problems, sep="\n")
    print(
        f"RQ {rq_version}'s suite: {summary.strip('= ')}; our loop in {len(engine)} tests, RQ's own in"
        f" {len(set().union(*own.values()))}; {time.monotonic() - began:.0f} s in all"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
