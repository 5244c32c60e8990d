"""The fault bench: an app whose jobs note what they do, plans of what goes wrong, and the accounts of it.

- ``orders``, ``app``: what is enqueued, and the jobs. ``ledger``: the file in which each run is noted.
- ``failpoints``, ``haste``: in the worker's processes: dying at a given step, waiting less than in earnest.
- ``crew``, ``servers``, ``proxy``: the worker's processes, Redis, and the line between them, to be hit.
- ``accounts``: what became of every job. ``rounds``: all of that together, by a seed.

Worker processes import some of it: nothing that they need may import pytest.
"""

from __future__ import annotations
