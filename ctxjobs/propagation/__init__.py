"""Capture and restore: from the active contexts to a snapshot, and back.

Brings hosts, propagators, policy and registry together. May import all of these; knows no RQ. Its files,
ground up: ``taking``, ``fitting``, ``overriding``, ``capturing``, ``restoring``.
"""

from __future__ import annotations

from ctxjobs.propagation.capturing import Prepared, capture, prepare, prepare_for, prepared_with
from ctxjobs.propagation.restoring import Phase, restore, run_in_context, run_job, system_snapshot
from ctxjobs.running import RunningJob, current_job

__all__ = [
    "Phase",
    "Prepared",
    "RunningJob",
    "capture",
    "current_job",
    "prepare",
    "prepare_for",
    "prepared_with",
    "restore",
    "run_in_context",
    "run_job",
    "system_snapshot",
]
