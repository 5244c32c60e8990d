"""Which function a job calls: found by the caller at enqueue, and by the worker before it runs.

The allow-list at work: only what is under ``@job``, under its own name, is found. May import the
floors of the registry and of RQ's compatibility.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from ctxjobs import rqcompat
from ctxjobs.errors import ArgumentsError, ConfigError, NotAJobError, UnknownFunctionError
from ctxjobs.registry import RegisteredFunction, registry, short_traceback


def find_function(func: Any) -> RegisteredFunction:
    """The job function that *func* is, or names.

    Raises:
        NotAJobError: It is none.
    """
    path = func if isinstance(func, str) else getattr(func, "path", None)
    if str(path).startswith("__main__."):
        advice = "Move it to a module that both the web process and the worker import."
        raise NotAJobError(str(path), "it is defined in the script that runs", advice)
    if isinstance(func, str):
        return registry.functions.get(func) or _import_by_name(func)
    function = registry.functions.get(str(path))
    if function is None or function is not func:
        reason = (None if path else rqcompat.why_not_importable(func)) or "it is not under @job"
        advice = "Put @job on a module-level function and pass ids to it; use rq.Queue for plain RQ jobs."
        raise NotAJobError(_name_of(func), reason, advice)
    return function


def _name_of(func: Any) -> str:
    """What *func* is called in a message; never its repr, which shows the arguments of a partial."""
    return str(getattr(func, "__qualname__", type(func).__qualname__))


def check_call(function: RegisteredFunction, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Find out at enqueue what would only fail in the worker.

    Raises:
        ArgumentsError: The function does not take these arguments.
    """
    if not kwargs and len(args) in function.positional:
        return  # measured: bind() takes 3 us
    try:
        function.signature.bind(*args, **kwargs)
    except TypeError as exc:
        raise ArgumentsError(function.path, str(exc)) from exc


def positional_counts(signature: Signature) -> range:
    """With how many positional arguments, and no others, a function with *signature* can be called."""
    least = most = 0
    for parameter in signature.parameters.values():
        required = parameter.default is Parameter.empty
        if parameter.kind is Parameter.VAR_POSITIONAL:
            most = sys.maxsize - 1
        elif parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD):
            least, most = least + required, most + 1
        elif parameter.kind is Parameter.KEYWORD_ONLY and required:
            return range(0)
    return range(least, most + 1)


def call_arguments(call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of one of the calls that ``enqueue_many`` was given.

    Raises:
        ConfigError: It is neither a tuple nor a mapping.
    """
    if isinstance(call, Mapping):
        return (), dict(call)
    if isinstance(call, tuple | list):
        return tuple(call), {}
    wanted = "for each job a tuple of its positional arguments, or a mapping of its keyword arguments"
    raise ConfigError("enqueue_many(...)", f"expected {wanted}; got {type(call).__name__}.")


def check_callback(name: str, callback: Any) -> None:
    """Find out at enqueue that a worker could not import *callback*, RQ's Callback or what RQ takes for one.

    Raises:
        NotAJobError: It is a lambda, a method or a nested function.
    """
    func = getattr(callback, "func", callback)
    if func is None or isinstance(func, str):
        return
    if reason := rqcompat.why_not_importable(func):
        path = f"{name}={_name_of(func)}"
        raise NotAJobError(path, reason, "Give a function on the level of its module, or its dotted name.")


def _import_by_name(path: str) -> RegisteredFunction:
    advice = "Put @job on a module-level function and enqueue it by that name."
    try:
        found = rqcompat.import_path(path)
    except Exception as exc:
        raise NotAJobError(path, f"it cannot be imported ({exc})", advice) from exc
    function = registry.functions.get(path)
    if function is None or function is not found:
        raise NotAJobError(path, "it is not under @job", advice)
    return function


def import_function(job_id: str, path: str) -> RegisteredFunction:
    """The job function *path*, for the worker: imported if need be, and only if it is on the list."""
    advice = "Deploy the same code to the worker as to the web process, then 'rq requeue' the job."
    try:
        found = rqcompat.import_path(path)
    except (Exception, SystemExit) as exc:
        raise UnknownFunctionError(
            job_id, f"{path} cannot be imported: {short_traceback(exc)}", advice
        ) from exc
    function = registry.functions.get(path)
    if function is None or function is not found:
        reason = f"{path} is not a job function"
        raise UnknownFunctionError(job_id, reason, "Put @job on it, as the outermost decorator.")
    return function
