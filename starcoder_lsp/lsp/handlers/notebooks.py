"""Notebooks that are opened, edited and closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from starcoder_lsp.lsp import convert

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handlers."""

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_OPEN)
    def did_open(params: types.DidOpenNotebookDocumentParams) -> None:
        notebook, texts = params.notebook_document, convert.cell_texts(params.cell_text_documents)
        server.session.documents.open_notebook(notebook.uri, notebook.version, convert.cells(notebook.cells), texts)
        server.report_sync()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CHANGE)
    def did_change(params: types.DidChangeNotebookDocumentParams) -> None:
        notebook, change = params.notebook_document, convert.notebook_change(params.change)
        with server.noting():
            server.session.documents.change_notebook(notebook.uri, notebook.version, change)
        server.report_sync()

    @server.feature(types.NOTEBOOK_DOCUMENT_DID_CLOSE)
    def did_close(params: types.DidCloseNotebookDocumentParams) -> None:
        with server.noting():
            server.session.documents.close_notebook(params.notebook_document.uri)
        server.report_sync()
