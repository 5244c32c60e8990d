"""Every name in Redis that ctxjobs owns: its type, who writes it, how long it lives.

Everything else that a job leaves in Redis is RQ's, under RQ's names. May import nothing of ctxjobs.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

#: Field of RQ's job hash ``rq:job:<id>``. Holds the envelope, as bytes. Written once, by the
#: command that writes the job; kept by every RQ write (RQ merges fields); lives as long as the job.
ENVELOPE_FIELD: Final = "ctxjobs"

#: Field of RQ's job hash: how often the job went back to its queue because its process was gone. Written by
#: the worker's scripts; removed when the job ends.
REDELIVERED_FIELD: Final = "ctxjobs_redelivered"

#: What in RQ's job hash is ours.
OWN_FIELDS: Final = frozenset({ENVELOPE_FIELD, REDELIVERED_FIELD})

#: Sorted sets ``ctxjobs:index:<app id>:<kind>:<digest>``: the jobs of one request, tenant or user, and (kind
#: ``root``) those that descend from one job.
#:
#: - Member: ``<created>:<job id>``, created in microseconds since the epoch, so that members sort by age.
#:   Score: until when the job is kept, in seconds since the epoch.
#: - Written by the script that writes the job (or in the pipeline that does), and again whenever RQ decides
#:   how long the job lives: when it ends, is retried, repeated, requeued or deleted. A hint, not a proof: who
#:   reads it verifies the job.
#: - The key expires with the last of its members. Those whose time is over are removed by the writes of many
#:   new jobs, of one in sixteen single ones, and of what RQ does.
INDEX_PREFIX: Final = "ctxjobs:index:"

#: Hexadecimal digits of a digest: 128 bits.
_DIGITS: Final = 32


def index_key(app_id: str, kind: str, value: str) -> str:
    """Key of the jobs of *app_id* whose *kind* is *value*.

    The digest bounds the key's length, and keeps ids and addresses out of key names, which show in slow logs
    and statistics. It hides nothing from whoever may read Redis, where the envelope has the value itself. So
    it is not keyed, and a new ``SECRET_KEY`` loses no entry.

    Args:
        app_id: The app's id.
        kind: ``request``, ``tenant``, ``user`` or ``root``.
        value: As text.
    """
    return f"{INDEX_PREFIX}{app_id}:{kind}:{sha256(value.encode()).hexdigest()[:_DIGITS]}"


#: How long an audit is kept after the last run that was added to it.
AUDIT_LIFETIME_S: Final = 30 * 24 * 3600


def audit_key(app_id: str, function: str) -> str:
    """Hash of what the audited runs of *function* have read: names and counts, no values.

    Its fields: ``runs``; ``body_bytes``, the largest body that was read; ``captured <path>``,
    ``read <path>``, ``missed <path>`` and ``withheld <path>``, each with the number of runs. Written by
    whatever has run a job with ``CTXJOBS_AUDIT``, after the job; expires after ``AUDIT_LIFETIME_S``
    without a write.
    """
    return f"ctxjobs:audit:{app_id}:{function}"


# --- the worker's ---------------------------------------------------------------------------
#
# Written by the scripts in ``worker/ctxjobs_worker/scripts`` alone, which say when. What they keep there is
# how a job is found again that a process had taken when it ended.

#: Sorted set: names of workers; the score is until when each counts as alive, in seconds since the epoch by
#: the clock of Redis. Whoever is overdue is looked after by any other worker.
WORKERS_KEY: Final = "ctxjobs:workers"


def worker_key(worker: str) -> str:
    """Hash of what a worker's cycles remember: ``owner``, ``seq``, ``queues``; kept for a day."""
    return f"ctxjobs:worker:{worker}"


def leases_key(worker: str) -> str:
    """Hash of the jobs that a worker has taken and not reported, by execution id.

    Its values are MessagePack: ``L`` for a lease or ``S`` for a started job, the job's id, its queue. Lives
    as long as there are any, and is emptied by whoever looks after a worker that is gone.
    """
    return f"ctxjobs:leases:{worker}"


def taking_key(queue: str, worker: str) -> str:
    """List of at most one job id, on its way from a queue to a worker that waits there."""
    return f"ctxjobs:taking:{queue}:{worker}"
