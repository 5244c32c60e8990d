"""The public names of the context system: what a user may import, call and configure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ctxjobs

ROOT = Path(ctxjobs.__file__).parents[1]

NAMES = """
    App Request Response current_app g request session app_ctx request_ctx has_app_context
    has_request_context after_this_request copy_current_request_context stream_with_context url_for flash
    get_flashed_messages SessionInterface SecureCookieSessionInterface signals EnvironBuilder AppClient
    AppGroup ScriptInfo with_appcontext
"""

ATTRIBUTES = """
    name config secret_key testing debug extensions logger url_map view_functions request_class
    response_class app_ctx_globals_class session_interface permanent_session_lifetime
    url_build_error_handlers cli
"""

METHODS = """
    wsgi_app __call__ route get post put patch delete add_url_rule before_request after_request
    teardown_request teardown_appcontext errorhandler url_value_preprocessor url_defaults app_context
    request_context test_request_context test_client test_cli_runner full_dispatch_request make_response
    url_for handle_url_build_error ensure_sync
"""

CONFIG_KEYS = """
    TESTING DEBUG SECRET_KEY SECRET_KEY_FALLBACKS PROPAGATE_EXCEPTIONS SERVER_NAME APPLICATION_ROOT
    PREFERRED_URL_SCHEME TRUSTED_HOSTS SESSION_COOKIE_NAME SESSION_COOKIE_DOMAIN SESSION_COOKIE_PATH
    SESSION_COOKIE_HTTPONLY SESSION_COOKIE_SECURE SESSION_COOKIE_SAMESITE SESSION_COOKIE_PARTITIONED
    SESSION_REFRESH_EACH_REQUEST PERMANENT_SESSION_LIFETIME MAX_CONTENT_LENGTH MAX_FORM_MEMORY_SIZE
    MAX_FORM_PARTS MAX_COOKIE_SIZE
"""

SIGNALS = """
    request_started request_finished request_tearing_down got_request_exception appcontext_pushed
    appcontext_tearing_down appcontext_popped message_flashed
"""


@pytest.mark.parametrize("name", NAMES.split())
def test_name_is_public(name: str) -> None:
    """Each name is an attribute of the package, and stands in __all__."""
    assert getattr(ctxjobs, name) is not None
    assert name in ctxjobs.__all__


def test_unknown_name() -> None:
    """A name that the package does not have is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="module 'ctxjobs' has no attribute 'nothing'"):
        _ = ctxjobs.nothing


@pytest.mark.parametrize("name", ATTRIBUTES.split() + METHODS.split())
def test_app_has_what_flasks_has(webs: Any, name: str) -> None:
    """Each attribute and method of an app is there, and is callable if and only if Flask's is."""
    found = [getattr(web.App("shop"), name) for web in webs]
    assert callable(found[0]) is callable(found[1])


@pytest.mark.parametrize("key", CONFIG_KEYS.split())
def test_config_has_the_key(native: Any, key: str) -> None:
    """Each key is in a new app's configuration."""
    assert key in native.App("shop").config


def test_configuration_is_each_apps_own(native: Any) -> None:
    """A change of one app's configuration, or of its tables, is not seen by another app."""
    one, two = native.App("one"), native.App("two")
    one.config["TESTING"] = one.extensions["x"] = one.view_functions["x"] = True
    assert (two.testing, two.extensions, two.view_functions) == (False, {}, {})


@pytest.mark.parametrize("name", ["secret_key", "testing", "debug"])
def test_attribute_is_the_key(native: Any, name: str) -> None:
    """The attributes of configuration keys read and write them."""
    app = native.App("shop")
    setattr(app, name, "x")
    assert (app.config[name.upper()], getattr(app, name)) == ("x", "x")


@pytest.mark.parametrize("name", SIGNALS.split())
def test_signals_have_flasks_names(webs: Any, name: str) -> None:
    """Each signal is there under Flask's name."""
    assert len({getattr(web.signals, name).name for web in webs}) == 1


@pytest.mark.parametrize("module", ["flask", "asgiref", "click", "ctxjobs.native.testing"])
def test_import_loads_little(module: str) -> None:
    """Importing the context system loads neither Flask, nor asgiref, nor what is for tests or a terminal."""
    code = f"import sys, ctxjobs.native.app, ctxjobs.native.helpers; print({module!r} in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "False"
