"""Suggestions as ghost text, and the notifications of whether they were shown, accepted or rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import UnknownDocumentError
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.lsp import convert

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handlers."""

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def inline_completion(params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        automatic = params.context.trigger_kind == types.InlineCompletionTriggerKind.Automatic
        selected = convert.selected_entry(params.context)
        completion = await answer(server, params, automatic=automatic, selected=selected)
        if completion is None:
            return None
        offers = server.session.answering.offer(params.text_document.uri, completion)
        return convert.inline_completions(completion, offers, server.session.texts.encoding)

    @server.feature("textDocument/didShowCompletion")
    def did_show(params: Any) -> None:
        server.session.acceptance.show(convert.names_of(params))

    @server.feature("textDocument/didPartiallyAcceptCompletion")
    def did_accept_part(params: Any) -> None:
        for name in convert.names_of(params):
            server.session.acceptance.accept_part(name)

    @server.feature("starcoder/didReject")
    def did_reject(params: Any) -> None:
        server.session.acceptance.reject(convert.names_of(params))


async def answer(
    server: Server,
    params: types.CompletionParams | types.InlineCompletionParams,
    *,
    automatic: bool,
    **given: Any,
) -> Completion | None:
    """Return the session's suggestion. An engine error is logged. Raises `JsonRpcException` for an unknown document."""
    place = params.position
    try:
        completion = await server.session.answering.complete(
            params.text_document.uri, place.line, place.character, automatic=automatic, **given
        )
    except UnknownDocumentError as problem:
        raise not_open(problem) from problem
    except EngineError as problem:
        server.log(types.MessageType.Error, str(problem))
        return None
    if completion is not None and completion.text:
        server.on_suggestion()
    return completion


def not_open(problem: UnknownDocumentError) -> JsonRpcInvalidParams:
    """Return the error for a request about a document that is not open."""
    return JsonRpcInvalidParams(f"the document {problem} is not open")
