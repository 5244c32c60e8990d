"""Apps and settings that cannot be used. Imports the families only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ctxjobs.errors.root import CallerError


@dataclass(eq=False, repr=False)
class ConfigError(CallerError, ValueError):
    """A setting has a value that cannot be used.

    Attributes:
        key: Name of the setting.
        reason: What is wrong with it, and what would be right.
    """

    key: str
    reason: str
    template: ClassVar[str] = "{key}: {reason}"


@dataclass(eq=False, repr=False)
class NoSecretKeyError(ConfigError):
    """An app without a secret key was bound; there is no unsigned mode."""


@dataclass(eq=False, repr=False)
class AppIdError(ConfigError):
    """An app's id is missing, malformed or taken by another app."""


@dataclass(eq=False, repr=False)
class UnsupportedAppError(CallerError, TypeError):
    """The object given as an app belongs to no framework that ctxjobs knows.

    Attributes:
        type_name: Its type.
    """

    type_name: str
    template: ClassVar[str] = (
        "{type_name} is not an app that ctxjobs knows. Give it a ctxjobs.App or a flask.Flask object."
    )
