"""What an app is before it does anything: its name, its configuration, its logger.

Imports nothing of this package.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

#: Every key that the native system reads, with Flask's default.
DEFAULT_CONFIG: dict[str, Any] = {
    "TESTING": False,
    "DEBUG": False,
    "SECRET_KEY": None,
    "SECRET_KEY_FALLBACKS": None,
    "PROPAGATE_EXCEPTIONS": None,  # None: while testing or debugging
    "SERVER_NAME": None,
    "APPLICATION_ROOT": "/",
    "PREFERRED_URL_SCHEME": "http",
    "TRUSTED_HOSTS": None,
    "SESSION_COOKIE_NAME": "session",
    "SESSION_COOKIE_DOMAIN": None,
    "SESSION_COOKIE_PATH": None,
    "SESSION_COOKIE_HTTPONLY": True,
    "SESSION_COOKIE_SECURE": False,
    "SESSION_COOKIE_PARTITIONED": False,
    "SESSION_COOKIE_SAMESITE": None,
    "SESSION_REFRESH_EACH_REQUEST": True,
    "PERMANENT_SESSION_LIFETIME": timedelta(days=31),  # or a number of seconds
    "MAX_CONTENT_LENGTH": None,  # bytes
    "MAX_FORM_MEMORY_SIZE": 500_000,  # bytes
    "MAX_FORM_PARTS": 1_000,
    "MAX_COOKIE_SIZE": 4093,  # bytes
}


def _config_property(key: str, doc: str) -> Any:
    def read(app: Configured) -> Any:
        return app.config[key]

    def write(app: Configured, value: Any) -> None:
        app.config[key] = value

    return property(read, write, doc=doc)


class Configured:
    """An app's name and configuration.

    Args:
        import_name: The module's ``__name__``.

    Attributes:
        import_name: As given.
        config: A plain dict, with :data:`DEFAULT_CONFIG` in it: ``config.update()`` takes another one,
            keywords or ``vars(module)``. Where settings come from (files, the environment) is the
            user's choice, so Flask's ``from_...`` methods are left out.
        extensions: State of extensions, by name.
    """

    secret_key: str | bytes | None = _config_property("SECRET_KEY", "The key that signs sessions.")
    testing: bool = _config_property("TESTING", "Whether errors reach the test instead of becoming a 500.")
    debug: bool = _config_property("DEBUG", "Whether errors are shown rather than hidden.")

    def __init__(self, import_name: str) -> None:
        self.import_name = import_name
        self.config: dict[str, Any] = dict(DEFAULT_CONFIG)
        self.extensions: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    @cached_property
    def name(self) -> str:
        """The import name; for a script, the name of its file."""
        path = getattr(sys.modules["__main__"], "__file__", None)
        return Path(path).stem if self.import_name == "__main__" and path else self.import_name

    @cached_property
    def logger(self) -> logging.Logger:
        """The logger of the app's name; it has no handler of its own."""
        logger = logging.getLogger(self.name)
        if self.debug and not logger.level:
            logger.setLevel(logging.DEBUG)
        return logger

    @property
    def permanent_session_lifetime(self) -> timedelta:
        """How long a permanent session lives; may be set to a number of seconds."""
        value = self.config["PERMANENT_SESSION_LIFETIME"]
        return value if isinstance(value, timedelta) else timedelta(seconds=value)

    @permanent_session_lifetime.setter
    def permanent_session_lifetime(self, value: timedelta | float) -> None:
        self.config["PERMANENT_SESSION_LIFETIME"] = value
