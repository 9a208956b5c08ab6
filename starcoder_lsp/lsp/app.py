"""Make the server: the only importer of its handlers."""

from __future__ import annotations

from starcoder_lsp.lsp.handlers import (
    commands,
    documents,
    inline_completion,
    inspection,
    lifecycle,
    models,
    notebooks,
)
from starcoder_lsp.lsp.protocol import silence_pygls
from starcoder_lsp.lsp.server import Server


def make_server() -> Server:
    """Return a server with its handlers, not started."""
    silence_pygls()
    server = Server()
    for handlers in (lifecycle, documents, notebooks, inline_completion, inspection, commands, models):
        handlers.register(server)
    return server
