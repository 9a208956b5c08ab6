"""Make completion requests: a place in an open document, and what the session has besides it at that moment."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define

from starcoder_lsp.documents.notebooks import View
from starcoder_lsp.prompting import CompletionRequest, Model, decline_reason
from starcoder_lsp.session.edit_history import EditHistory
from starcoder_lsp.session.open_texts import OpenTexts
from starcoder_lsp.settings import Settings


@define(eq=False)
class RequestBuilder:
    """Makes requests from the open documents, the recent edits, the settings and the model. On the event loop."""

    texts: OpenTexts
    history: EditHistory
    now: Callable[[], tuple[Settings, Model | None]]
    """Returns the session's settings and its model, if one is loaded."""

    def request_at(self, view: View | None, own_byte: int = 0, n_items: int = 1) -> CompletionRequest[Model] | None:
        """Return the request for `n_items` suggestions at byte `own_byte` of a document or cell.

        Returns `None` if the document gets no suggestions now.
        """
        settings, model = self.now()
        if model is None or view is None or self.decline_reason(view):
            return None
        cursor_byte = view.offset_byte + min(own_byte, len(view.own.text.data))
        context = self.history.workspace_context(view.own.uri, self.texts.whole_text)
        return CompletionRequest(view.whole, cursor_byte, model, settings, context, n_items)

    def writable(self, uri: str) -> View | None:
        """Return the document or cell if the model can write in it now. Raises `UnknownDocumentError`."""
        view = self.texts.view(uri)
        _settings, model = self.now()
        return None if model is None or view is None or self.decline_reason(view) else view

    def decline_reason(self, view: View) -> str:
        """Return why a document gets no suggestions, or an empty string."""
        settings, _model = self.now()
        return decline_reason(view.whole, settings, self.history.root_of(view.own.uri))
