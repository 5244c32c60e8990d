"""Every name in Redis that ctxjobs owns: its type, who writes it, how long it lives.

Everything else that a job leaves in Redis is RQ's, under RQ's names. May import nothing of ctxjobs.
"""

from __future__ import annotations

from typing import Final

#: Field of RQ's job hash ``rq:job:<id>``. Holds the envelope, as bytes. Written once, by the
#: command that writes the job; kept by every RQ write (RQ merges fields); lives as long as the job.
ENVELOPE_FIELD: Final = "ctxjobs"
