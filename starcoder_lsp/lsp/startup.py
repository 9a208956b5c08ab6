"""Start fast: the protocol's 554 classes are made at their first use, and garbage is not looked for meanwhile."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def make_server_quickly() -> Server:
    """Return the server, not started, for a process that does nothing else.

    Garbage collection is off during the imports: they leave next to no garbage, and looking for it takes 50 ms.
    """
    gc.disable()
    from starcoder_lsp.lsp.lazy_types import import_types

    import_types()
    from starcoder_lsp.lsp.app import make_server

    server = make_server()
    gc.freeze()
    gc.enable()
    return server
