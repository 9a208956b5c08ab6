"""A server within half a second: most of the time until the reply to `initialize` goes into importing the protocol.

`lsprotocol.types` is 554 classes, for each of which attrs writes and compiles methods: 415 ms of CPU time on a slow
core, 290 ms without the two that the server never uses. Nothing depends on this but the time.
"""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from starcoder_lsp.lsp.server import Server


def make_server_quickly() -> Server:
    """The server, not started. For a process that does nothing else."""
    gc.disable()  # there is next to no garbage in an import: 50 ms of collections would find none
    with without_comparing_and_showing():
        import lsprotocol.types  # noqa: F401
    from starcoder_lsp.lsp.server import make_server

    server = make_server()
    gc.freeze()
    gc.enable()
    return server


@contextmanager
def without_comparing_and_showing() -> Iterator[None]:
    """Classes that are defined meanwhile get no `__eq__` and no `__repr__` from attrs."""
    define = attrs.define
    attrs.define = functools.partial(define, eq=False, repr=False)
    try:
        yield
    finally:
        attrs.define = define
