"""A server soon: most of the time until the reply to `initialize` goes into importing the protocol's 554 classes."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def make_server_quickly() -> Server:
    """The server, not started. For a process that does nothing else.

    There is next to no garbage in an import: 50 ms of collections would find none.
    """
    gc.disable()
    from starcoder_lsp.lsp.app import make_server

    server = make_server()
    gc.freeze()
    gc.enable()
    return server
