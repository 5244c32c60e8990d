"""Inputs that stand for more than they weigh, read in a process of their own.

``python -m support.hostile`` reads each, and prints what came of it, as a line of JSON.
"""

from __future__ import annotations

import functools
import json
import pickle
import re
import resource
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import redis

from ctxjobs import ContextJob, codec
from ctxjobs.envelope import Binding, Keyring, unseal
from ctxjobs.errors import CtxJobsError
from ctxjobs.rqcompat import plain_function
from ctxjobs.serializer import MAX_BYTES, ContextSerializer, load_call

#: For the machine's sake: more than any input may take.
ROOM_BYTES = 2**31
#: Room for 67 million things, of which there is one.
PUT = b"r\0\0\0\4"
HASH_MODULUS = 2**61 - 1
BINDING = Binding("j", "", "", "", ("", "", ""), "")


@functools.cache
def deflated() -> bytes:
    """300 MiB of nothing, compressed."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(300)) + packer.flush()


def colliding_keys() -> bytes:
    keys = [{"~": "int", "v": hex(HASH_MODULUS * number)} for number in range(1, 200_000)]
    return pickle.dumps({"~": "set", "v": keys}, 5)


def colliding_numbers() -> bytes:
    """A dict in a call, such as RQ itself writes; the numbers are its keys."""
    numbers = (HASH_MODULUS * number for number in range(1, 200_000))
    keys = b"".join(b"\x8a\x0b" + number.to_bytes(11, "little") + b"N" for number in numbers)
    return b"\x80\x05(\x8c\x01fN]}(" + keys + b"ut."


def shared_lists() -> bytes:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]
    return pickle.dumps(value, 5)


def framed(body: bytes) -> Any:
    """*body*, in a frame that ends before it does: all such frames, one after the other."""
    for size in range(len(body)):
        with suppress(CtxJobsError):
            loads(b"\x80\x05\x95" + size.to_bytes(8, "little") + body)
    return b"N."


def restore(**fields: bytes) -> None:
    job = ContextJob("j", connection=redis.Redis())
    job.restore({"ctxjobs": b"1:x:01234567:{}.x", **fields})
    job.restore(fields)


def open_envelope(envelope: bytes) -> None:
    unseal(envelope, binding=BINDING, keyrings={"x": Keyring(["k"])})


loads = ContextSerializer.loads
INPUTS: dict[str, Callable[[], Any]] = {
    "empty lists": lambda: loads(b"\x80\x05(" + b"]" * (MAX_BYTES - 5) + b"t."),
    "lists in lists": lambda: loads(
        b"\x80\x05" + b"]" * (MAX_BYTES // 2 - 2) + b"a" * (MAX_BYTES // 2 - 2) + b"."
    ),
    "as many lists as are read": lambda: loads(b"\x80\x05](" + b"]" * 499_000 + b"e."),
    "a call of empty dicts": lambda: load_call(b"\x80\x05(" + b"}" * (MAX_BYTES - 5) + b"t."),
    "a memo of nothing": lambda: loads(b"\x80\x05](" + b"N\x94" * (MAX_BYTES // 16) + b"e."),
    # The frame ends inside of the first number: the rest of it is dropped, and PUT is an opcode.
    "an opcode behind a frame": lambda: loads(framed(b"](G" + bytes(8) + b"G" + PUT + b"NNNe.")),
    "plain keys that collide": lambda: plain_function(colliding_numbers()),
    "a plain call that puts": lambda: plain_function(b"N" + PUT + b"."),
    "a plain call of bytes": lambda: plain_function(b"\x96" + (2**30).to_bytes(8, "little") + b"."),
    "lists that are shared": lambda: loads(shared_lists()),
    "keys that collide": lambda: loads(colliding_keys()),
    "a long number": lambda: loads(pickle.dumps({"~": "int", "v": "0x" + "f" * (MAX_BYTES - 100)}, 5)),
    "deep JSON": lambda: codec.loads(b"[" * codec.MAX_JSON_BYTES),
    "wide JSON": lambda: codec.decode(codec.loads(b"[" + b"[]," * (codec.MAX_JSON_BYTES // 3 - 2) + b"[]]")),
    "a compressed call": lambda: restore(data=deflated()),
    "a compressed traceback": lambda: restore(exc_info=deflated()),
    "a huge envelope": lambda: open_envelope(b"1:x:01234567:" + b"{" * (64 << 20) + b".x"),
}


def memory_kb(name: str) -> int:
    """A line of what Linux says about this process: ``VmHWM``, the most that it had, or ``VmSize``."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{name}:\s+(\d+) kB", status)[0])


def read(name: str, before_kb: int) -> dict[str, Any]:
    """Read one input; the memory is the most that was taken until now, by it or by one before it."""
    start = time.process_time()
    try:
        INPUTS[name]()
        outcome = "value"
    except (CtxJobsError, MemoryError) as error:
        outcome = type(error).__name__
    seconds = time.process_time() - start
    return {"name": name, "outcome": outcome, "seconds": seconds, "kb": memory_kb("VmHWM") - before_kb}


def main() -> None:
    limit = memory_kb("VmSize") * 1024 + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before_kb = memory_kb("VmHWM")
    for name in INPUTS:
        print(json.dumps(read(name, before_kb)), flush=True)


if __name__ == "__main__":
    main()
