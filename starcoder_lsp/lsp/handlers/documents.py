"""Documents that are opened, edited and closed, and the one that the user looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types

from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.protocol import MISUNDERSTOOD

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handlers."""

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.session.documents.open(document.uri, document.language_id, document.version, document.text)
        server.log_decline(document.uri)
        server.report_sync()

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeTextDocumentParams) -> None:
        document, edits = params.text_document, convert.edits(params.content_changes)
        with server.noting():
            server.session.documents.change(document.uri, document.version, edits)
        server.report_sync(document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseTextDocumentParams) -> None:
        with server.noting():
            server.session.documents.close(params.text_document.uri)
        server.report_sync()

    @server.feature("textDocument/didFocus")
    def did_focus(params: Any) -> None:
        with server.noting():
            server.session.documents.focus(convert.text_document(params))

    @server.feature(MISUNDERSTOOD)
    def misunderstood(message: dict[str, Any]) -> None:
        """Stop serving a document if one of its edits has wrong parameters: its text here is no longer the editor's."""
        method = message["method"]
        server.log(types.MessageType.Warning, message["reason"])
        if method in (types.TEXT_DOCUMENT_DID_CHANGE, types.NOTEBOOK_DOCUMENT_DID_CHANGE):
            server.session.documents.mark_out_of_sync(convert.uri_of(message.get("params")))
            server.report_sync()
