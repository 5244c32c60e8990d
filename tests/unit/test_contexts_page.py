"""The examples of the page about contexts, executed as they stand, and once more with Flask."""

from __future__ import annotations

import contextvars
import doctest
from functools import partial
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs/explanation/contexts.md"
NATIVE = "from ctxjobs import App, current_app, g, request"
FLASK = "from flask import Flask as App, current_app, g, request"


@pytest.mark.parametrize("imports", [NATIVE, FLASK], ids=["native", "flask"])
def test_examples(imports: str) -> None:
    """Every example prints what the page shows, in a native app and in a Flask app."""
    text = PAGE.read_text()
    assert NATIVE in text
    test = doctest.DocTestParser().get_doctest(text.replace(NATIVE, imports), {}, PAGE.name, str(PAGE), 0)
    said: list[str] = []
    run = partial(doctest.DocTestRunner().run, test, out=said.append)
    results = contextvars.Context().run(run)  # the page starts where no context is active
    assert (results.failed, results.attempted > 10) == (0, True), "".join(said)
