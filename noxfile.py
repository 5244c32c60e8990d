"""The versions that ctxjobs is tested with: ``nox`` runs them all, ``nox -t corners`` the two ends.

Only tests that need no Redis and no other process; all the others run once, in ``.ci/run``. A Python that
is not installed is skipped, and nox says so.
"""

from __future__ import annotations

import re

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
#: Flask and Werkzeug: the oldest and the newest Werkzeug that each line of Flask works with.
FRAMEWORKS = (("2.3.3", "3.0.0"), ("3.0.3", "3.0.6"), ("3.0.3", "3.1.9"), ("3.1.3", "3.1.9"))
TESTS = ("tests/unit", "tests/hosts/test_conformance.py", "tests/hosts/environments")


def run_tests(session: nox.Session, flask: str, werkzeug: str, *others: str) -> None:
    """Run the tests with these versions, warnings being errors."""
    tools = ("pytest==9.2.0", "hypothesis>=6.168.5", "flask-session[cachelib]>=0.8")
    session.install("-q", "-e", ".", f"flask=={flask}", f"werkzeug=={werkzeug}", *tools, *others)
    session.run("python", "-W", "error", "-X", "dev", "-m", "pytest", "-q", *TESTS, *session.posargs)


def lowest_versions() -> list[str]:
    """The lowest version that ``pyproject.toml`` admits of each dependency but Werkzeug."""
    dependencies = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
    return [re.sub(r">=([\d.]+).*", r"==\1", one) for one in dependencies if not one.startswith("werkzeug")]


@nox.session(python=PYTHONS)
@nox.parametrize(("flask", "werkzeug"), FRAMEWORKS)
def tests(session: nox.Session, flask: str, werkzeug: str) -> None:
    """One Python with one Flask and Werkzeug; the newest of all else."""
    run_tests(session, flask, werkzeug)


@nox.session(python=PYTHONS[0], tags=["corners"])
def oldest(session: nox.Session) -> None:
    """The oldest of everything."""
    run_tests(session, *FRAMEWORKS[0], *lowest_versions())


@nox.session(python=PYTHONS[-1], tags=["corners"])
def newest(session: nox.Session) -> None:
    """The newest of everything."""
    run_tests(session, *FRAMEWORKS[-1])
