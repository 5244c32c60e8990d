"""All ways to enqueue by name, in the order in which they are used."""

from __future__ import annotations

from support.matrix import ways_options, ways_plain, ways_rq  # noqa: F401 - each registers its ways
from support.matrix.way import WAYS

__all__ = ["WAYS"]
