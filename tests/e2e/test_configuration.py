"""Settings from the client and from the user's file, and their effects on triggers and delays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.engine.loading import DEMONSTRATOR

from .conftest import (
    CODE,
    CURSOR,
    METHOD_NOT_FOUND,
    URI,
    Start,
    Wire,
    completion_params,
    is_reply,
    notification,
    request,
)

# Triggers and delays


def test_the_debounce_delays_automatic_requests_only(wire: Start) -> None:
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
    assert server.call("m", "starcoder/metrics")["result"]["requests"]["superseded"] == 2
    assert server.stop() == 0


def test_opening_a_document_again_supersedes_its_requests(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "fixed", "ms": 5000}})
    server.model_is_loaded()
    server.open(URI, CODE)
    server.send(request("before", "textDocument/inlineCompletion", completion_params(URI, *CURSOR, kind=2)))
    server.open(URI, CODE + CODE)
    server.call("after", "starcoder/metrics")
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


def test_with_trigger_invoked_automatic_requests_get_null(wire: Start) -> None:
    server = wire()
    server.start({"trigger": "invoked", "debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR, kind=2)["result"] is None
    assert server.complete(2, URI, *CURSOR, kind=1)["result"]["items"]
    assert server.stop() == 0


# Settings of the client


PULLED = {"workspace": {"configuration": True}}


def pulled(server: Wire) -> Any:
    """Wait for the next request for the client's settings, and return its id."""
    pull_id = server.until(lambda message: message.get("method") == "workspace/configuration")
    assert pull_id["params"] == {"items": [{"section": "starcoder"}]}
    return pull_id["id"]


def answer(msg_id: object, result: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": msg_id, "result": result}


def test_settings_are_pulled_at_the_start_and_after_changes(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED)
    evil = {"model": {"path": "/etc/passwd"}, "enabled": False, "nonsense": 1}
    server.send(answer(pulled(server), [evil]))
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"] is None
    server.send(notification("workspace/didChangeConfiguration", {"settings": None}))
    server.send(answer(pulled(server), [evil | {"enabled": True}]))
    server.send(answer(pulled(server), [evil | {"enabled": True}]))  # now the model is loaded
    server.model_is_loaded()
    assert server.complete(2, URI, *CURSOR)["result"]["items"]
    assert server.stop() == 0
    texts = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/showMessage"]
    assert len(texts) == 2  # each message once, although the settings were read several times
    assert any("starcoder.model.path" in text and "workspace/configuration" in text for text in texts)
    assert any("starcoder.nonsense" in text for text in texts)


def test_odd_replies_to_the_pull_are_ignored(wire: Start) -> None:
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


def test_a_failed_pull_keeps_the_settings(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED)
    error = {"code": METHOD_NOT_FOUND, "message": "no"}
    server.send({"jsonrpc": "2.0", "id": pulled(server), "error": error})
    server.model_is_loaded()
    assert server.stop() == 0
    assert "internal error" not in json.dumps(server.rest())


def test_the_model_loads_without_the_clients_reply_which_may_come_late(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}}, PULLED | {"window": {"workDoneProgress": True}})
    pull_id = pulled(server)
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    server.send(answer(pull_id, [{"enabled": False}]))
    create = next(m for m in server.came if m.get("method") == "window/workDoneProgress/create")
    server.send(answer(create["id"], None))
    assert server.complete(2, URI, *CURSOR)["result"] is None
    assert server.stop() == 0
    server.rest()
    assert not [m for m in server.came if m.get("method") == "$/progress"]
    assert "internal error" not in json.dumps(server.came)
    assert server.errors == []


def run(server: Wire, command: str) -> None:
    server.send(request(command, "workspace/executeCommand", {"command": f"starcoder.{command}"}))


def test_suggestions_that_are_on_for_a_moment_load_no_model(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}, "enabled": False}, PULLED)
    server.send(answer(pulled(server), [None]))
    run(server, "toggle")
    moment = pulled(server)
    run(server, "toggle")
    server.send(answer(moment, [None]))
    assert server.call("off", "starcoder/metrics")["result"]["model"] is None
    run(server, "toggle")
    server.send(answer(pulled(server), [None]))
    server.model_is_loaded()
    assert server.stop() == 0


def test_a_restart_that_also_turns_suggestions_on_loads_the_model_once(wire: Start) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}, "enabled": False}, PULLED)
    server.send(answer(pulled(server), [None]))
    run(server, "restartModel")
    server.send(answer(pulled(server), [{"enabled": True}]))
    assert server.reply("restartModel")["result"]["kind"] == "ready"
    assert server.stop() == 0
    assert len([message for message in server.rest() if message.get("method") == "workspace/configuration"]) == 2


def test_a_model_that_is_loaded_on_request_at_the_start_is_not_loaded_again_once_suggestions_are_on(
    wire: Start,
) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}, "enabled": False}, PULLED)
    at_start = pulled(server)
    run(server, "restartModel")
    server.send(answer(pulled(server), [None]), answer(at_start, [None]))
    assert server.reply("restartModel")["result"]["kind"] == "off"
    run(server, "toggle")
    assert (
        server.call("status", "workspace/executeCommand", {"command": "starcoder.showStatus"})["result"]["kind"]
        == "ready"
    )
    assert server.stop() == 0
    assert len([message for message in server.rest() if message.get("method") == "workspace/configuration"]) == 2


@pytest.mark.parametrize("settings", [{"starcoder": {"enabled": False}}, {"enabled": False}])
def test_settings_pushed_by_a_client_are_used(wire: Start, settings: object) -> None:
    server = wire()
    server.start({"debounce": {"mode": "off"}})
    server.model_is_loaded()
    server.open(URI, CODE)
    assert server.complete(1, URI, *CURSOR)["result"]["items"]
    server.send(notification("workspace/didChangeConfiguration", {"settings": settings}))
    assert server.complete(2, URI, *CURSOR)["result"] is None
    assert server.stop() == 0


@pytest.mark.parametrize("options", [None, 3, [], {"starcoder": None}, {"starcoder": 3}, {"other": {}}])
def test_odd_initialization_options_are_survived(wire: Start, options: object) -> None:
    server = wire()
    params = {"processId": None, "rootUri": None, "capabilities": {}, "initializationOptions": options}
    assert "result" in server.call("initialize", "initialize", params)
    server.send(notification("initialized", {}))
    server.model_is_loaded()
    assert server.stop() == 0
    assert server.errors == []


def test_a_model_of_the_editors_settings_that_is_not_used_is_named(wire: Start, tmp_path: Path) -> None:
    path = tmp_path / "starcoder-lsp" / "starcoder-lsp.toml"
    path.parent.mkdir()
    path.write_text(f"[model]\npath = '{DEMONSTRATOR}'")
    server = wire(env={"XDG_CONFIG_HOME": str(tmp_path)})
    server.start({"model": {"path": "/other.gguf"}, "host": {"shared": False}})
    server.model_is_loaded()
    assert server.stop() == 0
    (text,) = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/showMessage"]
    assert all(name in text for name in (str(path), str(DEMONSTRATOR), "/other.gguf"))


def test_a_broken_settings_file_is_reported_once(wire: Start, tmp_path: Path) -> None:
    path = tmp_path / "starcoder-lsp" / "starcoder-lsp.toml"
    path.parent.mkdir()
    path.write_text("[completion\nmaxTokens = 3")
    server = wire(env={"XDG_CONFIG_HOME": str(tmp_path)})
    server.start()
    server.model_is_loaded()
    assert server.stop() == 0
    texts = [m["params"]["message"] for m in server.rest() if m.get("method") == "window/showMessage"]
    assert len(texts) == 1
    assert str(path) in texts[0]
