"""The state of each open document, and of each notebook with its cells, besides the text."""

from __future__ import annotations

from attrs import define, field

from starcoder_lsp.completion import Completion
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.session.gating import GateState
from starcoder_lsp.session.in_flight import InFlight
from starcoder_lsp.session.suggestion_cache import SuggestionCache


@define(eq=False)
class DocumentState:
    """The state of one document or notebook, whose URI is `key`. It is dropped as a whole when that is closed."""

    key: str
    cursor_uri: str = ""
    """The document or cell in which the user was last."""
    cursor_byte: int | None = None
    """The byte of `cursor_uri` at which the user last edited or requested a completion; `None` before that."""
    last_completion: Completion | None = None
    newest_request: CompletionRequest[Model] | None = None
    """The last request, until it is answered or superseded."""
    in_flight: InFlight | None = None
    cache: SuggestionCache = field(factory=SuggestionCache)
    gate: GateState = field(factory=GateState)

    def cursor_in(self, uri: str) -> int | None:
        """Return the last cursor in a document or cell, in bytes; `None` if the user was in another cell since."""
        return self.cursor_byte if self.cursor_uri == uri else None

    def set_cursor(self, uri: str, cursor_byte: int) -> None:
        """Set the last cursor: the user edits or requests at this byte of the document, or of one of the cells."""
        self.cursor_uri, self.cursor_byte = uri, cursor_byte


class DocumentStates(dict[str, DocumentState]):
    """The states by key. `states[key]` makes a missing one; `key in states` does not."""

    def __missing__(self, key: str) -> DocumentState:
        state = self[key] = DocumentState(key)
        return state

    def forget_suggestions(self) -> None:
        """Empty the caches of suggestions."""
        for state in self.values():
            state.cache.clear()
