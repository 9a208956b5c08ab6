"""The reply to `initialize` that is made without pygls, against the reply of pygls."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.lsp.app import make_server
from starcoder_lsp.lsp.greeting import parts_of, reply_to

ODD = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.just([]), st.just({}), st.just([{}]))
"""Values of a member that violate the specification."""


def some(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Return a strategy for objects with any of the members, and sometimes for other values."""
    whole = st.fixed_dictionaries({}, optional={name: st.one_of(each, each, ODD) for name, each in members.items()})
    return st.one_of(whole, whole, whole, ODD)


ENCODINGS = st.lists(st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-7"]), max_size=4)
CODE_ACTION = some(
    {
        "codeActionLiteralSupport": some({"codeActionKind": some({"valueSet": st.just(["quickfix"])})}),
        "dataSupport": st.booleans(),
        "resolveSupport": some({"properties": st.lists(st.sampled_from(["edit", "command"]))}),
        "tagSupport": some({"valueSet": st.lists(st.integers(0, 5))}),
    }
)
CAPABILITIES = some(
    {
        "general": some({"positionEncodings": ENCODINGS, "markdown": ODD}),
        "workspace": some(
            {
                "configuration": st.booleans(),
                "didChangeConfiguration": some({"dynamicRegistration": st.booleans()}),
                "workspaceEdit": some({"documentChanges": st.booleans(), "resourceOperations": st.just(["create"])}),
            }
        ),
        "textDocument": some({"inlineCompletion": some({}), "codeAction": CODE_ACTION, "foldingRange": ODD}),
        "notebookDocument": some({"synchronization": some({})}),
        "window": some({"workDoneProgress": st.booleans(), "showDocument": some({"support": st.booleans()})}),
        "experimental": some({"starcoder": some({"status": st.booleans()})}),
    }
)
MENU = some({"starcoder": some({"completion": some({"asMenuItems": st.sampled_from(["auto", "always", "never"])})})})
PARAMS = some(
    {
        "processId": st.integers(0, 2**40),
        "clientInfo": some({"name": st.just("vim"), "version": st.just("9")}),
        "rootUri": st.just("file:///work"),
        "workspaceFolders": st.lists(some({"uri": st.just("file:///work"), "name": st.just("work")}), max_size=2),
        "initializationOptions": MENU,
        "capabilities": CAPABILITIES,
        "trace": ODD,
    }
)


@pytest.fixture(scope="module", autouse=True)
def no_user_file(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Hide the user's settings of this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("settings")))
        yield


def initialize(params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "initialize", "params": params}


def replies_of_pygls(message: dict[str, Any], greeted_id: int | None = None) -> list[Any]:
    """Return, as JSON, the messages with which a server of pygls replies to one message."""

    async def handle() -> list[Any]:
        server, written = make_server(), []
        if greeted_id is not None:
            server.protocol.note_greeting(greeted_id)
        server.protocol.set_writer(type("Writer", (), {"write": lambda _self, data: written.append(data)})())
        server.protocol.handle_message(json.loads(json.dumps(message)))
        for _turn in range(5):
            await asyncio.sleep(0)
        return [json.loads(each.partition(b"\r\n\r\n")[2]) for each in written]

    return asyncio.run(handle())


@given(PARAMS)
def test_the_reply_equals_that_of_pygls(params: Any) -> None:
    message = initialize(params)
    reply = reply_to(json.dumps(message).encode())
    (theirs,) = replies_of_pygls(message)
    if reply is None:
        assert "error" in theirs
    else:
        assert theirs == reply


@given(PARAMS)
def test_stored_parts_of_initialize_survive_json(params: Any) -> None:
    parts = parts_of(params)
    if parts is not None:
        assert parts_of(json.loads(json.dumps(parts))) == parts


def test_pygls_does_not_reply_again() -> None:
    message = initialize({"capabilities": {}})
    assert replies_of_pygls(message, greeted_id=7) == []
    assert len(replies_of_pygls(message, greeted_id=8)) == 1


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {**initialize({"capabilities": {}}), "jsonrpc": "1.0"},
        {**initialize({"capabilities": {}}), "id": None},
        {**initialize({"capabilities": {}}), "method": "shutdown"},
        initialize({"capabilities": 3}),
        initialize({"capabilities": {"experimental": json.loads("[" * 200 + "]" * 200)}}),
    ],
)
def test_other_messages_get_no_early_reply(message: Any) -> None:
    assert reply_to(json.dumps(message).encode()) is None


def test_bytes_that_are_no_json_get_no_early_reply() -> None:
    assert reply_to(b"\xff{") is None


def test_the_users_settings_file_decides_about_menu_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / "starcoder-lsp" / "starcoder-lsp.toml"
    file.parent.mkdir()
    file.write_text('[completion]\nasMenuItems = "never"\n')
    reply = reply_to(json.dumps(initialize({"capabilities": {}})).encode())
    assert reply is not None
    assert "completionProvider" not in reply["result"]["capabilities"]
