"""Repair messages that break the specification in harmless ways. Parameters are plain JSON here.

Messages are ordered, so edits can be applied in the order in which they come whatever version they carry. Libraries of
3.17 count the kinds of a trigger from 0, and some clients write `null` for what they leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

MAX_DEPTH: Final = 100
"""No message of the protocol is nested deeper than 20; recursion ends at about 900."""
INVOKED: Final = 1
UNVERSIONED: Final = 0
"""Stands for a missing version. It does not grow, so the server counts the edits of such a document itself."""


def is_too_deep(message: object) -> bool:
    """Return whether JSON is nested deeper than MAX_DEPTH, without recursion."""
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: object) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (each for each in value.values() if isinstance(each, dict | list))
    elif isinstance(value, list):
        yield from (each for each in value if isinstance(each, dict | list))


def forgive(method: str, params: Any) -> None:
    """Repair parameters, in place. Everything else is left as it is."""
    if not isinstance(params, dict):
        return
    if method == "textDocument/didOpen":
        _version(params.get("textDocument"))
    elif method == "textDocument/didChange":
        _version(params.get("textDocument"))
        _changes(params.get("contentChanges"))
    elif method == "notebookDocument/didOpen":
        for document in (params.get("notebookDocument"), *_list(params.get("cellTextDocuments"))):
            _version(document)
    elif method == "notebookDocument/didChange":
        _version(params.get("notebookDocument"))
        _cells(_member(params.get("change"), "cells"))
    elif method == "textDocument/inlineCompletion" or (
        method == "textDocument/completion" and isinstance(params.get("context"), dict)
    ):
        _context(params)


def _version(document: Any) -> None:
    if isinstance(document, dict) and document.get("version") is None:
        document["version"] = UNVERSIONED


def _changes(changes: Any) -> None:
    """Remove ranges that are `null`: such a change has the whole text."""
    for change in _list(changes):
        if isinstance(change, dict):
            for name in ("range", "rangeLength"):
                if name in change and change[name] is None:
                    del change[name]


def _cells(cells: Any) -> None:
    for opened in _list(_member(_member(cells, "structure"), "didOpen")):
        _version(opened)
    for content in _list(_member(cells, "textContent")):
        _version(_member(content, "document"))
        _changes(_member(content, "changes"))


def _context(params: dict[str, Any]) -> None:
    if params.get("context") is None:
        params["context"] = {"triggerKind": INVOKED}
    context = params["context"]
    if (
        isinstance(context, dict)
        and context.get("triggerKind") in (None, 0)
        and context.get("triggerKind") is not False
    ):
        context["triggerKind"] = INVOKED


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
