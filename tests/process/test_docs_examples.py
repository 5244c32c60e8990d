"""The examples of the documentation, executed: an example that rots is a bug.

A Python block whose first line is a comment with a file name is that file. Each page gets a folder of
its own with its files in it, a Redis, and a real worker with the options that the page gives it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
import redis
from rq.registry import FailedJobRegistry
from support.waiting import wait_until

from ctxjobs.cli.cron import cron
from ctxjobs.demo.command import demo
from ctxjobs_worker.cli import worker

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PYTHON_BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL_LINE = re.compile(r"^```sh\n(.*)\n```$", re.MULTILINE)
TEXT_BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(page.stem for page in DOCS.glob("howto/*.md") if PYTHON_BLOCK.search(page.read_text()))


@pytest.fixture
def environment(redis_connection: redis.Redis, redis_url: str) -> dict[str, str]:
    """What a reader of a page has in the shell: an empty Redis, and a folder to import from."""
    return {**os.environ, "CTXJOBS_REDIS_URL": redis_url, "PYTHONPATH": ".", "PYTHONUNBUFFERED": "1"}


def write_files(page: Path, folder: Path) -> list[str]:
    """Write the files of a page; return their names, in the page's order."""
    blocks = PYTHON_BLOCK.findall(page.read_text())
    for name, text in blocks:
        (folder / name).write_text(text)
    return [name for name, _ in blocks]


def commands(page: Path, start: str) -> list[list[str]]:
    """Return the shell commands of a page that begin in this way."""
    return [shlex.split(line) for line in SHELL_LINE.findall(page.read_text()) if line.startswith(start)]


def worker_options(page: Path) -> list[str]:
    """Return the arguments of the page's first ``ctxjobs worker``."""
    return commands(page, "ctxjobs worker ")[0][2:]


@pytest.mark.parametrize("name", PAGES)
def test_howto_files_run(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Every file of a how-to page runs and prints what the page shows; no job that it enqueues fails."""
    page = DOCS / f"howto/{name}.md"
    files = write_files(page, tmp_path)
    modules = [file.removesuffix(".py") for file in files if not file.startswith("test_")]

    printed = ""

    def run(*arguments: str) -> None:
        nonlocal printed
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, timeout=60, stdout=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, (arguments, done.stdout)
        printed += done.stdout

    for module in modules:
        run("-W", "error", "-c", f"import {module}")
    if any(file.startswith("test_") for file in files):
        run("-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider")
    if commands(page, "ctxjobs worker "):
        run("-m", "ctxjobs", "worker", *worker_options(page), "--burst")

    for promised in TEXT_BLOCK.findall(page.read_text()):
        assert promised in printed
    with redis.Redis.from_url(environment["CTXJOBS_REDIS_URL"]) as connection:
        for queue in ("default", "mail"):
            failed = FailedJobRegistry(queue, connection=connection)
            assert failed.get_job_ids() == []
            assert connection.llen(f"rq:queue:{queue}") == 0


@contextmanager
def running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """Run a command of a page beside the test; stop it with Ctrl-C, as the page says."""
    program = [sys.executable, "-m"] if command[0] != "python" else [sys.executable]
    arguments = command if command[0] != "python" else command[1:]
    process = subprocess.Popen([*program, *arguments], cwd=folder, env=environment)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)


def curl(command: list[str]) -> dict[str, str]:
    """Do what a ``curl`` of the quickstart does."""
    headers = dict(command[i + 1].split(": ", 1) for i, word in enumerate(command) if word == "-H")
    method = command[command.index("-X") + 1] if "-X" in command else "GET"
    with urlopen(Request(command[-1], headers=headers, method=method), timeout=10) as answer:
        return json.load(answer)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize("app", ["shop", "depot"])
def test_quickstart(app: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """The commands of the quickstart lead to the answer that it shows, with Flask and without."""
    port = free_port()
    text = (DOCS / "quickstart.md").read_text().replace("5000", port)
    page = tmp_path / "quickstart.md"
    page.write_text(text)
    write_files(page, tmp_path)
    which = ["shop", "depot"].index(app)
    serve = [*commands(page, "flask "), *commands(page, "python ")][which]
    post, get = commands(page, "curl ")[2 * which : 2 * which + 2]
    promised = json.loads(re.findall(r"^```json\n(.*)\n```$", text, re.MULTILINE)[which])

    with (
        running(serve, tmp_path, environment),
        running(commands(page, "ctxjobs worker ")[which], tmp_path, environment),
    ):
        wait_until(lambda: answers(int(port)), what="the web app listens")
        job = curl(post)["job"]
        show = [word.replace("JOB", job) for word in get]
        wait_until(lambda: curl(show)["status"] == "finished", what="the job is finished")
        assert curl(show) == promised


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=1):
            return True
    except OSError:
        return False


def test_the_page_of_the_command_line_names_every_option() -> None:
    """The reference has a row for every option of each command, and for no other one."""
    page = (DOCS / "reference/cli.md").read_text()
    described = {
        word
        for row in re.findall(r"^\| (`-[^|]*)", page, re.MULTILINE)
        for word in re.findall(r"--?[a-z-]+", row)
    }
    existing = {name for command in (worker, cron, demo) for option in command.params for name in option.opts}
    assert described == {name for name in existing if name.startswith("-")}


def test_internals_name_what_exists() -> None:
    """Every file that the internals page names exists, and its floors are those that are checked."""
    text = (DOCS / "internals.md").read_text()
    for name in re.findall(r"`((?:ctxjobs|worker)/[\w/]+\.py)`", text):
        assert (ROOT / name).is_file(), name
    contracts = ConfigParser()
    contracts.read(ROOT / ".importlinter")
    drawn = [set(line.split()) for line in re.findall(r"^    (\w[\w ]*)$", text, re.MULTILINE)]
    for contract in ("floors", "worker"):
        for floor in contracts[f"importlinter:contract:{contract}"]["layers"].split("\n"):
            modules = set(floor.replace("|", " ").split())
            assert not modules or any(modules <= line for line in drawn), floor
