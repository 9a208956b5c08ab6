"""A second language server beside ours. It completes one word, `open_another`."""

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
