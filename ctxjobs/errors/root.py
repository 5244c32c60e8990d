"""The root class and the three families: whose fault it is. Imports nothing of ctxjobs."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False, repr=False)
class CtxJobsError(Exception):
    """Root of every exception that ctxjobs raises."""

    template: ClassVar[str] = "{message}"

    def __str__(self) -> str:
        return self.template.format(**self._facts())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._facts().values())

    def _facts(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(eq=False, repr=False)
class CallerError(CtxJobsError):
    """The code that called ctxjobs has to change."""


@dataclass(eq=False, repr=False)
class StoredDataError(CtxJobsError):
    """What lies in Redis is not what ctxjobs wrote, or no longer fits."""


@dataclass(eq=False, repr=False)
class DeploymentError(CtxJobsError):
    """The machine, its configuration or its network has to change."""
