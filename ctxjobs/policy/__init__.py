"""Capture policy: what may be taken from a context, and what never is.

Pure values and predicates. The package may import :mod:`ctxjobs.codec`, :mod:`ctxjobs.triggers` and
:mod:`ctxjobs.errors`; it knows no framework and takes nothing itself (see :mod:`ctxjobs.hosts` and
:mod:`ctxjobs.propagation`). Its files, ground up: ``known`` (what travels by default, and what never does),
``paths`` (how a policy names one value), ``plans`` (a policy, worked out once), ``capture`` (the policy).
"""

from __future__ import annotations

from ctxjobs.policy.capture import Capture, CaptureChoice, GoneUser, StaleUser, derived
from ctxjobs.policy.known import CGI_KEYS, NEEDED_KEYS, NEVER_G, NEVER_SESSION, SAFE_HEADERS, never_travels
from ctxjobs.policy.paths import dotted, header_key, header_name, is_header
from ctxjobs.policy.plans import LOCAL, Default, EnvironPlan, Plan, Plans, public

__all__ = [
    "CGI_KEYS",
    "LOCAL",
    "NEEDED_KEYS",
    "NEVER_G",
    "NEVER_SESSION",
    "SAFE_HEADERS",
    "Capture",
    "CaptureChoice",
    "Default",
    "EnvironPlan",
    "GoneUser",
    "Plan",
    "Plans",
    "StaleUser",
    "derived",
    "dotted",
    "header_key",
    "header_name",
    "is_header",
    "never_travels",
    "public",
]
