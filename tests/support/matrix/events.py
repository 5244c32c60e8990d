"""What happened in the workers, in order: a list in Redis, under a key of the tests' own."""

from __future__ import annotations

import pickle
from typing import Any

from redis import Redis

KEY = "matrix:events"


def emit(connection: Redis, job_id: str, what: str, **facts: Any) -> None:
    """Append one event.

    Args:
        connection: Redis.
        job_id: The job that it is about.
        what: Its kind: ``start``, ``teardown_request``, ``teardown_appcontext`` or ``callback``.
        facts: Whatever else is known.
    """
    connection.rpush(KEY, pickle.dumps({"job_id": job_id, "what": what, **facts}))


def read_events(connection: Redis) -> list[dict[str, Any]]:
    """All events, the first one first."""
    return [pickle.loads(data) for data in connection.lrange(KEY, 0, -1)]
