"""How the server starts, ends, and lives through what no good client sends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import (
    ENVIRONMENT,
    EXIT_TIMEOUT_S,
    SERVER,
    TIMEOUT_S,
    Wire,
    completion_params,
    framed,
    initialize_params,
    is_reply,
    notification,
    request,
)

URI = "file:///code/example.py"
CODE = "import os\n\n\ndef read(path):\n    with open(path) as \n\n\ndef write(path, text):\n    pass\n"
CURSOR = (4, 23)
LONG = "".join(f"value_{i} = compute({i}, 'text number {i}')\n" for i in range(2000))
INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, PARSE_ERROR, NOT_INITIALIZED = -32600, -32601, -32602, -32700, -32002
Start = Callable[..., Wire]


def kind_of(message: dict[str, Any]) -> object:
    return message.get("method", message.get("id"))


# The end


def test_a_whole_session_and_nothing_but_the_protocol_comes_out(wire: Start) -> None:
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
    assert server.ask("between", "starcoder/metrics")["result"]["requests"]["total"] == 1
    server.send(request("shutdown", "shutdown"), notification("exit"))
    assert server.exit_code() == 0
    replies = [message for message in server.rest() if message.get("id") == "long"]
    assert replies == [{"jsonrpc": "2.0", "id": "long", "result": None}]
    assert server.errors == []


def test_requests_that_wait_are_answered_before_the_shutdown_is(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 5000}})
    server.model_is_loaded()
    asked = []
    for i in range(5):
        uri = f"file:///{i}.py"
        server.open(uri, CODE)
        asked.append(request(f"waiting {i}", "textDocument/inlineCompletion", completion_params(uri, *CURSOR, kind=2)))
    where = {"textDocument": {"uri": "file:///0.py"}, "position": {"line": 0, "character": 0}}
    explain = request("explain", "starcoder/explain", where)
    server.send(*asked, explain, request("shutdown", "shutdown"), request("late", "starcoder/metrics"))
    server.reply("late")
    server.send(notification("exit"))
    assert server.exit_code() == 0
    came = [message for message in server.rest() if "method" not in message]
    ids = [message["id"] for message in came if not str(message["id"]).startswith(("loaded", "initialize"))]
    assert sorted(ids) == ["explain", "late", "shutdown", *(f"waiting {i}" for i in range(5))]
    assert set(ids[: ids.index("shutdown")]) >= {f"waiting {i}" for i in range(5)} | {"explain"}
    assert all(message["result"] is None for message in came if str(message["id"]).startswith("waiting"))
    assert next(m for m in came if m["id"] == "late")["error"]["code"] == INVALID_REQUEST


def test_shutdown_while_the_model_loads(wire: Start) -> None:
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
def test_a_client_that_is_gone_ends_the_server(wire: Start, *, busy: bool) -> None:
    server = wire()
    server.start()
    if busy:
        server.model_is_loaded()
        server.open(URI, LONG)
        server.send(request("long", "textDocument/inlineCompletion", completion_params(URI, 1999, 3)))
    server.writer.close()
    assert server.exit_code() == 1
    assert server.errors == []


def test_a_client_that_hears_nothing_ends_the_server(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    read_end = server.process.stdout
    assert read_end is not None
    null = os.open(os.devnull, os.O_RDONLY)  # a thread reads from the stream, so the pipe is closed below it
    os.dup2(null, read_end.fileno())
    os.close(null)
    server.send(request(1, "starcoder/metrics"), request(2, "starcoder/metrics"))
    assert server.exit_code() == 1
    assert server.errors == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_traceback(wire: Start, number: signal.Signals) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.process.send_signal(number)
    assert server.exit_code() == -number
    assert server.errors == []


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


def ended(pidfd: int, timeout_s: float) -> bool:
    """Whether a process that is not our child ends in time: its descriptor becomes readable."""
    import select

    return bool(select.select([pidfd], [], [], timeout_s)[0])


# What comes before and after


def test_before_initialize_requests_are_refused_and_notifications_dropped(wire: Start) -> None:
    server = wire()
    server.open(URI, CODE)
    for method in ("textDocument/inlineCompletion", "starcoder/metrics", "shutdown", "no/such/method"):
        assert server.ask(method, method, {})["error"]["code"] == NOT_INITIALIZED
    server.start()
    server.model_is_loaded()
    assert server.complete(1, URI, *CURSOR)["error"]["code"] == INVALID_PARAMS  # it was not opened
    server.open(URI, CODE)
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0


def test_initialize_comes_once(wire: Start) -> None:
    server = wire()
    assert server.ask(0, "initialize", {"capabilities": 3})["error"]["code"] == INVALID_PARAMS
    assert "result" in server.start()
    server.send(notification("initialized", {}))
    assert server.ask(1, "initialize", initialize_params())["error"]["code"] == INVALID_REQUEST
    server.model_is_loaded()
    assert server.stop() == 0
    loads = [message for message in server.rest() if "is ready" in json.dumps(message)]
    assert len(loads) == 1


# What is no message, or none that we know


@pytest.fixture(scope="module")
def lasting() -> Iterator[Wire]:
    """A server that lives through everything in this section."""
    made = Wire()
    made.start()
    made.model_is_loaded()
    made.open(URI, CODE)
    yield made
    code = made.stop()
    made.rest()
    assert code == 0
    assert made.errors == []


@pytest.fixture
def server(lasting: Wire) -> Wire:
    """The same, with nothing on its way."""
    assert "result" in lasting.ask(f"fresh {time.monotonic_ns()}", "starcoder/metrics")
    lasting.came.clear()
    return lasting


@pytest.mark.parametrize("params", [None, {}, [], {"a": {"b": [1]}}, [1, 2]])
def test_unknown_methods(server: Wire, params: object) -> None:
    server.send(notification("no/such/notification", params), notification("$/whatever", params))
    assert server.ask("x", "no/such/method", params)["error"]["code"] == METHOD_NOT_FOUND
    assert len(server.came) == 1


def test_unknown_members_and_replies_that_nobody_asked_for(server: Wire) -> None:
    odd = {"jsonrpc": "2.0", "id": 2, "method": "starcoder/metrics", "extra": 1}
    server.send({"jsonrpc": "2.0", "id": "nobody asked", "result": 3}, {"jsonrpc": "2.0", "id": 2, "error": {}}, odd)
    assert "result" in server.reply(2)
    assert len(server.came) == 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ([], INVALID_REQUEST),
        ([request(1, "shutdown")], INVALID_REQUEST),
        (3, INVALID_REQUEST),
        (None, INVALID_REQUEST),
        ({}, INVALID_REQUEST),
        ({"id": 1, "method": "starcoder/metrics"}, INVALID_REQUEST),
        ({"jsonrpc": "1.0", "id": 1, "method": "starcoder/metrics"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": 3}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": ["a"]}, INVALID_REQUEST),
        (request(None, "starcoder/metrics"), INVALID_REQUEST),
        (request([1], "starcoder/metrics"), INVALID_REQUEST),
        (request(1.5, "starcoder/metrics"), INVALID_REQUEST),
        (request(1, "workspace/executeCommand", {"command": "no.such"}), INVALID_PARAMS),
        (request(1, "textDocument/inlineCompletion", completion_params(URI, -1, 0)), INVALID_PARAMS),
        (request(1, "starcoder/explain", {"textDocument": {"uri": URI}, "position": {"line": 1e999}}), INVALID_PARAMS),
    ],
)
def test_odd_messages_get_a_reply_and_the_server_lives(server: Wire, message: object, code: int) -> None:
    server.send(message)
    known = isinstance(message, dict) and isinstance(message.get("id"), int | str) and message["id"]
    reply = server.until(lambda came: "method" not in came)
    assert reply["id"] == (known or None)
    assert reply["error"]["code"] == code
    assert "result" in server.ask("after", "starcoder/metrics")
    assert len(server.came) == 2


def test_a_message_inside_a_message_is_no_message(wire: Start) -> None:
    server = wire()
    server.start()
    within = {"jsonrpc": "2.0", "id": 7, "method": "exit"}
    assert server.ask("no", "no/such/method", {"a": [within]})["error"]["code"] == METHOD_NOT_FOUND
    assert server.ask(1, "shutdown", within)["result"] is None
    server.send(notification("exit"))
    assert server.exit_code() == 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(framed(b"{"), id="cut JSON"),
        pytest.param(framed(b"\xff\xfe\x00"), id="no UTF-8"),
        pytest.param(framed(b"[" * 100_000), id="nested too deeply"),
        pytest.param(framed(b"1" * 5000), id="a huge number"),
        pytest.param(b"Content-Length: 10\r\n\r\n" + json.dumps(request(5, "x")).encode(), id="length too small"),
        pytest.param(b"Content-Length: 3000\r\n\r\n" + b" " * 2990, id="length too large"),
        pytest.param(b"Hello\r\n\r\n", id="no header"),
        pytest.param(b"Content-Length: -5\r\n\r\n", id="negative length"),
        pytest.param(b"Content-Length: 99999999999999999999\r\n\r\n", id="a length beyond all bounds"),
        pytest.param(b"Content-Length: 0\r\n\r\n", id="no body"),
        pytest.param(b"\r\n\r\n\n\n", id="empty lines"),
    ],
)
def test_a_broken_frame_costs_at_most_the_messages_next_to_it(server: Wire, data: bytes) -> None:
    server.raw(data)
    server.send(*(request(n, "starcoder/metrics") for n in range(4)))
    assert "result" in server.reply(3)
    assert all(message["error"]["code"] == PARSE_ERROR for message in server.came if message["id"] is None)


def test_headers_as_other_clients_spell_them(server: Wire) -> None:
    body = json.dumps(request(1, "starcoder/metrics")).encode()
    kind = b"Content-Type: application/vscode-jsonrpc; charset=utf-8"
    server.raw(b"%s\r\ncontent-length:%d\n\r\n%s" % (kind, len(body), body))
    assert "result" in server.reply(1)


def test_an_edit_that_cannot_be_understood_puts_the_document_out_of_step(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, CODE)
    place = {"line": 0, "character": 0}
    whole = {"start": place, "end": {"line": 2**40, "character": 0}}
    for version, span in ((2, whole), (3, {"start": place, "end": place})):
        document = {"uri": URI, "version": version}
        change = {"range": span, "text": "x"}
        server.send(
            notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}),
        )
    assert server.complete(1, URI, *CURSOR)["result"] is None
    document = {"uri": URI, "version": 4}
    server.send(notification("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": CODE}]}))
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    server.send(notification("textDocument/didClose", {"textDocument": {"uri": "file:///never-opened"}}))
    assert server.stop() == 0
    assert "internal error" not in json.dumps(server.rest())


def test_two_questions_about_one_document_at_once(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, LONG)
    where = {"textDocument": {"uri": URI}, "position": {"line": 1999, "character": 3}}
    server.send(*(request(n, "starcoder/explain", where) for n in range(3)))
    assert server.reply(2)["result"]["prompt"]
    assert all("error" not in server.reply(n) for n in range(2))
    assert server.stop() == 0


# Nothing of the source in a log


BUGGY = """
from starcoder_lsp.cli import main
from starcoder_lsp.lsp.session import Session
from starcoder_lsp.documents.documents import Documents

async def complete(self, uri, *_args, **_rest):
    print("printed by mistake")
    raise ValueError(self.documents.get(uri).text.to_str())

def change(self, uri, *_rest):
    raise KeyError(self._snapshots[uri].text.to_str())

Session.complete, Documents.change = complete, change
raise SystemExit(main())
"""


def test_no_source_text_in_any_log_even_when_there_is_a_bug(wire: Start) -> None:
    secret = "hunter2secret"  # noqa: S105  a word to look for
    code = f"password = '{secret}'\n"
    server = wire(command=[sys.executable, "-c", BUGGY])
    server.start({"logLevel": "debug", secret: 1, "debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, code)
    failed = server.complete(1, URI, 0, 3)["error"]
    assert failed["code"] == -32603
    assert "ValueError" in failed["message"]
    assert secret not in json.dumps(failed)
    change = {"text": code * 2}
    document = {"uri": URI, "version": 2}
    server.send(
        notification("textDocument/didChange", {"textDocument": document, "contentChanges": [change]}),
        notification("textDocument/didChange", {"textDocument": {"uri": URI}, "contentChanges": [{"text": [secret]}]}),
        notification("textDocument/didOpen", {"textDocument": {"text": secret}}),
        request(2, "textDocument/inlineCompletion", {"text": secret}),
        request(3, "no/such/method", {"text": secret}),
        request(4, "starcoder/explain", {"text": secret}),
        request(5, "workspace/executeCommand", {"command": "starcoder.accept", "arguments": [secret]}),
    )
    server.raw(framed(f'{{"text": "{secret}'.encode()))
    for n in (2, 3, 4, 5):
        server.reply(n)
    assert server.stop() == 0
    logged = [message for message in server.rest() if message.get("method") == "window/logMessage"]
    assert [m["params"]["message"] for m in logged if "KeyError" in m["params"]["message"]], logged
    told = [m for m in server.came if m.get("method") == "window/showMessage"]
    assert secret in json.dumps(told)  # the name of a setting that does not exist, and only that
    assert len(told) == 1
    assert secret not in json.dumps([m for m in server.came if m not in told])
    assert server.errors == ["printed by mistake\n"]  # and not on standard output


@pytest.mark.parametrize(("level", "n_told"), [("error", 0), ("warning", 1), ("info", 2), ("debug", 2)])
def test_the_log_level(wire: Start, level: str, n_told: int) -> None:
    server = wire()
    server.start({"logLevel": level})
    server.model_is_loaded()
    server.send(notification("textDocument/didClose", {"textDocument": {"uri": "file:///never-opened"}}))
    assert server.stop() == 0
    assert len([m for m in server.rest() if m.get("method") == "window/logMessage"]) == n_told


# Triggers and delays


def test_debounce_holds_back_what_was_not_asked_for(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 5000}})
    server.model_is_loaded()
    other = "file:///other.py"
    server.open(URI, CODE)
    server.open(other, CODE)
    server.send(
        request("first", "textDocument/inlineCompletion", completion_params(URI, *CURSOR, kind=2)),
        request("second", "textDocument/inlineCompletion", completion_params(URI, *CURSOR, kind=2)),
        request("invoked", "textDocument/inlineCompletion", completion_params(other, *CURSOR, kind=1)),
    )
    assert server.reply("invoked")["result"]["items"]
    order = [message["id"] for message in server.came if is_reply(message, message.get("id"))]
    assert order[-2:] == ["first", "invoked"]
    assert server.reply("first")["result"] is None
    assert server.complete("invoked here", URI, *CURSOR)["result"]["items"]
    assert server.reply("second")["result"] is None
    assert server.ask("m", "starcoder/metrics")["result"]["requests"]["superseded"] == 2
    assert server.stop() == 0


def test_opening_a_document_again_makes_what_is_under_way_worthless(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 5000}})
    server.model_is_loaded()
    server.open(URI, CODE)
    server.send(request("before", "textDocument/inlineCompletion", completion_params(URI, *CURSOR, kind=2)))
    server.open(URI, CODE + CODE)
    server.ask("after", "starcoder/metrics")
    assert server.reply("before")["result"] is None
    assert is_reply(server.came[-1], "before") or is_reply(server.came[-1], "after")
    assert server.stop() == 0


def test_an_automatic_request_is_answered_after_the_delay(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 1}})
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR, kind=2)["result"]["items"]
    assert server.stop() == 0


def test_trigger_invoked_answers_only_what_was_asked_for(wire: Start) -> None:
    server = wire()
    server.start({"trigger": "invoked", "debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR, kind=2)["result"] is None
    assert server.complete(2, URI, *CURSOR, kind=1)["result"]["items"]
    assert server.stop() == 0


# The client's own settings


PULLED = {"workspace": {"configuration": True}}


def pulled(server: Wire) -> Any:
    """The next question for the client's settings."""
    question = server.until(lambda message: message.get("method") == "workspace/configuration")
    assert question["params"] == {"items": [{"section": "starcoder"}]}
    return question["id"]


def answer(msg_id: object, result: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": msg_id, "result": result}


def test_settings_are_pulled_and_pulled_again(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED)
    evil = {"model": {"path": "/etc/passwd"}, "enabled": False, "nonsense": 1}
    server.send(answer(pulled(server), [evil]))
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"] is None
    server.send(notification("workspace/didChangeConfiguration", {"settings": None}))
    server.send(answer(pulled(server), [evil | {"enabled": True}]))
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0
    told = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/showMessage"]
    assert len(told) == 2  # each once, though the settings were read more than once
    assert any("starcoder.model.path" in text and "workspace/configuration" in text for text in told)
    assert any("starcoder.nonsense" in text for text in told)


def test_odd_answers_to_the_pull(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED)
    for result in (None, [], [None], [3], ["x"], [[]], [{}], {"a": 1}):
        server.send(answer(pulled(server), result), notification("workspace/didChangeConfiguration", {"settings": {}}))
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0
    assert "internal error" not in json.dumps(server.rest())
    assert server.errors == []


def test_a_pull_that_fails(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED)
    error = {"code": METHOD_NOT_FOUND, "message": "no"}
    server.send({"jsonrpc": "2.0", "id": pulled(server), "error": error})
    server.model_is_loaded()
    assert server.stop() == 0
    assert "internal error" not in json.dumps(server.rest())


def test_a_client_that_never_answers_does_not_hold_up_the_model_and_may_answer_late(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED | {"window": {"workDoneProgress": True}})
    question = pulled(server)
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    server.send(answer(question, [{"enabled": False}]))
    create = next(m for m in server.came if m.get("method") == "window/workDoneProgress/create")
    server.send(answer(create["id"], None))
    assert server.complete(2, URI, *CURSOR)["result"] is None
    assert server.stop() == 0
    server.rest()
    assert not [m for m in server.came if m.get("method") == "$/progress"]
    assert "internal error" not in json.dumps(server.came)
    assert server.errors == []


@pytest.mark.parametrize("settings", [{"starcoder": {"enabled": False}}, {"enabled": False}])
def test_settings_are_pushed_where_they_cannot_be_pulled(wire: Start, settings: object) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    server.send(notification("workspace/didChangeConfiguration", {"settings": settings}))
    assert server.complete(2, URI, *CURSOR)["result"] is None
    assert server.stop() == 0


@pytest.mark.parametrize("options", [None, 3, [], {"starcoder": None}, {"starcoder": 3}, {"other": {}}])
def test_odd_options_at_the_start(wire: Start, options: object) -> None:
    server = wire()
    params = {"processId": None, "rootUri": None, "capabilities": {}, "initializationOptions": options}
    assert "result" in server.ask("initialize", "initialize", params)
    server.send(notification("initialized", {}))
    server.model_is_loaded()
    assert server.stop() == 0
    assert server.errors == []


def test_a_broken_settings_file_is_told_of_once(wire: Start, tmp_path: Path) -> None:
    path = tmp_path / "starcoder-lsp" / "starcoder-lsp.toml"
    path.parent.mkdir()
    path.write_text("[completion\nmaxTokens = 3")
    server = wire(env={"XDG_CONFIG_HOME": str(tmp_path)})
    server.start()
    server.model_is_loaded()
    assert server.stop() == 0
    told = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/showMessage"]
    assert len(told) == 1
    assert str(path) in told[0]


# Over a socket


def listening(server: Wire) -> tuple[str, int]:
    """The address that the server tells on standard error."""
    words = server.error_lines.get(timeout=TIMEOUT_S).split()
    assert words[:2] == ["listening", "on"]
    host, _, port = words[2].rpartition(":")
    return host.strip("[]"), int(port)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_session_over_tcp(wire: Start, host: str) -> None:
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


def test_a_client_that_hangs_up_ends_a_server_on_tcp(wire: Start) -> None:
    server = wire("--tcp", "127.0.0.1:0")
    with socket.create_connection(listening(server), TIMEOUT_S) as connection:
        server.over(connection.makefile("rb"), connection.makefile("wb"))
        server.start()
        connection.shutdown(socket.SHUT_RDWR)
    assert server.exit_code() == 1
    assert len(server.errors) == 1
