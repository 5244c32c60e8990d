"""docker-compose.yml and worker/Dockerfile: what they name exists, and, where an engine runs, they work.

Read with the standard library alone: commands are JSON in both files, so that a test can read them. The
last test builds and runs the whole stack, where DOCKER_TESTS=1 asks for it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from support.waiting import wait_until

from ctxjobs_worker.cli import worker

ROOT = Path(__file__).parents[2]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "worker" / "Dockerfile").read_text().replace("\\\n", "")
SERVICES = ("redis", "web", "worker")
BUILT = ("web", "worker")


def service(name: str) -> str:
    """The lines of one service."""
    found = re.search(rf"^  {name}:\n((?:    .*\n|\n)+)", COMPOSE, re.MULTILINE)
    assert found, name
    return found[1]


def setting(name: str, key: str) -> str:
    """The value of a key of a service, on whatever level, as text."""
    found = re.search(rf"^ +{key}: (.*)$", service(name), re.MULTILINE)
    assert found, f"{name}: {key}"
    return found[1]


def command(name: str) -> list[str]:
    """The arguments that a service gives to its image's entrypoint."""
    arguments: list[str] = json.loads(setting(name, "command"))
    return arguments


def stage(name: str) -> str:
    """The lines of one stage of the Dockerfile."""
    found = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def is_sent(path: Path) -> bool:
    """Whether .dockerignore, whose first rule leaves everything out, lets a path in again."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line[1:] for line in lines if line.startswith("!")]
    return "*" in lines and any(fnmatchcase(path.parts[0], pattern) for pattern in patterns)


@pytest.mark.parametrize("name", BUILT)
def test_service_is_built_from_a_stage_that_exists(name: str) -> None:
    """Each service of ours names the Dockerfile and a stage of it, which is not root's."""
    assert (ROOT / setting(name, "dockerfile")).is_file()
    assert "\nUSER 10001\n" in stage(setting(name, "target"))


def test_copied_files_exist_and_are_sent() -> None:
    """Everything that the Dockerfile copies is in the checkout, and .dockerignore lets it through."""
    sources = [
        Path(source)
        for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    assert [str(path) for path in sources if not (ROOT / path).exists() or not is_sent(path)] == []


def test_worker_is_the_default_image() -> None:
    """A build that names no stage makes the worker's image: it is the last one."""
    assert re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE, re.MULTILINE)[-1] == "worker"


@pytest.mark.parametrize("name", BUILT)
def test_signals_reach_the_program(name: str) -> None:
    """No shell stands between the engine's SIGTERM and the program: the entrypoint is a list."""
    entrypoint = re.search(r"^ENTRYPOINT (.*)$", stage(name), re.MULTILINE)
    assert entrypoint
    assert json.loads(entrypoint[1])[0] == {"web": "gunicorn", "worker": "ctxjobs"}[name]


def test_healthcheck_is_where_it_is_copied_to() -> None:
    """The script that the image's healthcheck runs is the one that the stage copies."""
    copied = re.search(r"^COPY worker/(healthcheck\.py) (\S+/)$", stage("worker"), re.MULTILINE)
    checked = re.search(r"^HEALTHCHECK .* CMD (\[.*\])$", stage("worker"), re.MULTILINE)
    assert copied
    assert checked
    assert json.loads(checked[1]) == ["python", copied[2] + copied[1]]


def test_worker_accepts_its_command() -> None:
    """The worker's options are options of ``ctxjobs worker``."""
    context = worker.make_context("worker", command("worker"))
    assert (context.params["with_scheduler"], context.params["concurrency"]) == (True, 2)


def test_web_and_worker_load_the_same_app_that_exists() -> None:
    """Web and worker name one app, which the demo has; else the worker would refuse every job."""
    (app,) = command("web")
    assert ["--app", app] == command("worker")[:2]
    module, factory = app.removesuffix("()").split(":")
    assert callable(getattr(import_module(module), factory))


def test_web_and_worker_share_the_key() -> None:
    """Web and worker have one environment, whose names the demo reads."""
    assert setting("web", "environment") == setting("worker", "environment") == "*environment"
    names = re.findall(r"^  (\w+): ", COMPOSE.partition("services:")[0], re.MULTILINE)
    demo = "".join(path.read_text() for path in (ROOT / "ctxjobs" / "demo").glob("*.py"))
    assert names == ["CTXJOBS_REDIS_URL", "DEMO_SECRET_KEY"]
    assert [name for name in names if name not in demo] == []


# --- the real thing ------------------------------------------------------------------------

COMPOSE_COMMANDS = (["docker", "compose"], ["docker-compose"])


class Stack:
    """The stack, under a project name of its own."""

    def __init__(self, compose: list[str]) -> None:
        self._compose = [*compose, "-p", "ctxjobs-test"]

    def run(self, *arguments: str) -> str:
        """Run one compose command and return what it printed."""
        done = subprocess.run(
            [*self._compose, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self, name: str, template: str) -> str:
        """A fact about a service's container, in the engine's template language."""
        container = self.run("ps", "-a", "-q", name).strip()
        inspect = ["docker", "inspect", "-f", template, container]
        return subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()

    def is_healthy(self) -> bool:
        return all(self.state(name, "{{.State.Health.Status}}") == "healthy" for name in SERVICES)


def compose_command() -> list[str]:
    """The compose command of this machine; skips the test where there is no engine, or nobody asked."""
    if os.environ.get("DOCKER_TESTS") != "1":
        pytest.skip("builds images and takes a minute or two; set DOCKER_TESTS=1 to run it")
    found = next((words for words in COMPOSE_COMMANDS if answers([*words, "version"])), None)
    if found is None or not answers(["docker", "info"]):
        pytest.skip("no docker engine with compose answers")
    return found


def answers(words: list[str]) -> bool:
    """Whether a command exists and succeeds."""
    found = shutil.which(words[0]) is not None
    return found and subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.fixture
def stack() -> Iterator[Stack]:
    """The stack, built, up and healthy; taken down at the end."""
    running = Stack(compose_command())
    try:
        running.run("up", "--build", "-d")
        wait_until(running.is_healthy, timeout_s=90, what="redis, web and worker are healthy")
        yield running
    finally:
        running.run("down")


def call(path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> dict[str, Any]:
    """One request to the web service; its JSON answer."""
    request = Request(f"http://127.0.0.1:8000{path}", method=method, headers=headers or {})
    with urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def test_stack_runs_a_job_in_its_request_context_and_drains(stack: Stack) -> None:
    """A job sees the tenant, user, language and path of the request; the worker then stops with code 0."""
    headers = {"X-Tenant": "globex", "X-User": "ada", "Accept-Language": "fr"}
    job = call("/orders/7/receipt", method="POST", headers=headers)["job"]
    wait_until(lambda: call(f"/jobs/{job}")["status"] == "finished", timeout_s=20, what="the job finishes")
    seen = call(f"/jobs/{job}")["result"]
    expected = {"tenant": "globex", "user": "ada", "locale": "fr", "path": "/orders/7/receipt", "job": job}
    assert {name: seen[name] for name in expected} == expected
    stack.run("stop", "worker")
    assert stack.state("worker", "{{.State.ExitCode}}") == "0"
