"""Propagators: what extensions and libraries keep besides the contexts, captured and restored with a job.

One file per library, none of which is imported here: a propagator is active only where the app uses
its library, and finds it loaded. The package may import hosts, the running job and the floors of values;
it knows no RQ. Its files: ``base`` (protocols and registry), ``rules`` (who takes part), ``carrying`` (take
and put back), ``around`` and ``duties`` (what some do besides), ``threads``, ``identity`` (users that went
stale), and the propagators.
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
    SupportsCheck,
    SupportsClear,
    SupportsFlush,
    SupportsMeta,
    SupportsOverride,
    SupportsPolicy,
    SupportsTriggers,
    register_propagator,
)
from ctxjobs.propagators.carrying import cleared_variables, propagated_scopes, take_propagated
from ctxjobs.propagators.context_var import ContextVarPropagator
from ctxjobs.propagators.duties import checked, flush_propagators, meta_for
from ctxjobs.propagators.identity import Identity
from ctxjobs.propagators.login import LoginPropagator
from ctxjobs.propagators.opentelemetry import OpenTelemetryPropagator
from ctxjobs.propagators.sentry import SentryPropagator
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
    "SupportsCheck",
    "SupportsClear",
    "SupportsCommit",
    "SupportsFlush",
    "SupportsMeta",
    "SupportsOverride",
    "SupportsPolicy",
    "SupportsTriggers",
    "after_fork",
    "checked",
    "cleared_variables",
    "commit_session",
    "flush_propagators",
    "meta_for",
    "propagated_scopes",
    "register_propagator",
    "scopes_around",
    "take_for_thread",
    "take_propagated",
]

# Traces first: what the others do to put their state back, such as loading a user, belongs to the trace.
for _propagator in (
    OpenTelemetryPropagator(),
    SentryPropagator(),
    FlaskSQLAlchemyPropagator(),
    LoginPropagator(),
    BabelPropagator(),
    StructlogPropagator(),
):
    register_propagator(_propagator)
