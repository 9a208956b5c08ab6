"""Notebooks: each cell is a document, and the cells of one language are one text, so that a cell sees the others.

The joined text has one URI for all cells of a language. Each is derived from the one before by the smallest splice:
typing in a cell changes it there only, and the tree, the windows and the KV cells of the notebook stay. A notebook of
which a change got lost gets no suggestions until the editor opens it again.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import quote

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
from starcoder_lsp.documents.uris import path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starcoder_lsp.documents.text import PositionEncoding


@frozen
class Cell:
    """A cell's place in its notebook: the URI of its text, and whether it is markup and not code."""

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
    """`cells` in place of `n_deleted` cells from the one at `start`, which counts from 0."""

    start: int
    n_deleted: int
    cells: tuple[Cell, ...] = ()


@frozen
class CellEdits:
    """The edits that lead to a version of one cell's text, each for the result of the one before."""

    uri: str
    version: int
    edits: Sequence[Edit]


@frozen
class NotebookChange:
    """What one message changes. ``recast`` has cells that are there already and may have become markup or code."""

    splice: CellSplice | None = None
    closed: tuple[str, ...] = ()
    opened: tuple[CellText, ...] = ()
    recast: tuple[Cell, ...] = ()
    edits: tuple[CellEdits, ...] = ()


@frozen
class View:
    """A document in the text that the model is to see around it: byte 0 of `own` is byte `offset_byte` of `whole`.

    `key` is the URI of the document or notebook any edit of which makes what is computed for `whole` worthless.
    """

    key: str
    own: Snapshot
    whole: Snapshot
    offset_byte: int = 0


@frozen
class Part:
    """What a cell is in a joined text: `data`, empty where it is not to be seen there."""

    cell: Cell
    snapshot: Snapshot
    data: bytes


@frozen
class Joined:
    """The cells of a notebook as those of one language see them, as one text."""

    snapshot: Snapshot
    parts: Sequence[Part]


@define
class Notebook:
    """One open notebook."""

    uri: str
    version: int
    order: list[Cell]
    texts: Documents = field(factory=Documents)
    """Its cells' texts, those included that have no place in `order`."""
    joined: dict[str, Joined] = field(factory=dict)
    is_in_sync: bool = True

    def apply(self, change: NotebookChange, encoding: PositionEncoding) -> list[Snapshot]:
        """Apply a change; return the cells after their edits. Raises as `Notebooks.change`."""
        self.is_in_sync = False  # unless all of it can be applied
        if change.splice is not None:
            start, end = change.splice.start, change.splice.start + change.splice.n_deleted
            if not 0 <= start <= end <= len(self.order):
                message = f"a change of the cells {start} to {end} of {self.uri}, which has {len(self.order)}"
                raise OutOfSyncError(message)
            self.order[start:end] = change.splice.cells
        recast = {cell.uri: cell for cell in change.recast}
        self.order = [recast.get(cell.uri, cell) for cell in self.order]
        for uri in change.closed:
            self.texts.close(uri)
        self.open(change.opened)
        edited, problems = [], []
        for cell in change.edits:
            try:
                edited.append(self.texts.change(cell.uri, cell.version, cell.edits, encoding))
            except OutOfSyncError as problem:  # the cell's own; the other cells' edits are good
                problems.append(problem)
        self.is_in_sync = True
        if problems:
            raise problems[0]
        return edited

    def open(self, texts: Sequence[CellText]) -> None:
        """Take in the texts of cells."""
        for cell in texts:
            self.texts.open(cell.uri, cell.language_id, cell.version, cell.text)

    def view(self, cell_uri: str) -> View | None:
        """Return a cell among those of its language; None while any cell is out of step, or this one has no place."""
        own = self.texts.get(cell_uri)
        if own is None or not self.is_in_sync:
            return None
        uri = joined_uri(self.uri, own.language_id)
        before = self.joined.get(uri)
        known = {part.cell.uri: part for part in before.parts} if before else {}
        parts, n_bytes, offset_byte = [], 0, None
        for cell in self.order:
            snapshot = self.texts.get(cell.uri)
            if snapshot is not None:
                part = known.get(cell.uri)
                if part is None or part.snapshot is not snapshot or part.cell is not cell:
                    part = Part(cell, snapshot, _shown(cell, snapshot, own.language_id))
                if cell.uri == cell_uri:
                    offset_byte = n_bytes
                parts.append(part)
                n_bytes += len(part.data)
            elif cell.uri in self.texts:
                return None
        if offset_byte is None:
            return None
        joined = self.joined[uri] = _joined(uri, own.language_id, parts, before)
        return View(self.uri, own, joined.snapshot, offset_byte)


class Notebooks:
    """The notebooks that the editor has open, by URI."""

    def __init__(self) -> None:
        """Start with nothing open."""
        self._notebooks: dict[str, Notebook] = {}

    def open(self, uri: str, version: int, cells: Sequence[Cell], texts: Sequence[CellText]) -> None:
        """Take in a notebook that the editor opens, or opens again. A cell without a text is left out of the view."""
        self._notebooks[uri] = notebook = Notebook(uri, version, list(cells))
        notebook.open(texts)

    def change(self, uri: str, version: int, change: NotebookChange, encoding: PositionEncoding) -> list[Snapshot]:
        """Apply a change that leads to `version`, or stays there, since editors do not count every edit of a cell.

        Returns the cells after their edits, in the order of `change.edits`.

        Raises UnknownDocument for a notebook that is not open or for a cell that is not in it, and OutOfStep where the
        change is for another state than the one here. Only where that is about the text of single cells does a whole
        text for each help; otherwise the notebook is out of step until it is opened again.
        """
        notebook = self._get(uri)
        if not notebook.is_in_sync or version < notebook.version:
            notebook.is_in_sync = False
            message = f"a change to version {version} of {uri}, which is at version {notebook.version}"
            raise OutOfSyncError(message)
        notebook.version = version
        return notebook.apply(change, encoding)

    def mark_out_of_sync(self, uri: str) -> None:
        """Trust the notebook here no more: a change got lost. Raises UnknownDocument."""
        self._get(uri).is_in_sync = False

    def close(self, uri: str) -> list[str]:
        """Forget a notebook and its cells; return the URIs of its joined texts. Raises UnknownDocument."""
        notebook = self._get(uri)
        del self._notebooks[uri]
        return list(notebook.joined)

    def joined(self, uri: str) -> Snapshot | None:
        """Return a joined text by its own URI, as it was made last."""
        known = (notebook.joined[uri] for notebook in self._notebooks.values() if uri in notebook.joined)
        return next((joined.snapshot for joined in known), None)

    def view(self, cell_uri: str) -> View | None:
        """Return a cell among those of its language, see `Notebook.view`. Raises UnknownDocument for no cell."""
        notebook = self._of_cell(cell_uri)
        if notebook is None:
            raise UnknownDocumentError(cell_uri)
        return notebook.view(cell_uri)

    def __contains__(self, cell_uri: str) -> bool:
        """Whether a cell with this URI is open, in step or not."""
        return self._of_cell(cell_uri) is not None

    def _of_cell(self, cell_uri: str) -> Notebook | None:
        return next((notebook for notebook in self._notebooks.values() if cell_uri in notebook.texts), None)

    def _get(self, uri: str) -> Notebook:
        if uri not in self._notebooks:
            raise UnknownDocumentError(uri)
        return self._notebooks[uri]


def joined_uri(notebook_uri: str, language_id: str) -> str:
    """Return the URI of a language's joined text. Its path is the notebook's; that of `file:` would have the fragment.

    An empty authority stands before a path with a root, since a path may begin with two slashes.
    """
    path = path_of(notebook_uri)
    root = "//" if path.startswith("/") else ""
    return f"notebook:{root}{quote(path, errors='surrogatepass')}#{language_id}"


def _joined(uri: str, language_id: str, parts: Sequence[Part], before: Joined | None) -> Joined:
    """Return the text of `parts`, derived from the one before by the smallest splice: most parts are still the same."""
    if before is None:
        return Joined(fresh(uri, language_id, 0, Text.from_bytes(_text_of(parts))), parts)
    n_same = _n_same(before.parts, parts)
    n_last = _n_same(before.parts[n_same:][::-1], parts[n_same:][::-1])
    old, offset_byte = before.snapshot, sum(len(part.data) for part in parts[:n_same])
    gone, come = (_text_of(those[n_same : len(those) - n_last]) for those in (before.parts, parts))
    start, end, new = splice_between(gone, come)
    if not new and start == end:
        return Joined(old, parts)
    text = old.text.splice(offset_byte + start, offset_byte + end, new)
    edit = InputEdit.of_splice(old.text, offset_byte + start, offset_byte + end, text)
    return Joined(derived(old, old.version + 1, text, [edit]), parts)


def _text_of(parts: Sequence[Part]) -> bytes:
    return b"".join(part.data for part in parts)


def _n_same(some: Sequence[Part], others: Sequence[Part]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], zip(some, others, strict=False)))


def _shown(cell: Cell, snapshot: Snapshot, language_id: str) -> bytes:
    """Return what cells in `language_id` see of a cell: its text where that is in it, for other markup comments.

    A blank line follows, with the cell's own line ends. They stay when the cell's end is edited, so that what follows a
    cursor there does too, and a carriage return at a cell's end does not become half of another line end.
    """
    data = snapshot.text.data
    if snapshot.language_id != language_id:
        marker = language_for(language_id, "").line_comment
        if not cell.is_markup or marker is None or not data:
            return b""
        data = b"\n".join((marker.encode() + b" " + line).rstrip() for line in data.splitlines())
    return data + (b"\r\n\r\n" if b"\r" in data else b"\n\n")
