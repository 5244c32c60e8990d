"""What ``import ctxjobs`` needs, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
"""

USE = """
import ctxjobs

app = ctxjobs.App("shop")
app.config.update(SECRET_KEY="k" * 32)
ctxjobs.CtxJobs(app)

@app.route("/<int:number>")
async def page(number):
    return str(number)

async def job():
    return ctxjobs.g.tenant, ctxjobs.request.path

with app.test_request_context("/7"):
    ctxjobs.g.tenant = "acme"
    snapshot = ctxjobs.capture()
assert ctxjobs.run_in_context(snapshot, job) == ("acme", "/7")
assert app.test_client().get("/7").text == "7"
"""


def run(code: str) -> None:
    """Run *code* in a Python of its own, where warnings are errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "names", [{"flask"}, {"asgiref"}, {"flask", "asgiref", "quart", "jinja2", "babel", "structlog"}]
)
def test_ctxjobs_works_without(names: set[str]) -> None:
    """Where Flask or asgiref is not installed, ctxjobs imports, captures and restores."""
    run(BLOCK.format(names=names) + USE)


def test_importing_ctxjobs_loads_no_framework() -> None:
    """Where Flask is installed, ctxjobs does not load it; an app of it that comes later is found."""
    run("import sys, ctxjobs; assert not {'flask', 'asgiref', 'ctxjobs.testing'} & set(sys.modules)")


def test_importing_ctxjobs_loads_no_library_that_a_propagator_is_for() -> None:
    """Nor do capture and restore: an app that does not use a library does not pay for it."""
    libraries = {"flask_login", "flask_babel", "babel", "structlog", "sqlalchemy", "flask_sqlalchemy"}
    libraries |= {"fakeredis", "lupa"}
    run(f"{USE}\nimport sys; assert not {libraries!r} & set(sys.modules)")


INLINE = """
import ctxjobs
from ctxjobs.errors import NoInlineRedisError

app = ctxjobs.App("shop")
app.config.update(SECRET_KEY="k" * 32, CTXJOBS_INLINE=True)
try:
    ctxjobs.CtxJobs(app)
except NoInlineRedisError as exc:
    assert "Run 'pip install ctxjobs[inline]'" in str(exc), exc
else:
    raise AssertionError("it was bound")
"""


@pytest.mark.parametrize("name", ["fakeredis", "lupa"])
def test_inline_mode_says_what_to_install(name: str) -> None:
    """An app in inline mode is not bound where a package is missing that this mode needs."""
    run(BLOCK.format(names={name}) + INLINE)


def test_the_conformance_tests_load_no_test_framework() -> None:
    """A third party runs them with pytest; importing them does not need it."""
    run(
        BLOCK.format(names={"pytest", "_pytest", "flask"})
        + "import ctxjobs.testing, sys; assert 'unittest' not in sys.modules"
    )
