"""Parse with a deadline, and avoid the faults of py-tree-sitter's read callback.

Only a parse that reads through a callback can be stopped. Up to 0.26.1 the binding leaks each buffer that the callback
returns, so slices of the text would leak as much memory as the file at each keystroke. Here the callback returns the
same few buffers again and again, the largest that the rest of the text fills. So a node's text is lost after the parse:
`Node.text` and the binding's own query predicates such as `#eq?` crash, and our queries use `#one-of?` instead. Before
0.26.1 the binding also crashes after some callbacks (its issue 472).
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tree_sitter import Language, Tree

_BUSY_FACTOR: Final = 4
"""Not measured."""
_BUFFER_BYTES: Final = (4096, 512, 64, 8, 1)
"""Larger buffers are no faster (the command was not kept)."""


def parse(grammar: Language, data: bytes, old_tree: Tree | None, limit_ms: float) -> Tree | None:
    """Return the tree of `data`, or `None` after `limit_ms` of this thread's time.

    Time in which other programs had the processor does not count, up to `_BUSY_FACTOR` times the limit in all.

    `old_tree` is the tree of an earlier text to start from, with all edits since applied by `Tree.edit`.
    """
    from tree_sitter import Parser  # 25 ms that no start-up should pay

    deadline = time.thread_time() + limit_ms / 1e3
    wall_deadline = time.perf_counter() + _BUSY_FACTOR * limit_ms / 1e3

    def is_late(_offset: int, _has_error: object) -> bool:  # an exception here crashes
        return time.thread_time() > deadline or time.perf_counter() > wall_deadline

    run = partial(
        Parser(grammar).parse,
        _reader(data),
        progress_callback=is_late,
    )
    try:
        return run(old_tree=old_tree) if old_tree is not None else run()  # the binding does not accept `None`
    except ValueError:  # the parse was stopped
        return None


class _Buffers(threading.local):
    """The read buffers of a thread's parser, the largest first."""

    def __init__(self) -> None:
        self.by_size = [(n_bytes, bytearray(n_bytes)) for n_bytes in _BUFFER_BYTES]


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
