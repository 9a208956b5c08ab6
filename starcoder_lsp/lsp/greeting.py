"""The reply to `initialize`, made from plain JSON: it is sent before the protocol's classes are imported.

Importing them takes longer than everything else at the start. `parts_of` keeps what this server reads of a client's
parameters, and only what has the specification's type: a client with odd capabilities is better served than refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from starcoder_lsp import __version__
from starcoder_lsp.front.framing import parsed
from starcoder_lsp.front.pending import key_of
from starcoder_lsp.lsp.forgiving import is_too_deep
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import load_user_file, read_settings, sent_layer, user_file

NAME: Final = "starcoder-lsp"
ENCODINGS: Final = ("utf-8", "utf-16", "utf-32")
TRIGGER_CHARACTERS: Final = (".", "(", "[", "{", ",", "=")
ACTION_KINDS: Final = ("quickfix", "refactor.rewrite")
COMMANDS: Final = (
    "starcoder.showStats",
    "starcoder.accept",
    "starcoder.toggle",
    "starcoder.restartModel",
    "starcoder.selectModel",
    "starcoder.showStatus",
    "starcoder.clearCache",
    "starcoder.exportDiagnostics",
    "starcoder.pullModel",
)

_ANYTHING: Final = object()
_READ: Final = {
    "processId": int,
    "clientInfo": {"name": str, "version": str},
    "rootUri": str,
    "workspaceFolders": [{"uri": str, "name": str}],
    "initializationOptions": _ANYTHING,
    "capabilities": {
        "general": {"positionEncodings": [str]},
        "workspace": {
            "configuration": bool,
            "didChangeConfiguration": {"dynamicRegistration": bool},
            "workspaceEdit": {"documentChanges": bool, "resourceOperations": [str]},
        },
        "textDocument": {
            "inlineCompletion": {},
            "codeAction": {
                "codeActionLiteralSupport": {"codeActionKind": {"valueSet": [str]}},
                "dataSupport": bool,
                "resolveSupport": {"properties": [str]},
                "tagSupport": {"valueSet": [int]},
            },
        },
        "notebookDocument": {"synchronization": {}},
        "window": {"workDoneProgress": bool, "showMessage": {}, "showDocument": {"support": bool}},
        "experimental": _ANYTHING,
    },
}
"""The members that the server reads, as the shape of their JSON. A handler that reads more needs a row here."""
_REQUIRED: Final[dict[str, Any]] = {"codeActionKind": {"valueSet": []}, "synchronization": {}}
"""Members that the specification requires of objects that are there."""


def reply_to(body: bytes) -> dict[str, Any] | None:
    """Return the reply to a message that is a valid `initialize`, `None` to any other."""
    message = parsed(body)
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0" or message.get("method") != "initialize":
        return None
    if key_of(message.get("id")) is None or is_too_deep(message):
        return None
    parts = parts_of(message.get("params"))
    if parts is None:
        return None
    layers = [sent_layer("initializationOptions", parts.get("initializationOptions")), load_user_file(user_file())]
    offers = Offers.of(parts, read_settings(layers)[0])
    return {"jsonrpc": "2.0", "id": message["id"], "result": offers.as_result()}


def parts_of(params: Any) -> dict[str, Any] | None:
    """Return the parts of `initialize`'s parameters that the server reads, `None` if they cannot be served.

    Strings, numbers, lists and objects of another type than the specification's are left out, or empty where it
    requires them.
    """
    if not isinstance(params, dict) or not isinstance(params.get("capabilities"), dict):
        return None
    parts: dict[str, Any] = _kept(params, _READ)
    return {name: part for name, part in parts.items() if part not in ("", None)}


def _kept(value: Any, shape: Any) -> Any:
    """Return what a value has of a shape. A missing string, list or truth value is an empty or false one."""
    if shape is _ANYTHING:
        return value
    if isinstance(shape, list):
        given = value if isinstance(value, list) else []
        return [_kept(each, shape[0]) for each in given if _fits(each, shape[0])]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return None
        members = ((name, _kept(value.get(name), inner)) for name, inner in shape.items())
        return {name: _REQUIRED.get(name) if member is None else member for name, member in members}
    if _fits(value, shape):
        return value
    return None if shape is int else shape()


def _fits(value: Any, shape: Any) -> bool:
    return isinstance(value, dict) if isinstance(shape, dict) else type(value) is shape


@frozen
class Offers:
    """The capabilities that depend on the client and its settings."""

    position_encoding: str
    menu: bool
    code_actions: bool
    notebooks: bool

    @classmethod
    def of(cls, parts: Mapping[str, Any], settings: Settings) -> Offers:
        """Return the offers for a client's parts of `initialize`.

        Entries of the completion menu are for clients without ghost text, if the settings leave it to them; code
        actions for those that accept one whose edit comes later.
        """
        known = parts["capabilities"]
        editing = known["textDocument"] or {}
        wanted = settings.completion.as_menu_items
        encodings = (known["general"] or {}).get("positionEncodings", ())
        actions = editing.get("codeAction") or {}
        return cls(
            position_encoding=next((each for each in encodings if each in ENCODINGS), "utf-16"),
            menu=wanted == "always" or (wanted == "auto" and editing.get("inlineCompletion") is None),
            code_actions=bool(actions.get("codeActionLiteralSupport") and actions["dataSupport"])
            and "edit" in (actions["resolveSupport"] or {}).get("properties", ()),
            notebooks=known["notebookDocument"] is not None,
        )

    def as_result(self) -> dict[str, Any]:
        """Return the result of `initialize`."""
        capabilities: dict[str, Any] = {
            "positionEncoding": self.position_encoding,
            "textDocumentSync": {"openClose": True, "change": 2, "save": False},
            "executeCommandProvider": {"commands": list(COMMANDS)},
            "inlineCompletionProvider": {},
            "workspace": {
                "workspaceFolders": {"supported": True, "changeNotifications": True},
                "fileOperations": {},
            },
        }
        if self.notebooks:
            capabilities["notebookDocumentSync"] = {"notebookSelector": [{"notebook": "*"}]}
        if self.menu:
            capabilities["completionProvider"] = {"triggerCharacters": list(TRIGGER_CHARACTERS)}
        if self.code_actions:
            capabilities["codeActionProvider"] = {"codeActionKinds": list(ACTION_KINDS), "resolveProvider": True}
        return {"capabilities": capabilities, "serverInfo": {"name": NAME, "version": __version__}}
