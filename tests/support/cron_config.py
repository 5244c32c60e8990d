"""The configuration of a cron scheduler, as RQ reads it: a module of its own, which it may import again."""

from __future__ import annotations

from rq.cron import register
from support.cron_jobs import plain, tidy

register(tidy, "default", kwargs={"room": "attic"}, interval=1)
register(plain, "default", interval=60)
