"""Suggestions while an entry of the client's own menu is selected: they continue behind that entry."""

from __future__ import annotations

from attrs import evolve, frozen

from starcoder_lsp.completion import Completion, Item
from starcoder_lsp.documents.documents import Edit, Snapshot, spliced
from starcoder_lsp.documents.notebooks import View
from starcoder_lsp.documents.text import PositionEncoding
from starcoder_lsp.prompting import CompletionRequest, Model


@frozen
class SelectedEntry:
    """A menu's entry: `text` in place of `start_byte` to `end_byte`, which ends at the cursor."""

    start_byte: int
    end_byte: int
    text: bytes

    @classmethod
    def of(cls, selected: Edit, view: View, encoding: PositionEncoding) -> SelectedEntry:
        """Return the entry that would make the edit `selected` in a document or cell."""
        text = view.own.text
        start_byte = text.byte_at(selected.start_line or 0, selected.start_character, encoding)
        end_byte = max(start_byte, text.byte_at(selected.end_line, selected.end_character, encoding))
        inserted = selected.text.encode("utf-8", "surrogatepass")
        return cls(view.offset_byte + start_byte, view.offset_byte + end_byte, inserted)

    def taken(self, request: CompletionRequest[Model]) -> CompletionRequest[Model]:
        """Return the request for the document with the entry inserted.

        It uses a copy of the cached windows: the user has not inserted that text yet.

        Raises `ValueError` if the range is outside the text.
        """
        return evolve(
            request,
            snapshot=spliced(request.snapshot, self.start_byte, self.end_byte, self.text),
            cursor_byte=self.start_byte + len(self.text),
            model=evolve(request.model, anchors=request.model.anchors.copy()),
        )

    def in_front_of(self, completion: Completion, snapshot: Snapshot) -> Completion:
        """Return the answer to such a request for the document without the entry: each suggestion begins with it."""
        n_bytes = self.end_byte - self.start_byte
        text = self.text.decode("utf-8", "replace")
        items = tuple(Item(text + item.text, n_bytes + item.n_replaced_bytes) for item in completion.items)
        return evolve(completion, snapshot=snapshot, cursor_byte=self.start_byte, items=items)
