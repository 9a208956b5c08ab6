"""Invalid messages are survived, and no log contains their content or source text."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import (
    CODE,
    CURSOR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LONG,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    URI,
    Start,
    Wire,
    completion_params,
    framed,
    notification,
    request,
)

# Invalid and unknown messages


@pytest.fixture(scope="module")
def lasting() -> Iterator[Wire]:
    """One server for all tests of this section."""
    made = Wire()
    made.start()
    made.until(
        lambda message: message.get("method") == "window/logMessage"
    )  # the last message of the start: the model is ready
    made.open(URI, CODE)
    yield made
    code = made.stop()
    made.rest()
    assert code == 0
    assert made.errors == []


@pytest.fixture
def server(lasting: Wire) -> Wire:
    """The same server, without messages that are still to be read."""
    assert "result" in lasting.call(f"fresh {time.monotonic_ns()}", "starcoder/metrics")
    lasting.came.clear()
    return lasting


@pytest.mark.parametrize("params", [None, {}, [], {"a": {"b": [1]}}, [1, 2]])
def test_unknown_methods_get_an_error(server: Wire, params: object) -> None:
    server.send(notification("no/such/notification", params), notification("$/whatever", params))
    assert server.call("x", "no/such/method", params)["error"]["code"] == METHOD_NOT_FOUND
    assert len(server.came) == 1


def test_unknown_members_and_unexpected_replies_are_ignored(server: Wire) -> None:
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
def test_odd_messages_get_a_reply_and_the_server_goes_on(server: Wire, message: object, code: int) -> None:
    server.send(message)
    known = isinstance(message, dict) and isinstance(message.get("id"), int | str) and message["id"]
    reply = server.until(lambda came: "method" not in came)
    assert reply["id"] == (known or None)
    assert reply["error"]["code"] == code
    assert "result" in server.call("after", "starcoder/metrics")
    assert len(server.came) == 2


def test_a_message_inside_the_text_of_another_is_not_read(wire: Start) -> None:
    server = wire()
    server.start()
    within = {"jsonrpc": "2.0", "id": 7, "method": "exit"}
    assert server.call("no", "no/such/method", {"a": [within]})["error"]["code"] == METHOD_NOT_FOUND
    assert server.call(1, "shutdown", within)["result"] is None
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


def test_other_spellings_of_headers_are_accepted(server: Wire) -> None:
    body = json.dumps(request(1, "starcoder/metrics")).encode()
    kind = b"Content-Type: application/vscode-jsonrpc; charset=utf-8"
    server.raw(b"%s\r\ncontent-length:%d\n\r\n%s" % (kind, len(body), body))
    assert "result" in server.reply(1)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("textDocument/didOpen", {"textDocument": {"uri": URI, "languageId": [], "version": 1, "text": ""}}),
        ("starcoder/didReject", {"items": 5}),
        ("textDocument/didShowCompletion", {"items": "x"}),
        ("textDocument/didFocus", {"textDocument": {"uri": 3}}),
        ("$/cancelRequest", {"id": {}}),
        ("window/workDoneProgress/cancel", {"token": {}}),
        ("textDocument/inlineCompletion", None),
    ],
)
def test_the_log_names_wrong_types_in_notifications(server: Wire, method: str, params: object) -> None:
    server.send(notification(method, params))
    server.call("after", "starcoder/metrics")
    (logged,) = [m["params"] for m in server.came if m.get("method") == "window/logMessage"]
    assert logged["type"] == 2
    assert "internal error" not in logged["message"]
    assert method in logged["message"] or "expected" in logged["message"]


def test_too_deep_nesting_is_an_error(server: Wire) -> None:
    def deep(message: dict[str, Any]) -> None:  # as text, since nested values would overflow this process's own stack
        server.raw(framed(json.dumps(message).replace('"DEEP"', "[" * 950 + "1" + "]" * 950).encode()))

    deep(request(1, "workspace/executeCommand", {"command": "a", "arguments": "DEEP"}))
    assert server.reply(1)["error"]["code"] == INVALID_PARAMS
    deep(request(2, "no/such/method", "DEEP"))
    assert server.reply(2)["error"]["code"] in (INVALID_PARAMS, METHOD_NOT_FOUND)
    deep(notification("starcoder/didReject", {"items": "DEEP"}))
    assert "result" in server.call(3, "starcoder/metrics")
    assert "internal error" not in json.dumps(server.came)


@pytest.mark.parametrize("method", ["textDocument/didClose", "textDocument/didFocus", "$/cancelRequest", "initialized"])
def test_a_request_for_a_notification_gets_a_reply(server: Wire, method: str) -> None:
    params = {"textDocument": {"uri": "file:///not-open"}, "id": 99}
    assert server.call(1, method, params)["result"] is None


def test_harmless_breaches_of_the_protocol_are_served(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    document = {"uri": URI, "languageId": "python", "text": ""}
    server.send(notification("textDocument/didOpen", {"textDocument": document}))
    changes = [
        {"range": None, "text": CODE[:-1]},
        {"text": "\n", "range": {"start": {"line": 99, "character": 0}, "end": {"line": 99, "character": 0}}},
    ]
    for version in ({}, {"version": None}, {"version": 0}):
        server.send(
            notification("textDocument/didChange", {"textDocument": {"uri": URI, **version}, "contentChanges": changes})
        )
    where = {"textDocument": {"uri": URI}, "position": {"line": CURSOR[0], "character": CURSOR[1]}}
    for number, context in enumerate(({}, {"context": None}, {"context": {"triggerKind": 0}})):
        reply = server.call(number, "textDocument/inlineCompletion", {**where, **context})
        assert reply["result"]["items"], reply
    assert server.stop() == 0
    logged = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/logMessage"]
    assert len([line for line in logged if "versions do not grow" in line]) == 1
    assert not [m for m in server.came if m.get("method") == "window/showMessage"]


def test_an_invalid_edit_puts_the_document_out_of_sync(wire: Start) -> None:
    server = wire()
    server.start(capabilities={"experimental": {"starcoder": {"status": True}}})
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
    (texts,) = [m["params"]["message"] for m in server.came if m.get("method") == "window/showMessage"]
    assert "example.py" in texts
    show_status = {"command": "starcoder.showStatus"}
    assert "example.py" in server.call("s", "workspace/executeCommand", show_status)["result"]["message"]
    document = {"uri": URI, "version": 4}
    server.send(notification("textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": CODE}]}))
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    assert "example.py" not in server.call("t", "workspace/executeCommand", show_status)["result"]["message"]
    server.send(notification("textDocument/didClose", {"textDocument": {"uri": "file:///never-opened"}}))
    assert server.stop() == 0
    assert "internal error" not in json.dumps(server.rest())


def test_two_requests_for_one_document_in_one_write(wire: Start) -> None:
    server = wire()
    server.start()
    server.model_is_loaded()
    server.open(URI, LONG)
    where = {"textDocument": {"uri": URI}, "position": {"line": 1999, "character": 3}}
    server.send(*(request(n, "starcoder/explain", where) for n in range(3)))
    assert server.reply(2)["result"]["prompt"]
    assert all("error" not in server.reply(n) for n in range(2))
    assert server.stop() == 0


# Logs


BUGGY = """
from starcoder_lsp.lsp.run import run_session
from starcoder_lsp.session.answering import Answering
from starcoder_lsp.documents.documents import Documents

async def complete(self, uri, *_args, **_rest):
    print("printed by mistake")
    raise ValueError(self.documents.builder.texts.documents.get(uri).text.to_str())

def change(self, uri, *_rest):
    raise KeyError(self._snapshots[uri].text.to_str())

Answering.complete, Documents.change = complete, change
raise SystemExit(run_session())
"""


def test_no_source_text_in_any_log_even_when_there_is_a_bug(wire: Start) -> None:
    secret = "hunter2secret"  # noqa: S105  a word to search for in logs
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
    texts = [m for m in server.came if m.get("method") == "window/showMessage"]
    assert secret in json.dumps(texts)  # as the name of an unknown setting only
    assert len(texts) == 2  # the other message reports the lost edit
    assert secret not in json.dumps([m for m in server.came if m not in texts])
    assert server.errors == ["printed by mistake\n"]  # not on standard output


@pytest.mark.parametrize(("level", "n_told"), [("error", 0), ("warning", 1), ("info", 2), ("debug", 2)])
def test_the_log_level_limits_messages(wire: Start, level: str, n_told: int) -> None:
    server = wire()
    server.start({"logLevel": level})
    n_requests = 0
    while server.call(f"loaded {n_requests}", "starcoder/metrics")["result"]["model"] is None:
        n_requests += 1  # at two of the levels no message reports the end of the load
    server.send(notification("textDocument/didClose", {"textDocument": {"uri": "file:///never-opened"}}))
    assert server.stop() == 0
    assert len([m for m in server.rest() if m.get("method") == "window/logMessage"]) == n_told
