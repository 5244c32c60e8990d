"""ctxjobs_worker: the processes that run jobs.

A web process never imports this package: it forks, installs signal handlers and owns children.
"""

from __future__ import annotations
