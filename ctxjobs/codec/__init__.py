"""Values of a program <-> tagged, JSON-shaped primitives: what can travel with a job, and how.

Pure: values in, values out. The package may import the standard library, msgspec and
:mod:`ctxjobs.errors`; it must not know contexts, jobs, Redis or any framework, and never imports a
module that data names. Its files, ground up: ``forms`` (the wire form, limits, paths), ``scalars``
(values that hold no others), ``advice`` (what to do with a value that cannot travel), ``encoding``,
``decoding``, ``registration``, ``wire`` (JSON).

The wire form: ``None bool int float str``, lists, and dicts with plain string keys stand for
themselves; everything else is ``{"~": tag, "v": payload}``. A dict of the user's that has a key
which starts with "~" is itself tagged (as pairs), so that data can never become a tag. Exactly
these types pass, not their subclasses: a subclass would come back as something else. A registered
model is written as ``{"~": "ref", "v": [name, key]}``; this package never loads what that stands for.
"""

from __future__ import annotations

from ctxjobs.codec.decoding import decode
from ctxjobs.codec.encoding import encode
from ctxjobs.codec.forms import MAX_DEPTH, Primitive, Reference
from ctxjobs.codec.registration import register, register_reference, register_type
from ctxjobs.codec.wire import MAX_JSON_BYTES, MAX_JSON_LEVELS, dumps, loads

__all__ = [
    "MAX_DEPTH",
    "MAX_JSON_BYTES",
    "MAX_JSON_LEVELS",
    "Primitive",
    "Reference",
    "decode",
    "dumps",
    "encode",
    "loads",
    "register",
    "register_reference",
    "register_type",
]
