"""The host starts with the server, before the server knows its settings, if it was the right one the last time."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from starcoder_lsp.engine.host.address import is_alive, known_names
from tests.e2e.conftest import (
    CODE,
    CURSOR,
    ENVIRONMENT,
    HOME,
    ROOT,
    SERVER,
    SETTINGS,
    TIMEOUT_S,
    URI,
    Start,
    Wire,
    initialize_params,
    notification,
)
from tests.e2e.test_host import NEEDS_PROC, host_of

pytestmark = NEEDS_PROC
RUNTIME = HOME / "starcoder-lsp"
CAN_CONFIGURE = {"workspace": {"configuration": True}}


def records(state: Path) -> dict[str, Any]:
    """The recorded hosts."""
    found: dict[str, Any] = json.loads((state / "starcoder-lsp" / "hosts.json").read_text())
    return found


def gone(process_id: int) -> None:
    """Wait until a process has ended."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while Path(f"/proc/{process_id}").exists():
        assert time.monotonic() < deadline_s, "the host is still there"


def configured(server: Wire, values: object) -> None:
    """Begin a session of a client that has settings of its own, and wait until the server has them."""
    server.call("initialize", "initialize", initialize_params(SETTINGS, CAN_CONFIGURE))
    server.send(notification("initialized", {}))
    asked = server.until(lambda message: message.get("method") == "workspace/configuration")
    server.send({"jsonrpc": "2.0", "id": asked["id"], "result": [values]})


def run_once(wire: Start, env: dict[str, str]) -> None:
    """Start a server with a host and end it, so that the host is recorded."""
    server = wire(env=env)
    server.start()
    server.model_is_loaded()
    assert server.stop() == 0


def test_the_second_start_begins_with_the_host_of_the_first(wire: Start, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    run_once(wire, env)
    assert len(records(tmp_path)) == 1
    second = wire(env=env)
    second.call("initialize", "initialize", initialize_params())
    host = host_of(second)  # before `initialized`, with which a model is loaded otherwise
    second.send(notification("initialized", {}))
    second.model_is_loaded()
    assert host_of(second) == host
    second.open(URI, CODE)
    assert second.complete(1, URI, *CURSOR)["result"]["items"]
    assert second.stop() == 0
    gone(host)


def test_a_host_that_the_clients_settings_do_not_want_is_ended_and_forgotten(wire: Start, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    first = wire(env=env)
    configured(first, None)
    first.model_is_loaded()
    assert first.stop() == 0
    assert len(records(tmp_path)) == 1
    second = wire(env=env)
    second.call("initialize", "initialize", initialize_params(SETTINGS, CAN_CONFIGURE))
    host = host_of(second)
    second.send(notification("initialized", {}))
    asked = second.until(lambda message: message.get("method") == "workspace/configuration")
    second.send({"jsonrpc": "2.0", "id": asked["id"], "result": [{"enabled": False}]})
    gone(host)
    assert records(tmp_path) == {}
    assert second.call("metrics", "starcoder/metrics")["result"]["model"] is None
    assert second.stop() == 0


def test_a_host_that_another_server_uses_is_not_ended(wire: Start, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    shared = {**SETTINGS, "host": {"shared": True, "idleMinutes": 0}}

    def the_host() -> int:
        while not (found := [path for path in Path("/proc").glob("[0-9]*") if is_host_of(path, tmp_path)]):
            pass
        return int(found[0].name)

    first, second, third = (wire(env=env) for _ in range(3))
    first.start(shared)
    first.model_is_loaded()
    host = the_host()
    assert first.stop() == 0
    gone(host)
    second.call("initialize", "initialize", initialize_params(shared, CAN_CONFIGURE))
    host = the_host()
    while not any(is_alive(RUNTIME, name) for name in known_names(RUNTIME)):
        pass
    third.start(shared)
    third.model_is_loaded()
    second.send(notification("initialized", {}))
    asked = second.until(lambda message: message.get("method") == "workspace/configuration")
    second.send({"jsonrpc": "2.0", "id": asked["id"], "result": [{"enabled": False}]})
    assert second.call("metrics", "starcoder/metrics")["result"]["model"] is None
    assert second.stop() == 0
    third.open(URI, CODE)
    assert third.complete(1, URI, *CURSOR)["result"]["items"]
    assert the_host() == host
    assert third.stop() == 0
    gone(host)


def test_a_server_that_leaves_at_once_leaves_no_host(wire: Start, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path)}
    run_once(wire, env)
    for how in ("exit", "kill"):
        server = wire(env=env)
        server.call("initialize", "initialize", initialize_params())
        host = host_of(server)
        if how == "kill":
            server.process.kill()
        else:
            server.send(notification("exit"))
            server.exit_code()
        gone(host)


def test_two_completions_on_the_command_line_are_the_same_and_leave_no_host(tmp_path: Path) -> None:
    env = {**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)}
    place = f"{ROOT}/starcoder_lsp/lru.py:20:1"

    def completed(place: str) -> subprocess.CompletedProcess[str]:
        command = [*SERVER, "complete", place]
        return subprocess.run(command, env=env, check=False, capture_output=True, text=True)  # noqa: S603  our own

    first, second = completed(place), completed(place)
    assert (first.returncode, first.stdout) == (0, second.stdout)
    assert len(records(tmp_path)) == 1
    wrong = completed(f"{place}0000")
    assert (wrong.returncode, wrong.stdout, len(wrong.stderr.splitlines())) == (2, "", 1)
    for process in Path("/proc").glob("[0-9]*"):
        if is_host_of(process, tmp_path):
            gone(int(process.name))


def is_host_of(process: Path, state: Path) -> bool:
    """Return whether a process is a host that was started with this state folder, and is no zombie."""
    try:
        environment = (process / "environ").read_bytes()
        command = (process / "cmdline").read_bytes()
    except OSError:
        return False
    return f"XDG_STATE_HOME={state}\0".encode() in environment and b"\0host\0" in command
