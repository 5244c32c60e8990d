"""That the propagators are propagators. Read by mypy and pyright, never run."""

from __future__ import annotations

from contextvars import ContextVar

from ctxjobs.propagators import ContextVarPropagator, Propagator
from ctxjobs.propagators.babel import BabelPropagator
from ctxjobs.propagators.login import LoginPropagator
from ctxjobs.propagators.structlog import StructlogPropagator

variable: ContextVar[str] = ContextVar("variable")
propagators: tuple[Propagator, ...] = (
    LoginPropagator(),
    BabelPropagator(),
    StructlogPropagator(),
    ContextVarPropagator("variable", variable),
)
