"""The fault bench for hours: one random plan after the other, and every job accounted for.

Not a test: it goes on where the tests of ``tests/faults`` stop, with their harness. Ends with 1 if anything
was lost, or ran twice without a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.faults.plans import PROCESSES, REDIS, Plan, make_plan
from support.faults.rounds import run_round


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="for how long (default: 1)")
    parser.add_argument("--rounds", type=int, default=0, help="at most so many rounds; 0 is no limit")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first round; the next has the next")
    parser.add_argument(
        "--children", type=int, default=0, help="children of the worker; 0 lets the seed choose"
    )
    parser.add_argument("--jobs", type=int, default=300, help="jobs in a round")
    parser.add_argument("--blows", type=int, default=4, help="faults in a round")
    parser.add_argument("--hits", choices=["processes", "redis", "all"], default="all", help="what is hit")
    parser.add_argument(
        "--in-earnest", action="store_true", help="all times as in production: a round takes some minutes"
    )
    given = parser.parse_args()
    hits = {"processes": PROCESSES, "redis": REDIS, "all": PROCESSES + REDIS}[given.hits]
    end = time.monotonic() + given.hours * 3600
    seed, bad, total = given.seed, [], Counter()
    while time.monotonic() < end and not 0 < given.rounds <= seed - given.seed:
        plan = make_plan(seed, hits, jobs=given.jobs, blows=given.blows, children=given.children)
        counts, is_clean = one_round(plan, in_earnest=given.in_earnest)
        total += counts
        bad += [] if is_clean else [seed]
        seed += 1
    print(f"{seed - given.seed} rounds: {dict(total)}; seeds with offenders: {bad or 'none'}")
    return 1 if bad else 0


def one_round(plan: Plan, *, in_earnest: bool) -> tuple[Counter[str], bool]:
    """Run one round, and print a line about it; keep its folder if there is something to look at."""
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{plan.seed}-"))
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):  # the logs are in the folder
        account = run_round(plan, folder, timeout_s=400 if in_earnest else 40, in_earnest=in_earnest)
    blows = " ".join(f"{blow.hit}@{blow.at}" for blow in plan.blows)
    took_s = time.monotonic() - began
    print(f"seed {plan.seed}: {took_s:.1f} s, {' '.join(plan.options)}, {blows}: {dict(account.counts)}")
    if account.is_clean:
        shutil.rmtree(folder)
    else:
        print(account.report(), f"kept in {folder}", sep="\n")
    sys.stdout.flush()
    return account.counts, account.is_clean


if __name__ == "__main__":
    sys.exit(main())
