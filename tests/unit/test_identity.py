"""The identity of a user: its digest is the same in every process, and it travels small."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from ctxjobs import Capture
from ctxjobs.errors import ConfigError
from ctxjobs.propagators import Identity

STAMP = "lambda user: [{'admin', 'editor', 'guest'}, {('a', 1), ('b', 2)}, {3: 'x'}, {'b': 1, 'a': 2}]"
SCRIPT = f"""
from ctxjobs import Capture
from ctxjobs.propagators import Identity
print(Identity.of("7", object(), {{"CTXJOBS_USER_STAMP": {STAMP}}}, Capture()).stamp)
"""


def test_a_stamp_is_the_same_in_every_process() -> None:
    """Sets have another order in each process, unless PYTHONHASHSEED says the same."""

    def stamp(seed: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout.strip()

    stamps = {stamp(seed) for seed in ("1", "2", "3")}
    assert len(stamps) == 1
    assert len(stamps.pop()) == 64


@pytest.mark.parametrize(
    ("identity", "value"),
    [
        (Identity(), {}),
        (Identity("7"), {"id": "7"}),
        (
            Identity("7", "ab", "drop", "anonymous"),
            {"id": "7", "stamp": "ab", "gone": "drop", "stale": "anonymous"},
        ),
    ],
)
def test_what_is_the_default_takes_no_bytes(identity: Identity, value: dict[str, Any]) -> None:
    """And comes back all the same."""
    assert identity.value() == value
    assert Identity.read(value) == identity


@pytest.mark.parametrize("config", [{}, {"CTXJOBS_USER_STAMP": None}])
def test_without_a_function_there_is_no_stamp(config: dict[str, Any]) -> None:
    """A setting of None is one that is not set."""
    assert Identity.of("7", object(), config, Capture()) == Identity("7")


def test_a_policy_that_runs_anyway_computes_none() -> None:
    """There would be nothing to do with it."""
    config = {"CTXJOBS_USER_STAMP": lambda user: pytest.fail("computed")}
    assert Identity.of("7", object(), config, Capture(stale_user="run")) == Identity("7")


@pytest.mark.parametrize("change", [{"gone_user": "run"}, {"stale_user": "ignore"}, {"stale_user": None}])
def test_a_policy_knows_the_words(change: dict[str, Any]) -> None:
    """An unknown one is told at construction, with those that there are."""
    with pytest.raises(ConfigError, match=r"expected one of .*fail, anonymous, drop"):
        Capture(**change)
