"""A parse with a deadline, and the care that py-tree-sitter's read callback needs. No languages, no queries.

Only a parse that reads through a callback can be stopped. Up to 0.26.1 the binding never lets go of what that callback
answers: with slices of the text each keystroke in a large file would cost as much memory as the file. So it gets the
same few buffers again and again, the largest that the rest of the text fills. The price is that the binding cannot tell
a node's text afterwards: it crashes in `Node.text` and in query predicates of its own, `#eq?` for example, which is why
the queries have `#one-of?` instead. Before 0.26.1 it also crashes after some callbacks (its issue 472).
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tree_sitter import Language, Tree

_BUFFER_SIZES: Final = (4096, 512, 64, 8, 1)  # bytes; larger ones make it no faster


def parse(grammar: Language, data: bytes, old_tree: Tree | None, limit_ms: float) -> Tree | None:
    """Return the tree of `data`, or None when that takes longer than `limit_ms`.

    `old_tree` is the tree of an earlier text that has been told of all edits since, to start from.
    """
    from tree_sitter import Parser  # 25 ms that no start-up should pay

    deadline = time.perf_counter() + limit_ms / 1e3
    run = partial(
        Parser(grammar).parse,
        _reader(data),
        progress_callback=lambda _offset, _has_error: time.perf_counter() > deadline,  # to raise here is to crash
    )
    try:
        return run(old_tree=old_tree) if old_tree is not None else run()  # None is no tree for the binding
    except ValueError:  # its word for a parse that was stopped
        return None


class _Buffers(threading.local):
    """The buffers through which a thread's parser reads, the largest first."""

    def __init__(self) -> None:
        self.by_size = [(n_bytes, bytearray(n_bytes)) for n_bytes in _BUFFER_SIZES]


_buffers: Final = _Buffers()


def _reader(data: bytes) -> Callable[[int, object], bytearray | bytes]:
    buffers = _buffers.by_size

    def read(offset: int, _point: object) -> bytearray | bytes:
        n_left = len(data) - offset
        for n_bytes, buffer in buffers:
            if n_bytes <= n_left:
                buffer[:] = data[offset : offset + n_bytes]
                return buffer
        return b""

    return read
