"""The apps of the ctxjobs peer: a Flask app whose jobs carry a whole request, a native one with an app context.

``BENCH_CONTEXT`` says which one is used: ``flask`` (default) or ``native``.
"""

import os

import common

import ctxjobs

SETTINGS = {
    "SECRET_KEY": "bench",
    "CTXJOBS_REDIS_URL": common.URL,
    "CTXJOBS_QUEUE": common.QUEUE,
    "CTXJOBS_APP_ID": "bench",
}

jobs = ctxjobs.CtxJobs()

#: The twelve headers of a browser's request; all of them travel.
HEADERS = {
    "Host": "shop.example.com",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "de-DE,de;q=0.8,en-US;q=0.5,en;q=0.3",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://shop.example.com/cart",
    "Origin": "https://shop.example.com",
    "X-Request-ID": "6f2c1f0e9b0d4d52a5c4a4b0b7f0c0de",
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "shop.example.com",
    "X-Tenant": "acme",
}


@jobs.job
def noop(a, b):
    return common.noop(a, b)


def flask_app():
    from flask import Flask

    app = Flask(__name__)
    app.config.update(
        SETTINGS, CTXJOBS_CAPTURE=ctxjobs.Capture(headers=(*ctxjobs.SAFE_HEADERS, "Origin", "X-Tenant"))
    )
    app.add_url_rule("/orders/<int:order_id>", "order", lambda order_id: "", methods=["POST"])
    jobs.init_app(app)
    return app


def native_app():
    app = ctxjobs.App(__name__)
    app.config.update(SETTINGS)
    jobs.init_app(app)
    return app


def request_context(app):
    """A request that is answered right now, with six names on ``g``."""
    if os.environ.get("BENCH_CONTEXT") == "native":
        return app.app_context()
    return app.test_request_context("/orders/17?coupon=SPRING", method="POST", headers=HEADERS)


def fill_g():
    if os.environ.get("BENCH_CONTEXT") == "native":
        return
    from flask import g

    g.tenant, g.user_id, g.locale = "acme", 4711, "de_DE"
    g.trace_id, g.started, g.flags = "6f2c1f0e9b0d4d52", 1764300000.25, ["beta", "dark"]


app = native_app() if os.environ.get("BENCH_CONTEXT") == "native" else flask_app()
