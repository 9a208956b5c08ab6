"""Suggestions as entries of the client's completion menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.handlers.inline_completion import answer

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def _is_wanted(server: Server, params: types.InitializeParams) -> bool:
    wanted = server.session.settings.completion.as_menu_items
    editing = params.capabilities.text_document
    return wanted == "always" or (wanted == "auto" and (editing is None or editing.inline_completion is None))


def register_if_wanted(server: Server, params: types.InitializeParams) -> None:
    """Add the handler if the client has no ghost text or the settings ask for it."""
    if not _is_wanted(server, params):
        return

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=list(".([{,=")))
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        completion = await answer(server, params, automatic=True)
        if completion is None:
            return types.CompletionList(is_incomplete=True, items=[])
        offers = server.session.answering.offer(params.text_document.uri, completion)
        return convert.menu(completion, offers, server.session.texts.encoding)
