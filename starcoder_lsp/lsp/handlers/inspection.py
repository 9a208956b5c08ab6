"""Requests about the server itself: the prompt at a place, and the counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starcoder_lsp.documents.documents import UnknownDocumentError
from starcoder_lsp.documents.quarantine import set_quarantine
from starcoder_lsp.front.replay import CHOSEN
from starcoder_lsp.lsp import convert
from starcoder_lsp.lsp.handlers.inline_completion import not_open

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def register(server: Server) -> None:
    """Add the handlers."""

    @server.feature("starcoder/explain")
    async def explain(params: Any) -> dict[str, Any] | None:
        uri, position = convert.text_document_position(params)
        try:
            return await server.session.answering.explain(uri, position.line, position.character)
        except UnknownDocumentError as problem:
            raise not_open(problem) from problem

    @server.feature("starcoder/metrics")
    async def metrics(_params: None) -> dict[str, Any]:
        report = await server.session.report()
        for document in report["documents"]:
            document["uri"] = server.protocol.uris.spelled(document["uri"])
        return report

    @server.command("starcoder.showStats")
    async def show_stats() -> dict[str, str]:
        return {"html": await server.statistics.page()}

    @server.feature("starcoder/alive")
    async def alive(_params: None) -> None:
        """Reply to the front, which asks whether the event loop runs."""

    @server.feature("starcoder/quarantine")
    def quarantine(params: Any) -> None:
        """Take from the front which documents ended the session before."""
        given = convert.plain(params)
        set_quarantine(given["withoutTree"], given["withoutSuggestions"])

    @server.feature(CHOSEN)
    def chosen(params: Any) -> None:
        """Take from the front what the user chose by commands in the session before."""
        server.choose(convert.plain(params))
