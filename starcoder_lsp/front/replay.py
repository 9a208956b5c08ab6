"""The messages that bring a new session to the state of the one before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Final

from starcoder_lsp.front.open_texts import OpenTexts

Message = dict[str, Any]

KEPT: Final = frozenset({"workspace/didChangeConfiguration", "textDocument/didFocus"})
"""Notifications of which only the last one is sent again."""
TOGGLE: Final = "starcoder.toggle"
SELECT_MODEL: Final = "starcoder.selectModel"


class Replay:
    """The editor's messages that each new session needs."""

    def __init__(self) -> None:
        self.texts = OpenTexts()
        self.has_begun = False
        """True if the editor has sent `initialize`."""
        self._initialize: Message = {}
        """The one that a session has accepted."""
        self._was_told_initialized = False
        self._initialized_params: Any = None
        self._last: dict[str, Any] = {}
        self._folders: list[Any] = []
        self._commands: list[Message] = []

    @property
    def is_initialized(self) -> bool:
        """Return whether a session has accepted `initialize`."""
        return bool(self._initialize)

    def initialize(self, message: Message) -> bytes:
        """Return the editor's `initialize` with this process as the session's parent."""
        self.has_begun = True
        params = message.get("params")
        if isinstance(params, dict):
            message = {**message, "params": {**params, "processId": os.getpid()}}
        return json.dumps(message).encode()

    def again(self, msg_id: str) -> bytes:
        """Return `initialize` for a later session."""
        return json.dumps({**self._initialize, "id": msg_id}).encode()

    def accept(self, initialize: bytes, result: Any) -> None:
        """Keep the `initialize` that the session has accepted, and read its reply."""
        self._initialize = json.loads(initialize)
        capabilities = result.get("capabilities") if isinstance(result, dict) else None
        if isinstance(capabilities, dict):
            self.texts.encoding = capabilities.get("positionEncoding") or "utf-16"

    def take(self, method: str, params: Any) -> None:
        """Note a notification."""
        if method == "initialized":
            self._was_told_initialized, self._initialized_params = True, params
        elif method == "workspace/didChangeWorkspaceFolders":
            self._folders.append(params)
        elif method in KEPT:
            self._last[method] = params
        self.texts.take(method, params)

    def note_command(self, body: bytes | None, reply: Message) -> None:
        """Note a command of the user's that the session has carried out and that a new one must know of."""
        if body is None or "result" not in reply:
            return
        params = json.loads(body).get("params")
        command = params.get("command") if isinstance(params, dict) else None
        same = [each for each in self._commands if each["command"] == command]
        if command == TOGGLE and same:
            self._commands.remove(same[0])  # twice is as if never
        elif command in (TOGGLE, SELECT_MODEL):
            self._commands = [each for each in self._commands if each["command"] != command] + [params]

    def messages(self, quarantine: Message) -> Iterator[tuple[str, Any, bool]]:
        """Yield the messages to a new session after `initialize`: method, parameters, and whether it is a request."""
        yield "starcoder/quarantine", quarantine, False
        for params in self._folders:
            yield "workspace/didChangeWorkspaceFolders", params, False
        if "workspace/didChangeConfiguration" in self._last:
            yield "workspace/didChangeConfiguration", self._last["workspace/didChangeConfiguration"], False
        if self._was_told_initialized:
            yield "initialized", self._initialized_params or {}, False
        for params in self._commands:
            yield "workspace/executeCommand", params, True
        for method, params in self.texts.messages():
            yield method, params, False
        if "textDocument/didFocus" in self._last:
            yield "textDocument/didFocus", self._last["textDocument/didFocus"], False
