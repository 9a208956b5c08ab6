"""Convert the protocol's values to the program's own and back. Bytes become positions here and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit, Snapshot
from starcoder_lsp.documents.notebooks import Cell, CellEdits, CellSplice, CellText, NotebookChange
from starcoder_lsp.documents.text import PositionEncoding, Text
from starcoder_lsp.documents.uris import path_of

WORD_BEFORE = re.compile(r"\w+\Z")
ACCEPT_COMMAND = "starcoder.accept"
"""The command that a client runs after it inserted a suggestion, so that the server counts it as accepted."""


def edits(changes: Iterable[types.TextDocumentContentChangeEvent]) -> list[Edit]:
    """Return the edits of a `textDocument/didChange`, in the order in which they apply."""
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
    """Return a notebook's cells, without their texts."""
    return tuple(Cell(cell.document, cell.kind == types.NotebookCellKind.Markup) for cell in given or ())


def cell_texts(given: Iterable[types.TextDocumentItem] | None) -> tuple[CellText, ...]:
    """Return the texts of opened cells."""
    return tuple(CellText(item.uri, item.language_id, item.version, item.text) for item in given or ())


def notebook_change(change: types.NotebookDocumentChangeEvent) -> NotebookChange:
    """Return the change of a `notebookDocument/didChange`, without metadata."""
    given = change.cells or types.NotebookDocumentCellChanges()
    structure = given.structure
    array = structure.array if structure else None
    return NotebookChange(
        splice=CellSplice(array.start, array.delete_count, cells(array.cells)) if array else None,
        closed=tuple(document.uri for document in (structure.did_close if structure else None) or ()),
        opened=cell_texts(structure.did_open if structure else None),
        changed_cells=cells(given.data),
        edits=cell_edits(given.text_content),
    )


def cell_edits(given: Iterable[types.NotebookDocumentCellContentChanges] | None) -> tuple[CellEdits, ...]:
    """Return the edits of cells, each cell once: a message may name a cell more than once, as the front's do."""
    found: dict[str, CellEdits] = {}
    for text in given or ():
        uri = text.document.uri
        earlier = found[uri].edits if uri in found else ()
        found[uri] = CellEdits(uri, text.document.version, [*earlier, *edits(text.changes)])
    return tuple(found.values())


def inline_completions(
    completion: Completion, offers: Iterable[tuple[str, Item]], encoding: PositionEncoding
) -> types.InlineCompletionList:
    """Return the reply to `textDocument/inlineCompletion`; each item has a range on one line."""
    return types.InlineCompletionList(
        items=[
            types.InlineCompletionItem(
                insert_text=item.text,
                range=range_of(completion, item, encoding),
                command=accepted(name),
            )
            for name, item in offers
        ]
    )


def menu(
    completion: Completion, offers: Iterable[tuple[str, Item]], encoding: PositionEncoding
) -> types.CompletionList:
    """Return the reply to `textDocument/completion`: the suggestion, then its first line alone if it has several.

    An entry begins with the word before the cursor, since clients hide entries that do not match the typed word.
    """
    entries: list[types.CompletionItem] = []
    for name, item in offers:
        first_line = Item(item.text.splitlines()[0] if item.text else "", item.n_replaced_bytes)
        shown = [item, first_line] if first_line.text.strip() and first_line.text != item.text else [item]
        entries += [_entry(completion, name, each, len(entries) + n, encoding) for n, each in enumerate(shown)]
    return types.CompletionList(is_incomplete=True, items=entries)


def _entry(
    completion: Completion, name: str, item: Item, number: int, encoding: PositionEncoding
) -> types.CompletionItem:
    text, at = completion.snapshot.text, completion.cursor_byte
    line_start = text.line_span(text.line_of(at))[0]
    word = WORD_BEFORE.search(text.data[line_start:at].decode("utf-8", "replace"))
    typed = word.group() if word else ""
    start = position(text, at - len(typed.encode()), encoding)
    end = position(text, at + item.n_replaced_bytes, encoding)
    label = typed + next((line for line in item.text.splitlines() if line.strip()), "").rstrip()
    return types.CompletionItem(
        label=label + (" …" if "\n" in item.text.strip() else ""),
        kind=types.CompletionItemKind.Text,
        detail="starcoder",
        documentation=types.MarkupContent(types.MarkupKind.Markdown, fenced(typed + item.text, completion.snapshot)),
        sort_text=f"\0{number}",
        filter_text=typed + item.text,
        insert_text_format=types.InsertTextFormat.PlainText,
        text_edit=types.TextEdit(types.Range(start, end), typed + item.text),
        command=accepted(name),
    )


def fenced(text: str, snapshot: Snapshot) -> str:
    """Return a Markdown code block."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{snapshot.language_id}\n{text}\n{fence}"


def range_of(completion: Completion, item: Item, encoding: PositionEncoding) -> types.Range:
    """Return the range that a suggestion replaces: empty, or a few closing brackets behind the cursor."""
    text, start_byte = completion.snapshot.text, completion.cursor_byte
    return types.Range(
        position(text, start_byte, encoding), position(text, start_byte + item.n_replaced_bytes, encoding)
    )


def accepted(name: str) -> types.Command:
    """Return the command that a client runs when the user accepts a suggestion."""
    return types.Command(title="Suggestion accepted", command=ACCEPT_COMMAND, arguments=[name])


def selected_entry(context: types.InlineCompletionContext) -> Edit | None:
    """Return the edit that the selected entry of the client's menu would make."""
    selected = context.selected_completion_info
    if selected is None:
        return None
    start, end = selected.range.start, selected.range.end
    return Edit(start.line, start.character, end.line, end.character, selected.text)


def names_of(params: Any) -> list[str]:
    """Return the names of the suggestions in a notification's `item` or `items`. Raises `JsonRpcInvalidParams`."""
    given = plain(params)
    members = given if isinstance(given, dict) else {}
    items = members.get("items") or [members.get("item")]
    if not isinstance(items, list):
        message = "expected {item} or {items: [...]}"
        raise JsonRpcInvalidParams(message)
    commands = (item.get("command") for item in items if isinstance(item, dict))
    arguments = (command.get("arguments") for command in commands if isinstance(command, dict))
    return [str(name) for names in arguments if isinstance(names, list) for name in names]


def has_own_capability(experimental: object, name: str) -> bool:
    """Return whether a client's experimental capabilities have `starcoder.<name>`."""
    plainly = plain(experimental)
    ours = plainly.get("starcoder") if isinstance(plainly, dict) else None
    return isinstance(ours, dict) and bool(ours.get(name))


def wants_status(params: types.InitializeParams) -> bool:
    """Return whether the client can show `starcoder/didChangeStatus`."""
    return has_own_capability(params.capabilities.experimental, "status")


def is_private(params: types.InitializeParams) -> bool:
    """Return whether the client's window is private: `experimental: {starcoder: {private}}` of its capabilities."""
    return has_own_capability(params.capabilities.experimental, "private")


def picks_files(params: types.InitializeParams) -> bool:
    """Return whether the client has a dialog of its own for a model file, shown on `starcoder/selectModel`."""
    return has_own_capability(params.capabilities.experimental, "selectModel")


def client_of(params: types.InitializeParams) -> str:
    """Return the client's name and version."""
    info = params.client_info
    return f"{info.name} {info.version or ''}".strip() if info is not None else "unknown"


def roots_of(params: types.InitializeParams) -> tuple[Path, ...]:
    """Return the workspace folders on disk, or the root folder of older clients."""
    uris = [folder.uri for folder in params.workspace_folders or ()] or [params.root_uri or ""]
    return tuple(root for uri in uris if (root := folder_of(uri)) is not None)


def folder_of(uri: str) -> Path | None:
    """Return the folder of a `file:` URI, `None` for any other URI."""
    path = path_of(uri)
    return Path(path) if uri.startswith("file:") and Path(path).is_absolute() else None


def position_encoding(negotiated: str) -> PositionEncoding:
    """Return the negotiated encoding; pygls negotiates only these three."""
    named: dict[str, PositionEncoding] = {"utf-8": "utf-8", "utf-16": "utf-16", "utf-32": "utf-32"}
    return named[str(getattr(negotiated, "value", negotiated))]


def position(text: Text, byte: int, encoding: PositionEncoding) -> types.Position:
    """Return a byte offset as a position in the client's encoding."""
    line, character = text.position_of(byte, encoding)
    return types.Position(line, character)


def plain(value: Any) -> Any:
    """Return objects that pygls made from JSON as dictionaries and lists again."""
    if hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def uri_of(params: object) -> str:
    """Return the URI of the document or notebook in parameters that are otherwise wrong; empty if it is wrong, too."""
    members = params if isinstance(params, dict) else {}
    document = members.get("textDocument") or members.get("notebookDocument")
    return str(document.get("uri", "")) if isinstance(document, dict) else ""


def text_document(params: Any) -> str:
    """Return the document of a notification that pygls has no type for. Raises `JsonRpcInvalidParams`."""
    uri = getattr(getattr(params, "textDocument", None), "uri", None)
    if not isinstance(uri, str):
        message = "expected {textDocument: {uri}}"
        raise JsonRpcInvalidParams(message)
    return uri


def text_document_position(params: Any) -> tuple[str, types.Position]:
    """Return the document and position of a request that pygls has no type for. Raises `JsonRpcInvalidParams`."""
    try:
        position = params.position
        return str(params.textDocument.uri), types.Position(int(position.line), int(position.character))
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        message = "expected {textDocument: {uri}, position: {line, character}}"
        raise JsonRpcInvalidParams(message) from error
