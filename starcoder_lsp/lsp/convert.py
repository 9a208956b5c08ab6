"""The protocol's values to the program's own and back. Positions become bytes here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Edit
from starcoder_lsp.documents.globs import path_of
from starcoder_lsp.documents.notebooks import Cell, CellEdits, CellSplice, CellText, NotebookChange
from starcoder_lsp.documents.text import PositionEncoding, Text

ACCEPT_COMMAND = "starcoder.accept"
"""Run by a client after it inserted a suggestion, so that acceptance can be counted."""


def edits(changes: Iterable[types.TextDocumentContentChangeEvent]) -> list[Edit]:
    """The changes of a `textDocument/didChange`, in the order in which they apply."""
    return [
        Edit(
            change.range.start.line,
            change.range.start.character,
            change.range.end.line,
            change.range.end.character,
            change.text,
        )
        if isinstance(change, types.TextDocumentContentChangePartial)
        else Edit.whole(change.text)
        for change in changes
    ]


def cells(given: Iterable[types.NotebookCell] | None) -> tuple[Cell, ...]:
    """A notebook's cells, without their texts."""
    return tuple(Cell(cell.document, cell.kind == types.NotebookCellKind.Markup) for cell in given or ())


def cell_texts(given: Iterable[types.TextDocumentItem] | None) -> tuple[CellText, ...]:
    """The texts of cells that are opened."""
    return tuple(CellText(item.uri, item.language_id, item.version, item.text) for item in given or ())


def notebook_change(change: types.NotebookDocumentChangeEvent) -> NotebookChange:
    """The change of a `notebookDocument/didChange`; metadata are left out."""
    given = change.cells or types.NotebookDocumentCellChanges()
    structure = given.structure
    array = structure.array if structure else None
    return NotebookChange(
        splice=CellSplice(array.start, array.delete_count, cells(array.cells)) if array else None,
        closed=tuple(document.uri for document in (structure.did_close if structure else None) or ()),
        opened=cell_texts(structure.did_open if structure else None),
        recast=cells(given.data),
        edits=tuple(
            CellEdits(text.document.uri, text.document.version, edits(text.changes))
            for text in given.text_content or ()
        ),
    )


def inline_completions(completion: Completion, encoding: PositionEncoding) -> types.InlineCompletionList:
    """The answer to `textDocument/inlineCompletion`; each item has a range on one line."""
    text, start_byte = completion.snapshot.text, completion.cursor_byte
    start = position(text, start_byte, encoding)
    return types.InlineCompletionList(
        items=[
            types.InlineCompletionItem(
                insert_text=item.text,
                range=types.Range(start, position(text, start_byte + item.n_replaced_bytes, encoding)),
                command=types.Command(title="Suggestion accepted", command=ACCEPT_COMMAND),
            )
            for item in completion.items
        ]
    )


def root_of(params: types.InitializeParams) -> Path | None:
    """The first workspace folder, or the root of clients that know no others; `None` for what is no folder on disk."""
    uri = next((folder.uri for folder in params.workspace_folders or ()), params.root_uri) or ""
    path = path_of(uri)
    return Path(path) if uri.startswith("file:") and Path(path).is_absolute() else None


def position_encoding(negotiated: str) -> PositionEncoding:
    """The negotiated encoding by our name; pygls negotiates only these three."""
    named: dict[str, PositionEncoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}
    return named[str(getattr(negotiated, "value", negotiated))]


def position(text: Text, byte: int, encoding: PositionEncoding) -> types.Position:
    """A byte offset as the client's position."""
    line, character = text.position_of(byte, encoding)
    return types.Position(line, character)


def plain(value: Any) -> Any:
    """JSON that pygls turned into objects, as dictionaries and lists again."""
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def uri_of(params: object) -> str:
    """The document or notebook of parameters that are otherwise not to be understood, or an empty string."""
    members = params if isinstance(params, dict) else {}
    document = members.get("textDocument") or members.get("notebookDocument")
    return str(document.get("uri", "")) if isinstance(document, dict) else ""


def text_document(params: Any) -> str:
    """The document of a notification that pygls has no type for. Raises `JsonRpcInvalidParams`."""
    try:
        return str(params.textDocument.uri)
    except AttributeError as error:
        message = "expected {textDocument: {uri}}"
        raise JsonRpcInvalidParams(message) from error


def text_document_position(params: Any) -> tuple[str, types.Position]:
    """The document and place of a request that pygls has no type for. Raises `JsonRpcInvalidParams`."""
    try:
        position = params.position
        return str(params.textDocument.uri), types.Position(int(position.line), int(position.character))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        message = "expected {textDocument: {uri}, position: {line, character}}"
        raise JsonRpcInvalidParams(message) from error
