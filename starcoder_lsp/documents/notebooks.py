"""Notebooks: each cell is a document, and all cells of one language form one joined text, which the model sees.

A joined text has one URI. Each of its versions derives from the one before by the smallest splice, so that the tree,
the windows and the KV cells of the notebook stay valid. After a lost change a notebook gets no suggestions until the
editor opens it again.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from starcoder_lsp.documents.documents import (
    Documents,
    Edit,
    OutOfSyncError,
    Snapshot,
    UnknownDocumentError,
    derived,
    fresh,
)
from starcoder_lsp.documents.languages import language_for
from starcoder_lsp.documents.text import InputEdit, Text, splice_between
from starcoder_lsp.documents.uris import joined_uri

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starcoder_lsp.documents.text import PositionEncoding


@frozen
class Cell:
    """A cell of a notebook: the URI of its text, and whether it is markup instead of code."""

    uri: str
    is_markup: bool = False


@frozen
class CellText:
    """The text of a cell that the editor opens."""

    uri: str
    language_id: str
    version: int
    text: str


@frozen
class CellSplice:
    """`cells` replace `n_deleted` cells from index `start`, from 0."""

    start: int
    n_deleted: int
    cells: tuple[Cell, ...] = ()


@frozen
class CellEdits:
    """The edits that lead to a version of one cell's text; each applies to the result of the one before."""

    uri: str
    version: int
    edits: Sequence[Edit]


@frozen
class NotebookChange:
    """The changes in one message. `changed_cells` are cells of the notebook that may have become markup or code."""

    splice: CellSplice | None = None
    closed: tuple[str, ...] = ()
    opened: tuple[CellText, ...] = ()
    changed_cells: tuple[Cell, ...] = ()
    edits: tuple[CellEdits, ...] = ()


@frozen
class View:
    """A document within the text that the model sees: byte 0 of `own` is byte `offset_byte` of `whole`.

    An edit of the document or notebook with the URI `key` makes results for `whole` stale.
    """

    key: str
    own: Snapshot
    whole: Snapshot
    offset_byte: int = 0


@frozen
class JoinedCell:
    """A cell in a joined text, where its text is `data`; empty for cells that are left out."""

    cell: Cell
    snapshot: Snapshot
    data: bytes


@frozen
class Joined:
    """The joined text of one language, and its cells in order."""

    snapshot: Snapshot
    cells: Sequence[JoinedCell]


@define
class Notebook:
    """One open notebook."""

    uri: str
    version: int
    order: list[Cell]
    texts: Documents = field(factory=Documents)
    """The texts of all its cells, also of those that are not in `order`."""
    joined: dict[str, Joined] = field(factory=dict)
    is_in_sync: bool = True

    def apply(self, change: NotebookChange, encoding: PositionEncoding) -> list[Snapshot]:
        """Apply a change; return the edited cells. Raises the same errors as `Notebooks.change`."""
        self.is_in_sync = False  # until all of it is applied
        if change.splice is not None:
            start, end = change.splice.start, change.splice.start + change.splice.n_deleted
            if not 0 <= start <= end <= len(self.order):
                message = f"a change of the cells {start} to {end} of {self.uri}, which has {len(self.order)}"
                raise OutOfSyncError(message)
            self.order[start:end] = change.splice.cells
        changed_cells = {cell.uri: cell for cell in change.changed_cells}
        self.order = [changed_cells.get(cell.uri, cell) for cell in self.order]
        for uri in change.closed:
            self.texts.close(uri)
        self.open(change.opened)
        edited, problems = [], []
        for cell in change.edits:
            try:
                edited.append(self.texts.change(cell.uri, cell.version, cell.edits, encoding))
            except OutOfSyncError as problem:  # only this cell is out of sync
                problems.append(problem)
        self.is_in_sync = True
        if problems:
            raise problems[0]
        return edited

    def open(self, texts: Sequence[CellText]) -> None:
        """Add the texts of cells that the editor opens."""
        for cell in texts:
            self.texts.open(cell.uri, cell.language_id, cell.version, cell.text)

    def view(self, cell_uri: str) -> View | None:
        """Return a cell within its joined text; `None` if any cell is out of sync, or this one is not in `order`."""
        own = self.texts.get(cell_uri)
        if own is None or not self.is_in_sync:
            return None
        uri = joined_uri(self.uri, own.language_id)
        before = self.joined.get(uri)
        known = {joined.cell.uri: joined for joined in before.cells} if before else {}
        cells, n_bytes, offset_byte = [], 0, None
        for cell in self.order:
            snapshot = self.texts.get(cell.uri)
            if snapshot is not None:
                joined_cell = known.get(cell.uri)
                if joined_cell is None or joined_cell.snapshot is not snapshot or joined_cell.cell is not cell:
                    joined_cell = JoinedCell(cell, snapshot, _text_in_joined(cell, snapshot, own.language_id))
                if cell.uri == cell_uri:
                    offset_byte = n_bytes
                cells.append(joined_cell)
                n_bytes += len(joined_cell.data)
            elif cell.uri in self.texts:
                return None
        if offset_byte is None:
            return None
        joined = self.joined[uri] = _joined(uri, own.language_id, cells, before)
        return View(self.uri, own, joined.snapshot, offset_byte)


class Notebooks:
    """The open notebooks by URI."""

    def __init__(self) -> None:
        self._notebooks: dict[str, Notebook] = {}

    def open(self, uri: str, version: int, cells: Sequence[Cell], texts: Sequence[CellText]) -> None:
        """Take in a notebook that the editor opens, or opens again. A cell without a text is left out of the view."""
        self._notebooks[uri] = notebook = Notebook(uri, version, list(cells))
        notebook.open(texts)

    def change(self, uri: str, version: int, change: NotebookChange, encoding: PositionEncoding) -> list[Snapshot]:
        """Apply a change. Its version is not checked: messages are ordered, and editors do not count every edit.

        Returns the cells after their edits, in the order of `change.edits`.

        Raises `UnknownDocumentError` for a notebook that is not open or a cell that is not in it, and `OutOfSyncError`
        for a change that cannot be applied. If that concerns only the texts of some cells, a whole text for each of
        them brings the notebook back in sync. Otherwise the editor must open it again.
        """
        notebook = self._get(uri)
        if not notebook.is_in_sync:
            message = f"a change of {uri}, of which an earlier change is missing"
            raise OutOfSyncError(message)
        notebook.version = max(version, notebook.version)
        return notebook.apply(change, encoding)

    def mark_out_of_sync(self, uri: str) -> None:
        """Note that a change got lost. Raises `UnknownDocumentError`."""
        self._get(uri).is_in_sync = False

    def out_of_sync(self) -> set[str]:
        """Return the URIs of notebooks and cells that wait for their whole text."""
        notebooks = self._notebooks.values()
        cells = (cell for notebook in notebooks for cell in notebook.texts.out_of_sync)
        return {*(notebook.uri for notebook in notebooks if not notebook.is_in_sync), *cells}

    def close(self, uri: str) -> None:
        """Forget a notebook and its cells. Raises `UnknownDocumentError`."""
        self._get(uri)
        del self._notebooks[uri]

    def joined_uris(self, uri: str) -> list[str]:
        """Return the URIs of a notebook's joined texts; none for one that is not open."""
        return list(self._notebooks[uri].joined) if uri in self._notebooks else []

    def joined(self, uri: str) -> Snapshot | None:
        """Return the latest version of a joined text by its URI; `None` if there is none."""
        known = (notebook.joined[uri] for notebook in self._notebooks.values() if uri in notebook.joined)
        return next((joined.snapshot for joined in known), None)

    def view(self, cell_uri: str) -> View | None:
        """Return a cell within its joined text, as `Notebook.view`. Raises `UnknownDocumentError`."""
        notebook = self._of_cell(cell_uri)
        if notebook is None:
            raise UnknownDocumentError(cell_uri)
        return notebook.view(cell_uri)

    def __contains__(self, cell_uri: str) -> bool:
        """Return whether a cell with this URI is open, in sync or not."""
        return self._of_cell(cell_uri) is not None

    def _of_cell(self, cell_uri: str) -> Notebook | None:
        return next((notebook for notebook in self._notebooks.values() if cell_uri in notebook.texts), None)

    def _get(self, uri: str) -> Notebook:
        if uri not in self._notebooks:
            raise UnknownDocumentError(uri)
        return self._notebooks[uri]


def _joined(uri: str, language_id: str, cells: Sequence[JoinedCell], before: Joined | None) -> Joined:
    """Return the joined text of `cells`, derived from the one before by a splice between the unchanged cells."""
    if before is None:
        return Joined(fresh(uri, language_id, 0, Text.from_bytes(_text_of(cells))), cells)
    n_first = _n_same(before.cells, cells)
    n_last = _n_same(before.cells[n_first:][::-1], cells[n_first:][::-1])
    old, offset_byte = before.snapshot, sum(len(cell.data) for cell in cells[:n_first])
    removed, added = (_text_of(those[n_first : len(those) - n_last]) for those in (before.cells, cells))
    start, end, new = splice_between(removed, added)
    if not new and start == end:
        return Joined(old, cells)
    text = old.text.splice(offset_byte + start, offset_byte + end, new)
    edit = InputEdit.of_splice(old.text, offset_byte + start, offset_byte + end, text)
    return Joined(derived(old, old.version + 1, text, [edit]), cells)


def _text_of(cells: Sequence[JoinedCell]) -> bytes:
    return b"".join(cell.data for cell in cells)


def _n_same(some: Sequence[JoinedCell], others: Sequence[JoinedCell]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(some, others, strict=False)))


def _text_in_joined(cell: Cell, snapshot: Snapshot, language_id: str) -> bytes:
    """Return a cell's text in the joined text of `language_id`: code of that language, markup as comments, or nothing.

    A blank line follows, with the cell's own line ends. So the text after the cursor stays the same when the user types
    at the end of a cell, and a carriage return there does not become half of another line end.
    """
    data = snapshot.text.data
    if snapshot.language_id != language_id:
        marker = language_for(language_id, "").line_comment
        if not cell.is_markup or marker is None or not data:
            return b""
        data = b"\n".join((marker.encode() + b" " + line).rstrip() for line in data.splitlines())
    return data + (b"\r\n\r\n" if b"\r" in data else b"\n\n")
