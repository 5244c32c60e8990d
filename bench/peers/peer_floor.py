"""No job system at all: what redis-py, or a bare socket, can do on this machine."""

import os
import socket
import sys

from common import HOST, PORT, noop

PACKAGES = ["redis", "hiredis"]
VARIANTS = {
    "floor-loop": {
        "cmd": ["python", "peer_floor.py", "loop"],
        "n": 5000,
        "w1": True,
        "note": "redis-py: BLMOVE, noop, LREM (2 round trips)",
    },
    "floor-1rt": {
        "w3": False,
        "cmd": ["python", "peer_floor.py", "onert"],
        "n": 5000,
        "note": "redis-py: one pipeline per job, LREM of the last + LMOVE of the next",
    },
    "floor-pipe100": {
        "w3": False,
        "cmd": ["python", "peer_floor.py", "pipe"],
        "n": 5000,
        "note": "redis-py: pipelines of 100 LMOVE, 100 noop, 100 LREM",
    },
    "floor-raw": {
        "cmd": ["python", "peer_floor.py", "raw"],
        "n": 5000,
        "w1": True,
        "env": {"BENCH_RAW": "1"},
        "note": "bare socket + hiredis.Reader: BLMOVE, noop, LREM",
    },
    "floor-raw-pipe100": {
        "w3": False,
        "cmd": ["python", "peer_floor.py", "rawpipe"],
        "n": 5000,
        "env": {"BENCH_RAW": "1"},
        "note": "bare socket + hiredis.Reader: 100 LMOVE, noop, LREM at a time",
    },
}
BULK = "pipeline of 100 LPUSH"
Q, A = b"bench:q", b"bench:active"
PAD = b" " + b"x" * 100


class Raw:
    """Writes commands and reads replies with nothing in between."""

    def __init__(self):
        import hiredis

        self.pack = hiredis.pack_command
        self.reader = hiredis.Reader()
        self.sock = socket.create_connection((HOST, PORT))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reply(self):
        r = self.reader.gets()
        while r is False:
            self.reader.feed(self.sock.recv(65536))
            r = self.reader.gets()
        return r

    def call(self, *cmd):
        self.sock.sendall(self.pack(cmd))
        return self.reply()

    def many(self, cmds):
        self.sock.sendall(b"".join(map(self.pack, cmds)))
        return [self.reply() for _ in cmds]


def client():
    import redis

    return redis.Redis(host=HOST, port=PORT)


if os.environ.get("BENCH_RAW"):
    _raw = None

    def connect():
        global _raw
        _raw = Raw()

    def enqueue(i):
        _raw.call(b"LPUSH", Q, b"%d" % i + PAD)

    def bulk(lo, hi):
        for j in range(lo, hi, 100):
            _raw.many([(b"LPUSH", Q, b"%d" % i + PAD) for i in range(j, min(j + 100, hi))])
else:
    _r = None

    def connect():
        global _r
        _r = client()

    def enqueue(i):
        _r.lpush(Q, b"%d" % i + PAD)

    def bulk(lo, hi):
        for j in range(lo, hi, 100):
            p = _r.pipeline(transaction=False)
            for i in range(j, min(j + 100, hi)):
                p.lpush(Q, b"%d" % i + PAD)
            p.execute()


def do(payload):
    i = int(payload.split(b" ", 1)[0])
    noop(i, i + 1)


def loop():
    r = client()
    while True:
        m = r.blmove(Q, A, 0, "RIGHT", "LEFT")
        do(m)
        r.lrem(A, 1, m)


def onert():
    r = client()
    m = None
    while True:
        if m is None:
            m = r.blmove(Q, A, 0, "RIGHT", "LEFT")
        do(m)
        p = r.pipeline(transaction=False)
        p.lrem(A, 1, m)
        p.lmove(Q, A, "RIGHT", "LEFT")
        m = p.execute()[1]


def pipe():
    r = client()
    while True:
        got = [r.blmove(Q, A, 0, "RIGHT", "LEFT")]
        p = r.pipeline(transaction=False)
        for _ in range(99):
            p.lmove(Q, A, "RIGHT", "LEFT")
        got += [m for m in p.execute() if m is not None]
        for m in got:
            do(m)
        p = r.pipeline(transaction=False)
        for m in got:
            p.lrem(A, -1, m)
        p.execute()


def raw():
    c = Raw()
    while True:
        m = c.call(b"BLMOVE", Q, A, b"RIGHT", b"LEFT", b"0")
        do(m)
        c.call(b"LREM", A, b"1", m)


def rawpipe():
    c = Raw()
    while True:
        got = [c.call(b"BLMOVE", Q, A, b"RIGHT", b"LEFT", b"0")]
        got += [m for m in c.many([(b"LMOVE", Q, A, b"RIGHT", b"LEFT")] * 99) if m is not None]
        for m in got:
            do(m)
        c.many([(b"LREM", A, b"-1", m) for m in got])


if __name__ == "__main__":
    {"loop": loop, "onert": onert, "pipe": pipe, "raw": raw, "rawpipe": rawpipe}[sys.argv[1]]()
