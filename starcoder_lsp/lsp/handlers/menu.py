"""Suggestions as entries of the client's completion menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.greeting import TRIGGER_CHARACTERS
from starcoder_lsp.lsp.handlers.inline_completion import answer

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handler, for a client without ghost text or whose user asks for it."""

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGER_CHARACTERS))
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        completion = await answer(server, params, automatic=True)
        if completion is None:
            return types.CompletionList(is_incomplete=True, items=[])
        offers = server.session.answering.offer(params.text_document.uri, completion)
        return convert.menu(completion, offers, server.session.texts.encoding)
