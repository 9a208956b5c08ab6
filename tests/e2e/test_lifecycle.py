"""How the server starts and ends, over pipes and over a socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from .conftest import (
    CODE,
    CURSOR,
    ENVIRONMENT,
    EXIT_TIMEOUT_S,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LONG,
    NOT_INITIALIZED,
    SERVER,
    TIMEOUT_S,
    URI,
    Start,
    Wire,
    completion_params,
    initialize_params,
    notification,
    request,
)


def kind_of(message: dict[str, Any]) -> object:
    return message.get("method", message.get("id"))


# The end


def test_a_whole_session_writes_messages_only(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0
    server.rest()
    assert server.errors == []


@pytest.mark.parametrize("settings", [{}, {"completion": {"maxTokens": 1024, "multiline": "always"}}])
def test_exit_does_not_wait_for_the_model(wire: Start, settings: dict[str, Any]) -> None:
    server = wire()
    server.start(settings | {"debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, LONG)
    server.send(request("long", "textDocument/inlineCompletion", completion_params(URI, 1999, 3)))
    assert server.call("between", "starcoder/metrics")["result"]["requests"]["total"] == 1
    server.send(request("shutdown", "shutdown"), notification("exit"))
    assert server.exit_code() == 0
    replies = [message for message in server.rest() if message.get("id") == "long"]
    assert replies == [{"jsonrpc": "2.0", "id": "long", "result": None}]
    assert server.errors == []


def test_waiting_requests_are_answered_before_the_shutdown(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 5000}})
    server.model_is_loaded()
    waiting = []
    for i in range(5):
        uri = f"file:///{i}.py"
        server.open(uri, CODE)
        waiting.append(
            request(f"waiting {i}", "textDocument/inlineCompletion", completion_params(uri, *CURSOR, kind=2))
        )
    where = {"textDocument": {"uri": "file:///0.py"}, "position": {"line": 0, "character": 0}}
    explain = request("explain", "starcoder/explain", where)
    server.send(*waiting, explain, request("shutdown", "shutdown"), request("late", "starcoder/metrics"))
    server.reply("late")
    server.send(notification("exit"))
    assert server.exit_code() == 0
    came = [message for message in server.rest() if "method" not in message]
    ids = [message["id"] for message in came if not str(message["id"]).startswith(("loaded", "initialize"))]
    assert sorted(ids) == ["explain", "late", "shutdown", *(f"waiting {i}" for i in range(5))]
    assert set(ids[: ids.index("shutdown")]) >= {f"waiting {i}" for i in range(5)} | {"explain"}
    assert all(message["result"] is None for message in came if str(message["id"]).startswith("waiting"))
    assert next(m for m in came if m["id"] == "late")["error"]["code"] == INVALID_REQUEST


def test_shutdown_is_answered_while_the_model_loads(wire: Start) -> None:
    server = wire()
    server.send(
        request("initialize", "initialize", initialize_params()),
        notification("initialized", {}),
        request("shutdown", "shutdown"),
        notification("exit"),
    )
    server.reply("shutdown")
    assert server.exit_code() == 0
    assert [kind_of(m) for m in server.rest() if "error" in m] == []
    assert "internal error" not in json.dumps(server.came)
    assert server.errors == []


@pytest.mark.parametrize("messages", [[], [request("initialize", "initialize", initialize_params())]])
def test_exit_without_shutdown_is_an_error(wire: Start, messages: list[object]) -> None:
    server = wire()
    server.send(*messages, notification("exit"))
    server.rest()
    assert server.exit_code() == 1
    assert server.errors == []


@pytest.mark.parametrize("busy", [False, True])
def test_the_end_of_the_input_ends_the_server(wire: Start, *, busy: bool) -> None:
    server = wire()
    server.start()
    if busy:
        server.model_is_loaded()
        server.open(URI, LONG)
        server.send(request("long", "textDocument/inlineCompletion", completion_params(URI, 1999, 3)))
    server.writer.close()
    assert server.exit_code() == 1
    assert server.errors == []


def test_a_client_that_closed_its_end_of_the_output_ends_the_server(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    read_end = server.process.stdout
    assert read_end is not None
    null = os.open(os.devnull, os.O_RDONLY)  # a thread reads from the stream, so its descriptor is replaced
    os.dup2(null, read_end.fileno())
    os.close(null)
    server.send(request(1, "starcoder/metrics"))
    server.rest()  # a waiting read keeps the pipe open, and gets the first reply
    server.send(request(2, "starcoder/metrics"))
    assert server.exit_code() == 1
    assert server.errors == []


@pytest.mark.parametrize(
    ("number", "code", "errors"),
    [(signal.SIGTERM, -signal.SIGTERM, []), (signal.SIGINT, 2, ["starcoder-lsp: interrupted\n"])],
)
def test_a_signal_ends_the_server_without_a_traceback(
    wire: Start, number: signal.Signals, code: int, errors: list[str]
) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.process.send_signal(number)
    assert server.exit_code() == code
    assert server.errors == errors


CLIENT = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
body = b'{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}'
server.stdin.write(b"Content-Length: %d\\r\\n\\r\\n%s" % (len(body), body))
server.stdin.flush()
server.stdout.read(1)
print(server.pid, flush=True)
server.wait()
"""


def test_killing_the_client_leaves_no_server_behind() -> None:
    with subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-c", CLIENT, *SERVER], stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as client:
        assert client.stdout is not None
        pid = int(client.stdout.readline())
        server = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else pytest.skip("this system has no pidfd_open")
        client.kill()
    try:
        assert ended(server, EXIT_TIMEOUT_S)
    finally:
        os.close(server)


@pytest.mark.parametrize("busy", [False, True])
def test_the_end_of_the_editors_process_ends_a_server_with_an_open_pipe(wire: Start, *, busy: bool) -> None:
    """The test holds both ends of the pipe; the editor is only the process that `initialize` names."""
    server = wire()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as editor:
        server.call(1, "initialize", {**initialize_params(), "processId": editor.pid})
        server.send(notification("initialized", {}))
        if busy:
            server.model_is_loaded()
            server.open(URI, LONG)
            server.send(request("long", "textDocument/inlineCompletion", completion_params(URI, 1999, 3)))
        assert "result" in server.call(2, "starcoder/metrics")
        editor.kill()
        assert server.exit_code() == 1
    assert server.errors == []


def test_an_editor_that_ended_before_initialize_ends_the_server(wire: Start) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as editor:
        editor.wait()
    server = wire()
    server.send(request(1, "initialize", {**initialize_params(), "processId": editor.pid}))
    server.rest()
    assert server.exit_code() == 1


def ended(pidfd: int, timeout_s: float) -> bool:
    """Return whether a process that is no child ends in time; its descriptor becomes readable then."""
    import select

    return bool(select.select([pidfd], [], [], timeout_s)[0])


# Messages before `initialize` and after it


def test_before_initialize_requests_are_refused_and_notifications_dropped(wire: Start) -> None:
    server = wire()
    server.open(URI, CODE)
    for method in ("textDocument/inlineCompletion", "starcoder/metrics", "shutdown", "no/such/method"):
        assert server.call(method, method, {})["error"]["code"] == NOT_INITIALIZED
    server.start()
    server.model_is_loaded()
    assert server.complete(1, URI, *CURSOR)["error"]["code"] == INVALID_PARAMS  # the document was not opened
    server.open(URI, CODE)
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0


def says_ready(message: object) -> bool:
    return "is ready" in json.dumps(message)


def test_a_second_initialize_is_refused(wire: Start) -> None:
    server = wire()
    assert server.call(0, "initialize", {"capabilities": 3})["error"]["code"] == INVALID_PARAMS
    assert "result" in server.start()
    server.send(notification("initialized", {}))
    assert server.call(1, "initialize", initialize_params())["error"]["code"] == INVALID_REQUEST
    server.until(says_ready)  # later than the metrics name the model
    assert server.stop() == 0
    assert sum(map(says_ready, server.rest())) == 1


# Over a socket


def listening(server: Wire) -> tuple[str, int]:
    """Return the address that the server writes to standard error."""
    words = server.error_lines.get(timeout=TIMEOUT_S).split()
    assert words[:2] == ["listening", "on"]
    host, _, port = words[2].rpartition(":")
    return host.strip("[]"), int(port)


def test_the_flag_stdio_is_accepted(wire: Start) -> None:
    server = wire("--stdio")
    assert "capabilities" in server.start()["result"]
    assert server.stop() == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_session_over_tcp_serves_one_client(wire: Start, host: str) -> None:
    if host == "[::1]" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    server = wire("--tcp", f"{host}:0")
    address = listening(server)
    with socket.create_connection(address, TIMEOUT_S) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        server.start()
        server.model_is_loaded()
        server.open(URI, CODE)
        assert server.complete(1, URI, *CURSOR)["result"]["items"]
        with pytest.raises(ConnectionRefusedError):  # one client only
            socket.create_connection(address, TIMEOUT_S)
        assert server.stop() == 0
    assert len(server.errors) == 1


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def test_the_process_id_of_a_client_over_tcp_is_not_watched(wire: Start) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    server = wire("--tcp", "127.0.0.1:0")
    with socket.create_connection(listening(server), TIMEOUT_S) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        assert "result" in server.call(1, "initialize", {**initialize_params(), "processId": gone.pid})
        assert server.stop() == 0


def test_a_client_that_hangs_up_ends_a_server_on_tcp(wire: Start) -> None:
    server = wire("--tcp", "127.0.0.1:0")
    with socket.create_connection(listening(server), TIMEOUT_S) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        server.start()
        connection.shutdown(socket.SHUT_RDWR)
    assert server.exit_code() == 1
    assert len(server.errors) == 1
