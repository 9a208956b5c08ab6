"""The documents and notebooks that the editor has open, by URI."""

from __future__ import annotations

from contextlib import suppress

from attrs import define, field

from starcoder_lsp.documents.documents import Documents, Edit, Snapshot, UnknownDocumentError
from starcoder_lsp.documents.notebooks import Notebooks, View
from starcoder_lsp.documents.text import PositionEncoding, Text


@define(eq=False)
class OpenTexts:
    """Documents and the cells of notebooks alike. `encoding` is the client's for positions."""

    documents: Documents = field(factory=Documents)
    notebooks: Notebooks = field(factory=Notebooks)
    encoding: PositionEncoding = "utf-16"

    def view(self, uri: str) -> View | None:
        """Return a document or cell; `None` if it is out of sync. Raises `UnknownDocumentError`."""
        if uri in self.notebooks or uri not in self.documents:
            return self.notebooks.view(uri)
        snapshot = self.documents.get(uri)
        return None if snapshot is None else View(uri, snapshot, snapshot)

    def has(self, view: View) -> bool:
        """Return whether the text of an earlier view is still what the model would see."""
        with suppress(UnknownDocumentError):
            now = self.view(view.own.uri)
            return now is not None and now.whole is view.whole
        return False

    def whole_text(self, uri: str) -> Snapshot | None:
        """Return a document, or a notebook's joined text, by its own URI; `None` if it is out of sync or not open."""
        return self.documents.get(uri) or self.notebooks.joined(uri)

    def whole_uris(self, key: str) -> list[str]:
        """Return the URIs of the texts that the model sees of a document, its own, or of a notebook."""
        return self.notebooks.joined_uris(key) or [key]

    def mark_out_of_sync(self, uri: str) -> None:
        """Show nothing of a document or notebook until the editor sends its whole text: an edit got lost."""
        self.documents.mark_out_of_sync(uri)
        with suppress(UnknownDocumentError):
            self.notebooks.mark_out_of_sync(uri)

    def out_of_sync(self) -> tuple[str, ...]:
        """Return the URIs of documents, notebooks and cells that wait for their whole text, in order."""
        return tuple(sorted({*self.documents.out_of_sync, *self.notebooks.out_of_sync()}))

    def is_numbered(self, uri: str) -> bool:
        """Return whether the version of a document is the client's own. True for one that is not open."""
        snapshot = self.documents.get(uri)
        return snapshot is None or snapshot.is_numbered

    def end_of(self, edit: Edit, text: Text) -> int:
        """Return the byte behind what an edit inserted into `text`, the text after the edit."""
        start_byte = text.byte_at(edit.start_line or 0, edit.start_character, self.encoding)
        return min(len(text.data), start_byte + len(edit.text.encode("utf-8", "surrogatepass")))
