"""pygls with three changes: documents are ours, malformed requests get a reply, and nothing of a message is logged."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import JsonRPCNotification, LanguageServerProtocol, lsp_method

IGNORED = "starcoder/ignored"
Handling = Generator[tuple[Any, Any, Any], None, None]


def silence_pygls() -> None:
    """Keep pygls quiet: it logs whole messages, source text included, at INFO and in its error reports."""
    logging.getLogger("pygls").setLevel(logging.CRITICAL + 1)


class Protocol(LanguageServerProtocol):
    """The protocol without pygls' own copy of each document.

    That copy splits lines at form feeds and U+2028, clamps positions one short behind an unterminated last line, and
    costs a pass over the text for each edit.
    """

    def structure_message(self, data: dict[str, Any]) -> Any:
        """Deserialize; a request that cannot be understood is answered with an error instead of never."""
        try:
            return super().structure_message(data)
        except JsonRpcException:
            if "id" in data and "method" in data:
                message = f"the parameters of {data['method']!r} are not those of the specification"
                error = types.ResponseError(code=types.ErrorCodes.InvalidParams, message=message)
                self._send_response(data["id"], error=error)
            return JsonRPCNotification(method=IGNORED, jsonrpc=self.VERSION, params=None)

    def _handled(self, method: str, params: object) -> Handling:
        handler = self.fm.features.get(method)
        if handler is not None:
            yield handler, (params,), None

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> Handling:
        """Leave the document to our handler."""
        yield from self._handled(types.TEXT_DOCUMENT_DID_OPEN, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> Handling:
        """Leave the edit to our handler."""
        yield from self._handled(types.TEXT_DOCUMENT_DID_CHANGE, params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> Handling:
        """Leave the document to our handler."""
        yield from self._handled(types.TEXT_DOCUMENT_DID_CLOSE, params)
