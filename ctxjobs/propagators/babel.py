"""The locale and the time zone of Flask-Babel: travel by their names.

May import the floor of hosts and below; never Flask-Babel, which is loaded wherever an app has set
it up.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

from ctxjobs.hosts import Active, Host


class BabelPropagator:
    """What ``get_locale()`` and ``get_timezone()`` of Flask-Babel return.

    The selectors are not asked again in the job. Outside of a request, where a selector often cannot
    answer, only what is settled already travels, for example by ``force_locale``.
    """

    name = "babel"
    essential = True

    def wanted(self, host: Host) -> bool:
        """Whether Flask-Babel was set up for the app."""
        return "babel" in getattr(host.app, "extensions", ()) and "flask_babel" in sys.modules

    def capture(self, active: Active) -> Any:
        """The names of locale and time zone; None for one that is not settled, or has no name."""
        locale, tzinfo = _selected() if sys.modules["flask"].has_request_context() else _settled(active)
        zone = getattr(tzinfo, "zone", None) or getattr(tzinfo, "key", None)  # pytz, zoneinfo
        return [locale and str(locale), zone] if locale or zone else None

    def restore(self, value: Any, active: Active) -> None:
        """Settle both on the job's ``g``, where Flask-Babel keeps them; they go with it."""
        locale, zone = value
        babel = sys.modules["babel"]
        settled = _namespace(active)
        if locale:
            settled.babel_locale = babel.Locale.parse(locale)
        if zone:
            settled.babel_tzinfo = babel.dates.get_timezone(zone)
        active.app_context.g._flask_babel = settled  # noqa: SLF001 - Flask-Babel has no other way in


def _selected() -> tuple[Any, Any]:
    flask_babel = sys.modules["flask_babel"]
    return flask_babel.get_locale(), flask_babel.get_timezone()


def _settled(active: Active) -> tuple[Any, Any]:
    settled = _namespace(active)
    return getattr(settled, "babel_locale", None), getattr(settled, "babel_tzinfo", None)


def _namespace(active: Active) -> Any:
    return getattr(active.app_context.g, "_flask_babel", None) or SimpleNamespace()
