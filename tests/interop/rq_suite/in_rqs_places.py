"""Puts our worker in the places of RQ's, and a private Redis in the place of the one on port 6379.

Runs in every process of RQ's suite, before anything of it is imported; forked processes inherit it. Imports
RQ and the worker; knows no pytest, but the variable in which that says which test is running.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import rq
from rq.worker import SimpleWorker
from rq.worker import Worker as RqWorker

from ctxjobs_worker import engine, worker

#: The port that RQ's suite takes for granted, and where on this machine it looks for it.
_PORT = 6379
_HERE = ("127.0.0.1", "::1", "localhost")

#: What to look for, and what takes its place.
_PLACES: dict[Any, Any] = {RqWorker: worker.Worker, SimpleWorker: worker.Worker}


def install() -> None:
    """Do all of it."""
    _redirect_connections()
    if os.environ["RQ_SUITE"] == "stock":
        return
    for module in _modules_of_rq():
        _replace_in(module)
    _note_which_loop_runs()


# --- the worker ---------------------------------------------------------------------------------


def _modules_of_rq() -> Iterable[ModuleType]:
    for found in pkgutil.walk_packages(rq.__path__, "rq."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "rq"]


def _replace_in(module: ModuleType) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value in _PLACES:
            setattr(module, name, _PLACES[value])
        for function in [value, *(vars(value).values() if isinstance(value, type) else ())]:
            function = getattr(function, "__func__", function)  # of a class or static method
            if isinstance(function, FunctionType) and function.__defaults__:
                function.__defaults__ = tuple(_ours(default) for default in function.__defaults__)


def _ours(value: Any) -> Any:
    return _PLACES.get(value, value) if isinstance(value, type) else value


# --- Redis --------------------------------------------------------------------------------------


def _redirect_connections() -> None:
    connect = socket.socket.connect

    def redirected(self: socket.socket, address: Any) -> None:
        port = os.environ.get("RQ_SUITE_PORT")
        if port and isinstance(address, tuple) and address[0] in _HERE and address[1] == _PORT:
            address = (address[0], int(port), *address[2:])
        connect(self, address)

    socket.socket.connect = redirected  # type: ignore[method-assign,assignment]


# --- which loop -----------------------------------------------------------------------------------


def _note_which_loop_runs() -> None:
    run, hooks_of = engine.Engine.run, worker.overridden_hooks

    def noted_run(self: Any, limits: Any) -> int:
        _note("engine")
        return run(self, limits)

    def noted_hooks(*args: Any) -> list[str]:
        hooks = hooks_of(*args)
        if hooks:
            _note("rq", *hooks)
        return hooks

    engine.Engine.run = noted_run  # type: ignore[method-assign]
    worker.overridden_hooks = noted_hooks


def _note(*what: str) -> None:
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]  # without "(call)"
    with Path(os.environ["RQ_SUITE_SCRATCH"], "loops").open("a") as notes:
        notes.write("\t".join((test, *what)) + "\n")
