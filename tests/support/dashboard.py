"""rq-dashboard as a Flask app, and served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import flask
import rq_dashboard
import rq_dashboard.web
from werkzeug.serving import make_server


def dashboard_app(redis_url: str) -> flask.Flask:
    """The app, as rq-dashboard's documentation makes it."""
    app = flask.Flask(__name__)
    app.config.from_object(rq_dashboard.default_settings)
    app.config["RQ_DASHBOARD_REDIS_URL"] = redis_url
    rq_dashboard.web.setup_rq_connection(app)
    app.register_blueprint(rq_dashboard.blueprint, url_prefix="/rq")
    return app


@contextmanager
def served(app: flask.Flask) -> Iterator[str]:
    """Serve *app* for the length of the block; its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
