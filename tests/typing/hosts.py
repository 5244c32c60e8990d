"""That the adapters are hosts. Read by mypy and pyright, never run."""

from __future__ import annotations

from ctxjobs.hosts import Host
from ctxjobs.hosts.flask import FlaskHost, MergedFlaskHost
from ctxjobs.hosts.native import NativeHost

adapters: tuple[type[Host], ...] = (FlaskHost, MergedFlaskHost, NativeHost)
