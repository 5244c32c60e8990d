"""Random plans: many faults, one after the other, under load.

``bench/faults.py`` goes on with other seeds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.faults.bench import assert_clean
from support.faults.plans import PROCESSES, REDIS, make_plan
from support.faults.rounds import run_round

SEEDS = (1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_when_processes_are_hit(tmp_path: Path, seed: int) -> None:
    """Killed at random moments and at random steps, stopped, reloaded: one, several or all of them."""
    assert_clean(run_round(make_plan(seed, PROCESSES, jobs=200), tmp_path))


@pytest.mark.parametrize("seed", SEEDS[:2])
def test_nothing_is_lost_when_all_is_hit(tmp_path: Path, seed: int) -> None:
    """Processes and Redis."""
    assert_clean(run_round(make_plan(seed, PROCESSES + REDIS, jobs=200), tmp_path))


def test_a_seed_makes_one_plan() -> None:
    """So that a round can be had once more."""
    assert make_plan(7, PROCESSES) == make_plan(7, PROCESSES)
    assert make_plan(7, PROCESSES) != make_plan(8, PROCESSES)
