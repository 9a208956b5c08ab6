"""A language server that knows one word, `open_another`: another server beside ours."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

WORD = "open_another"
server = LanguageServer("other", "1")


@server.feature(types.TEXT_DOCUMENT_COMPLETION)
def completion(_params: types.CompletionParams) -> list[types.CompletionItem]:
    return [types.CompletionItem(label=WORD, kind=types.CompletionItemKind.Function)]


if __name__ == "__main__":
    server.start_io()
