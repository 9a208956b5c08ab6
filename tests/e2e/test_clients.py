"""The real `initialize` parameters of four editors, and whether each editor can use every reply.

`clients/` has the parameters as recorded by the tests in `tests/editors/`, with the names of folders replaced.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types
from lsprotocol.converters import get_converter

from starcoder_lsp.documents.text import Text

from . import conftest
from .conftest import SETTINGS, Wire, notification, request

PROFILES = {path.stem: json.loads(path.read_text()) for path in sorted((Path(__file__).parent / "clients").glob("*"))}
URI = "file:///home/person/project/first/example.py"
OTHER_URI = "file:///home/person/project/first/other.py"
CODE = "import os\n\n\ndef read(path):\n    é = '😀'; f = open(path)\n    return f.re\n\n\ndef write(path):\n    pass\n"
REQUEST_FAILED = -32803
BYTE = len(CODE.partition("f.re")[0].encode()) + len("f.re")
NEEDED_CAPABILITIES = {
    "window/workDoneProgress/create": ("window", "workDoneProgress"),
    "workspace/configuration": ("workspace", "configuration"),
    "client/registerCapability": ("workspace", "didChangeConfiguration", "dynamicRegistration"),
    "workspace/applyEdit": ("workspace", "applyEdit"),
    "window/showMessageRequest": ("window", "showMessage"),
    "window/showDocument": ("window", "showDocument", "support"),
}
"""Requests of the server, each with the capability that the client must have for it."""


def capability(profile: Mapping[str, Any], *path: str) -> Any:
    value: Any = profile["capabilities"]
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


class Editor:
    """A server, and a client with the parameters of a real editor that replies to the server's requests."""

    def __init__(self, wire: Wire, profile: dict[str, Any]) -> None:
        self.wire, self.profile = wire, profile
        options = profile.get("initializationOptions") or {}
        own = options.get("starcoder") or {}
        completion = {**SETTINGS["completion"], **own.get("completion", {})}
        options = {**options, "starcoder": {**SETTINGS, **own, "completion": completion}}
        answer = wire.call("initialize", "initialize", {**profile, "initializationOptions": options})
        self.server = answer["result"]["capabilities"]
        self.encoding = self.server.get("positionEncoding", "utf-16")
        self._n_answered = 0
        wire.send(notification("initialized", {}))
        while self.call("starcoder/metrics")["model"] is None:
            wire.until(lambda message: "method" in message)
        document = {"uri": URI, "languageId": "python", "version": 3, "text": CODE}
        wire.send(notification("textDocument/didOpen", {"textDocument": document}))

    def call(self, method: str, params: object = None) -> Any:
        """Return the result of a request; requests of the server in between get the simplest reply."""
        msg_id = f"{method} {len(self.wire.came)}"
        self.wire.send(request(msg_id, method, params))
        reply = self.wire.reply(msg_id)
        for message in self.wire.came[self._n_answered :]:
            if "method" in message and "id" in message:
                asked = [None] if message["method"] == "workspace/configuration" else None
                self.wire.send({"jsonrpc": "2.0", "id": message["id"], "result": asked})
        self._n_answered = len(self.wire.came)
        assert "error" not in reply, reply
        return reply["result"]

    def place(self) -> dict[str, Any]:
        line, character = Text.from_str(CODE).position_of(BYTE, self.encoding)
        return {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}}

    def applied(self, edit: Mapping[str, Any], text: str) -> str:
        """Return the document with a text in place of a range, in this client's encoding."""
        document, between = Text.from_str(CODE), edit["range"]
        start, end = (
            document.byte_at(between[which]["line"], between[which]["character"], self.encoding)
            for which in ("start", "end")
        )
        assert between["start"]["line"] == between["end"]["line"] == self.place()["position"]["line"]
        assert start <= BYTE <= end
        return document.splice(start, end, text.encode()).to_str()


@pytest.fixture(params=PROFILES, scope="module")
def editor(request: pytest.FixtureRequest) -> Iterator[Editor]:
    """One server for all requests of a client."""
    wire = Wire()
    yield Editor(wire, PROFILES[request.param])
    wire.end_well()


def structured(value: Any, kind: type) -> Any:
    """Convert a value to the protocol's type; a value of another type raises."""
    return get_converter().structure(value, kind)


def test_every_editor_gets_ghost_text_that_it_can_insert(editor: Editor) -> None:
    """Emacs requests ghost text without declaring the capability."""
    assert editor.encoding in (capability(editor.profile, "general", "positionEncodings") or ["utf-16"])
    structured(editor.server, types.ServerCapabilities)
    params = {**editor.place(), "context": {"triggerKind": 1}}
    answer = structured(editor.call("textDocument/inlineCompletion", params), types.InlineCompletionList)
    assert answer.items
    for item in editor.call("textDocument/inlineCompletion", params)["items"]:
        assert "f.re" + item["insertText"] in editor.applied(item, item["insertText"])


def test_editors_without_ghost_text_get_menu_entries(editor: Editor) -> None:
    """Helix declares no formats and shows Markdown. Emacs declares ghost text by a setting only."""
    has_setting = "asMenuItems" in str(editor.profile.get("initializationOptions"))
    knows_ghost_text = has_setting or capability(editor.profile, "textDocument", "inlineCompletion") is not None
    assert ("completionProvider" in editor.server) != knows_ghost_text
    if not knows_ghost_text:
        answer = editor.call("textDocument/completion", {**editor.place(), "context": {"triggerKind": 1}})
        assert structured(answer, types.CompletionList).items
        for item in answer["items"]:
            edit = item["textEdit"]
            assert "é = '😀'; f = open(path)\n    return f.re" in editor.applied(edit, edit["newText"])
            formats = capability(editor.profile, "textDocument", "completion", "completionItem", "documentationFormat")
            assert item["documentation"]["kind"] in (formats or ["markdown"])


def test_every_editor_gets_code_actions_that_it_can_apply(editor: Editor) -> None:
    if "codeActionProvider" not in editor.server:
        pytest.skip("this client cannot resolve the edit of a code action")
    document = {"uri": OTHER_URI, "languageId": "python", "version": 7, "text": conftest.CODE}
    editor.wire.send(notification("textDocument/didOpen", {"textDocument": document}))
    position = {"line": conftest.CODE.count("\n") - 1, "character": 4}
    params = {
        "textDocument": {"uri": OTHER_URI},
        "range": {"start": position, "end": position},
        "context": {"diagnostics": []},
    }
    answer = editor.call("textDocument/codeAction", params)
    actions = [structured(action, types.CodeAction) for action in answer]
    assert any(action.title.startswith("Fill the body") for action in actions)
    replies = [editor.wire.call(action["title"], "codeAction/resolve", action) for action in answer]
    edits = [reply["result"]["edit"] for reply in replies if "result" in reply]
    assert edits, "the model wrote nothing usable anywhere"
    assert all(reply["error"]["code"] == REQUEST_FAILED for reply in replies if "error" in reply)
    versioned = capability(editor.profile, "workspace", "workspaceEdit", "documentChanges")
    for edit in edits:
        structured(edit, types.WorkspaceEdit)
        assert ("documentChanges" in edit) == bool(versioned)


def test_the_server_uses_only_capabilities_of_the_client(editor: Editor) -> None:
    editor.call("textDocument/inlineCompletion", {**editor.place(), "context": {"triggerKind": 2}})
    editor.call("workspace/executeCommand", {"command": "starcoder.showStatus"})
    for message in editor.wire.came:
        method = message.get("method")
        if method is not None and "id" in message:
            assert capability(editor.profile, *NEEDED_CAPABILITIES[method]), method
        if method == "$/progress":
            assert capability(editor.profile, "window", "workDoneProgress")
        if method == "starcoder/didChangeStatus":
            assert capability(editor.profile, "experimental", "starcoder", "status")
