"""The locale and the time zone of Flask-Babel: travel by their names.

May import :mod:`ctxjobs.propagators.base`, hosts and below; never Flask-Babel, which is loaded
wherever an app has set it up.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from ctxjobs.errors import ConfigError
from ctxjobs.hosts import Active, Host
from ctxjobs.propagators.base import Draft


class BabelPropagator:
    """What ``get_locale()`` and ``get_timezone()`` of Flask-Babel return.

    The selectors are not asked again in the job. Outside of a request, where a selector often cannot
    answer, only what is settled already travels, for example by ``force_locale``.
    """

    name = "babel"
    essential = True
    override_names = ("locale", "timezone")

    def wanted(self, host: Host) -> bool:
        """Whether Flask-Babel was set up for the app."""
        return "babel" in getattr(host.app, "extensions", ()) and "flask_babel" in sys.modules

    def capture(self, active: Active) -> Any:
        """The names of locale and time zone; None for one that is not settled, or has no name."""
        locale, tzinfo = _selected() if sys.modules["flask"].has_request_context() else _settled(active)
        return _named(locale and str(locale), _zone_name(tzinfo) or None)

    def override(self, values: Mapping[str, Any], captured: Any, draft: Draft) -> Any:
        """The names that were said, in place of those that were captured.

        Raises:
            ConfigError: Babel knows no such locale or time zone.
        """
        babel = sys.modules["babel"]
        locale, zone = captured or (None, None)
        if "locale" in values:
            locale = values["locale"] and str(values["locale"])
            _check("locale", locale, babel.Locale.parse)
        if "timezone" in values:
            zone = values["timezone"] and _zone_name(values["timezone"])
            _check("timezone", zone, babel.dates.get_timezone)
        return _named(locale, zone)

    def clear(self, active: Active) -> None:
        """Settle the app's defaults; the selectors are not asked."""
        defaults = active.app_context.app.extensions["babel"]
        self.restore([str(defaults.default_locale), str(defaults.default_timezone)], active)

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


def _zone_name(zone: Any) -> str | None:
    """The name of a time zone, which pytz and zoneinfo keep under different names; "" if it has none."""
    return zone if isinstance(zone, str) else getattr(zone, "zone", None) or getattr(zone, "key", "")


def _named(locale: str | None, zone: str | None) -> Any:
    return [locale, zone] if locale or zone else None


def _check(what: str, name: str | None, parse: Callable[[str], Any]) -> None:
    if name is None:
        return
    try:
        parse(name)
    except (LookupError, ValueError, sys.modules["babel"].UnknownLocaleError) as exc:
        advice = "give a name such as 'de_AT' or 'Europe/Vienna'"
        raise ConfigError(f"Override({what}=...)", f"Babel knows none of that name; {advice}.") from exc


def _selected() -> tuple[Any, Any]:
    flask_babel = sys.modules["flask_babel"]
    return flask_babel.get_locale(), flask_babel.get_timezone()


def _settled(active: Active) -> tuple[Any, Any]:
    settled = _namespace(active)
    return getattr(settled, "babel_locale", None), getattr(settled, "babel_tzinfo", None)


def _namespace(active: Active) -> Any:
    return getattr(active.app_context.g, "_flask_babel", None) or SimpleNamespace()
