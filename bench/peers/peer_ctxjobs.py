"""ctxjobs. Each job carries a signed snapshot of a Flask request (12 headers, 6 names on g); results are kept (500 s).

Jobs are enqueued inside that request, and run inside of one that is rebuilt for each of them.
"""

PACKAGES = ["ctxjobs", "rq", "redis", "hiredis", "flask", "werkzeug"]
URL = "redis://127.0.0.1:{port}/0"
NATIVE = {"BENCH_CONTEXT": "native"}


def _worker(*more, log="WARNING"):
    return [
        "ctxjobs",
        "worker",
        "--app",
        "ctxjobs_apps:app",
        "--url",
        URL,
        "--logging-level",
        log,
        *more,
        "bench",
    ]


VARIANTS = {
    "ctxjobs-c1": {
        "cmd": _worker(),
        "n": 10000,
        "w1": True,
        "note": "1 child; a whole Flask request with each job",
    },
    "ctxjobs-c2": {"cores": 2, "cmd": _worker("-c", "2"), "n": 10000, "note": "2 children, the same"},
    "ctxjobs-c1-log": {
        "cmd": _worker(log="INFO"),
        "n": 10000,
        "w3": False,
        "note": "1 child, with a log line per job (default)",
    },
    "ctxjobs-native-c1": {
        "cmd": _worker(),
        "n": 10000,
        "w1": True,
        "env": NATIVE,
        "note": "1 child; a native app, an application context with each job",
    },
    "ctxjobs-native-c2": {
        "cores": 2,
        "cmd": _worker("-c", "2"),
        "n": 10000,
        "env": NATIVE,
        "note": "2 children, the same",
    },
}
BULK = "noop.enqueue_many, 1000 per call"
_contexts = []


def connect():
    import ctxjobs_apps

    context = ctxjobs_apps.request_context(ctxjobs_apps.app)
    context.push()
    ctxjobs_apps.fill_g()
    _contexts.append(context)


def disconnect():
    _contexts.pop().pop()


def enqueue(i):
    from ctxjobs_apps import noop

    noop.enqueue(i, i + 1)


def bulk(lo, hi):
    from ctxjobs_apps import noop

    for j in range(lo, hi, 1000):
        noop.enqueue_many([(i, i + 1) for i in range(j, min(j + 1000, hi))])
