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
CHOSEN: Final = "starcoder/chosen"
"""The notification by which a session tells the front which settings the user chose by commands, and by which the next
session gets them. The editor does not get it."""


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
        self.chosen: Any = None
        """The parameters of the last `CHOSEN`."""

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

    def messages(self, quarantine: Message) -> Iterator[tuple[str, Any]]:
        """Yield the notifications to a new session after `initialize`: method and parameters."""
        yield "starcoder/quarantine", quarantine
        for params in self._folders:
            yield "workspace/didChangeWorkspaceFolders", params
        if self.chosen is not None:
            yield CHOSEN, self.chosen
        if "workspace/didChangeConfiguration" in self._last:
            yield "workspace/didChangeConfiguration", self._last["workspace/didChangeConfiguration"]
        if self._was_told_initialized:
            yield "initialized", self._initialized_params or {}
        yield from self.texts.messages()
        if "textDocument/didFocus" in self._last:
            yield "textDocument/didFocus", self._last["textDocument/didFocus"]
