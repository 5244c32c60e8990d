"""That the propagators are propagators. Read by mypy and pyright, never run."""

from __future__ import annotations

from contextvars import ContextVar

from ctxjobs.propagators import (
    ContextVarPropagator,
    Propagator,
    SQLAlchemyPropagator,
    SupportsAfterFork,
    SupportsAround,
    SupportsClear,
    SupportsCommit,
    SupportsOverride,
    SupportsPolicy,
)
from ctxjobs.propagators.babel import BabelPropagator
from ctxjobs.propagators.login import LoginPropagator
from ctxjobs.propagators.sqlalchemy import FlaskSQLAlchemyPropagator
from ctxjobs.propagators.structlog import StructlogPropagator

variable: ContextVar[str] = ContextVar("variable")
propagators: tuple[Propagator, ...] = (
    LoginPropagator(),
    BabelPropagator(),
    StructlogPropagator(),
    ContextVarPropagator("variable", variable),
    FlaskSQLAlchemyPropagator(),
    SQLAlchemyPropagator(),
)
can_be_cleared: tuple[SupportsClear, ...] = (
    LoginPropagator(),
    BabelPropagator(),
    StructlogPropagator(),
    ContextVarPropagator("variable", variable),
)
can_be_said: tuple[SupportsOverride, ...] = (
    LoginPropagator(),
    BabelPropagator(),
    ContextVarPropagator("variable", variable),
)
know_the_policy: tuple[SupportsPolicy, ...] = (LoginPropagator(),)
around: tuple[SupportsAround, ...] = (FlaskSQLAlchemyPropagator(), SQLAlchemyPropagator())
after_fork: tuple[SupportsAfterFork, ...] = (FlaskSQLAlchemyPropagator(), SQLAlchemyPropagator())
commit: tuple[SupportsCommit, ...] = (FlaskSQLAlchemyPropagator(), SQLAlchemyPropagator())
