"""Configuration of the stock workers (``rq worker --config``): says nothing, and imports what jobs import.

RQ's worker forks for each job; what its parent has imported, no fork has to import again.
"""

from __future__ import annotations

import flask  # noqa: F401 - imported for its effect
import support.matrix.jobs  # noqa: F401 - imported for its effect
