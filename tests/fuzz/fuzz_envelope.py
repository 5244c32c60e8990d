"""Coverage-guided fuzzing of all that reads Redis: ``tests/fuzz/fuzz_envelope.py [SECONDS [TARGET...]]``.

Needs the extra ``fuzz`` (atheris, on Linux) and ``PYTHONPATH=tests``. Each target runs for so many seconds,
5 by default, in a process of its own, from the samples of ``tests/wire``. Exit code 0: only errors of ctxjobs
came out, in time. On a finding, the input is written to the current folder, the traceback is printed, and
the exit code is not 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["ctxjobs", "itsdangerous"]):
    from support import wire_app

    from ctxjobs import codec
    from ctxjobs.envelope import Binding, Keyring, digest, unseal
    from ctxjobs.errors import CtxJobsError
    from ctxjobs.serializer import ContextSerializer, bounded_inflate, load_call
    from ctxjobs.snapshot import Snapshot

SAMPLES = Path(__file__).parents[1] / "wire"
KEYRING = Keyring([wire_app.SECRET_KEY])
#: The job that one of the samples belongs to: that one opens, and what is made of it gets as far as that.
JOB = json.loads((SAMPLES / "v1" / "native-request.json").read_text("utf-8"))
BINDING = Binding(
    job_id=JOB["job_id"],
    created_at=JOB["hash"]["created_at"],
    queue=JOB["hash"]["origin"],
    data_digest=digest(bounded_inflate(bytes.fromhex(JOB["hash"]["data"]["hex"]))),
    callbacks=("", "", ""),
    webhooks_digest=digest(b""),
)
#: The most that one input may take; it is far below a second for all that were found so far.
TIMEOUT_S = 10
MEMORY_MB = 1024


# --- Targets ---------------------------------------------------------------------------------


def as_it_lies_in_redis(data: bytes) -> None:
    open_envelope(data)


def signed_by_the_right_key(data: bytes) -> None:
    """The signature keeps the fuzzer out of what is behind it: so sign what it makes up."""
    open_envelope(KEYRING.sign(data))


def open_envelope(envelope: bytes) -> None:
    unseal(envelope, binding=BINDING, keyrings={"wire-native": KEYRING})


def decode(data: bytes) -> None:
    codec.decode(codec.loads(data))


def read_snapshot(data: bytes) -> None:
    Snapshot.from_primitive(codec.loads(data))


def read_call(data: bytes) -> None:
    load_call(bounded_inflate(data))


def read_value(data: bytes) -> None:
    ContextSerializer.loads(data)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "envelope": as_it_lies_in_redis,
    "signed": signed_by_the_right_key,
    "codec": decode,
    "snapshot": read_snapshot,
    "call": read_call,
    "value": read_value,
}


# --- Seeds -----------------------------------------------------------------------------------


def seeds() -> Iterator[bytes]:
    """What each target may start from, all together: each passes over what is not for it."""
    for path in sorted(SAMPLES.glob("v*/*.json")):
        job = json.loads(path.read_text("utf-8"))["hash"]
        envelope = job["ctxjobs"].encode()
        message = KEYRING.verify(envelope)
        payload = message.split(b":", 3)[3]
        snapshot: Any = json.loads(payload)["snapshot"]
        yield from (envelope, message, payload, json.dumps(snapshot).encode())
        yield json.dumps(snapshot.get("g", {})).encode()
        data = bytes.fromhex(job["data"]["hex"])
        yield from (data, bounded_inflate(data))


# --- Running ---------------------------------------------------------------------------------


def fuzz(target: str, options: list[str]) -> None:
    """Fuzz one target in this process, which ends here."""

    def one_input(data: bytes) -> None:
        try:
            TARGETS[target](data)
        except CtxJobsError:
            return

    atheris.Setup([sys.argv[0], *options], one_input)
    atheris.Fuzz()


def main(seconds: str = "5", *targets: str) -> int:
    """Fuzz the targets, all by default, one after the other; the first exit code that is not 0, else 0."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        for target in targets or TARGETS:
            print(f"--- {target}", flush=True)
            limits = (f"-timeout={TIMEOUT_S}", f"-rss_limit_mb={MEMORY_MB}", "-max_len=20000")
            options = (f"-max_total_time={seconds}", *limits, "-verbosity=0", "-print_final_stats=1", corpus)
            command = [sys.executable, __file__, "--one", target, *options]
            if code := subprocess.run(command, check=False).returncode:
                return code
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2], sys.argv[3:])
    sys.exit(main(*sys.argv[1:]))
