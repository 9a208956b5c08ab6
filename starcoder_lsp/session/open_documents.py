"""Apply what the editor does to its documents and notebooks: open, edit, focus and close.

Documents and cells take the same way: the text changes first, then what depends on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from attrs import define

from starcoder_lsp.documents.documents import Edit, OutOfSyncError, UnknownDocumentError
from starcoder_lsp.documents.notebooks import Cell, CellText, NotebookChange, View
from starcoder_lsp.session.acceptance import AcceptanceTracker
from starcoder_lsp.session.document_state import DocumentStates
from starcoder_lsp.session.model_slot import ModelSlot
from starcoder_lsp.session.observation import Observation
from starcoder_lsp.session.prefetch import Prefetcher
from starcoder_lsp.session.read_ahead import ReadAhead
from starcoder_lsp.session.request_builder import RequestBuilder
from starcoder_lsp.session.requests import RequestManager


@define(eq=False)
class OpenDocuments:
    """Changes the open documents. On the event loop.

    A `key` is the URI of a document or notebook, whichever the editor opens and closes.
    """

    states: DocumentStates
    builder: RequestBuilder
    requests: RequestManager
    prefetcher: Prefetcher
    slot: ModelSlot
    acceptance: AcceptanceTracker
    observation: Observation
    read_ahead: ReadAhead

    def open(self, uri: str, language_id: str, version: int, text: str) -> None:
        """Open a document; it replaces one that is open under that URI already."""
        self._drop(uri)
        self.builder.texts.documents.open(uri, language_id, version, text)
        self.focus(uri)

    def open_notebook(self, uri: str, version: int, cells: Sequence[Cell], texts: Sequence[CellText]) -> None:
        """Open a notebook; it replaces one that is open under that URI already."""
        self._drop(uri)
        self.builder.texts.notebooks.open(uri, version, cells, texts)
        self.prefetcher.focused = next((cell.uri for cell in cells if not cell.is_markup), "")
        self.refocus()

    def focus(self, uri: str) -> None:
        """Note that the user looks at a document or cell. Raises `UnknownDocumentError`."""
        self._focus(uri, self.builder.texts.view(uri))

    def refocus(self) -> None:
        """Read and prefill the document that the user looks at once more, for instance for another model."""
        with suppress(UnknownDocumentError):
            self.focus(self.prefetcher.focused)

    def _focus(self, uri: str, view: View | None) -> None:
        if view is not None:
            self.builder.history.use(view.whole.uri)
            self.read_ahead.read(view.whole, *self.builder.now())
        self.prefetcher.on_focus(uri)

    def change(self, uri: str, version: int, edits: Sequence[Edit]) -> None:
        """Apply a change. Work for the text before it is superseded.

        Raises `UnknownDocumentError` and `OutOfSyncError`, see `Documents.change`.
        """
        texts = self.builder.texts
        try:
            texts.documents.change(uri, version, edits, texts.encoding)
        except (UnknownDocumentError, OutOfSyncError):
            self._abandon(uri)
            raise
        except Exception:  # a bug; the edits after this one are for another text
            self.mark_out_of_sync(uri)
            raise
        self._edited(uri, uri, edits)

    def change_notebook(self, uri: str, version: int, change: NotebookChange) -> None:
        """Apply a change. One that does more than edit cells supersedes all work for the notebook.

        Raises as `Notebooks.change`.
        """
        texts = self.builder.texts
        is_edit = not (change.splice or change.closed or change.opened or change.changed_cells)
        if not is_edit:
            self._abandon(uri)
        try:
            texts.notebooks.change(uri, version, change, texts.encoding)
        except (UnknownDocumentError, OutOfSyncError):
            self._abandon(uri)
            raise
        for opened in change.opened:
            self.prefetcher.focused = opened.uri
            self.states[uri].set_cursor(opened.uri, 0)
        if not is_edit:
            self.refocus()
        for cell in change.edits:
            self._edited(uri, cell.uri, cell.edits)

    def _edited(self, key: str, uri: str, edits: Sequence[Edit]) -> None:
        """Record edits that were applied to a document, or to a cell of the notebook `key`."""
        texts, state = self.builder.texts, self.states[key]
        view = texts.view(uri)
        self.observation.edited(view, uri, edits)
        state.gate.note_edit()
        if view is None or not edits or edits[-1].start_line is None:
            self._abandon(key)
            return
        end_byte = texts.end_of(edits[-1], view.own.text)
        state.set_cursor(uri, end_byte)
        inserted = edits[-1].text.encode("utf-8", "surrogatepass")
        self.acceptance.edited(uri, end_byte - len(inserted), inserted)
        self.requests.edited(state, view.whole.text.data, view.offset_byte + end_byte)
        self.builder.history.edit(view.whole.uri, edits, view.whole.text.line_of(view.offset_byte))
        self._focus(uri, view)

    def mark_out_of_sync(self, uri: str) -> None:
        """Answer nothing for a document until the editor sends its whole text: an edit got lost."""
        self.builder.texts.mark_out_of_sync(uri)
        self.observation.close(uri)
        self._abandon(uri)

    def close(self, uri: str) -> None:
        """Forget a document, but not its KV cells: it may be opened again. Raises `UnknownDocumentError`."""
        whole_uris = self._drop(uri)
        self.builder.texts.documents.close(uri)
        self.slot.persist(whole_uris)

    def close_notebook(self, uri: str) -> None:
        """Forget a notebook and all of its cells, but not its KV cells. Raises `UnknownDocumentError`."""
        whole_uris = self._drop(uri)
        self.builder.texts.notebooks.close(uri)
        self.slot.persist(whole_uris)

    def _abandon(self, key: str) -> None:
        """End the work for a document or notebook."""
        if key in self.states:
            self.requests.abandon(self.states[key])

    def _drop(self, key: str) -> list[str]:
        """Forget everything about a document or notebook but its text.

        Returns the URIs of the texts that the model saw of it.
        """
        self._abandon(key)
        self.states.pop(key, None)
        self.observation.close(key)
        whole_uris = self.builder.texts.whole_uris(key)
        for uri in whole_uris:
            self.builder.history.close(uri)
            self.read_ahead.forget(uri)
        return whole_uris
