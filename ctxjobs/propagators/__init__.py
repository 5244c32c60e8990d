"""Propagators: what extensions and libraries keep besides the contexts, captured and restored with a job.

One file per library, none of which is imported here: a propagator is active only where the app uses
its library, and finds it loaded. The package may import hosts and the floors of values; it knows no job.
Its files: ``base`` (protocols and registry), ``rules`` (who takes part), ``carrying`` (take and put back),
``around`` (what they do besides), ``threads``, ``identity`` (users that went stale), and the propagators.
"""

from __future__ import annotations

from ctxjobs.propagators.around import (
    SupportsAfterFork,
    SupportsAround,
    SupportsCommit,
    after_fork,
    commit_session,
    scopes_around,
)
from ctxjobs.propagators.babel import BabelPropagator
from ctxjobs.propagators.base import (
    Draft,
    Propagator,
    SupportsClear,
    SupportsOverride,
    SupportsPolicy,
    SupportsTriggers,
    register_propagator,
)
from ctxjobs.propagators.carrying import cleared_variables, propagated_scopes, take_propagated
from ctxjobs.propagators.context_var import ContextVarPropagator
from ctxjobs.propagators.identity import Identity
from ctxjobs.propagators.login import LoginPropagator
from ctxjobs.propagators.sqlalchemy import FlaskSQLAlchemyPropagator, SQLAlchemyPropagator
from ctxjobs.propagators.structlog import StructlogPropagator
from ctxjobs.propagators.threads import take_for_thread

__all__ = [
    "ContextVarPropagator",
    "Draft",
    "Identity",
    "Propagator",
    "SQLAlchemyPropagator",
    "SupportsAfterFork",
    "SupportsAround",
    "SupportsClear",
    "SupportsCommit",
    "SupportsOverride",
    "SupportsPolicy",
    "SupportsTriggers",
    "after_fork",
    "cleared_variables",
    "commit_session",
    "propagated_scopes",
    "register_propagator",
    "scopes_around",
    "take_for_thread",
    "take_propagated",
]

for _propagator in (FlaskSQLAlchemyPropagator(), LoginPropagator(), BabelPropagator(), StructlogPropagator()):
    register_propagator(_propagator)
