"""Name the documents that the session works on, in shared memory that the front reads after the session's end.

A crash in C code leaves no message behind. So the URI of the document goes into memory that another process shares
before anything is done with its text. It costs 2 µs. Without such memory nothing is noted.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

N_SLOTS: Final = 2
"""The number of notes: one for the event loop, one for all other threads."""
SLOT_BYTES: Final = 2048
N_BYTES: Final = N_SLOTS * SLOT_BYTES
ENVIRONMENT: Final = "STARCODER_LSP_BOX"
"""The variable by which the session gets the descriptor."""
_N_LENGTH_BYTES: Final = 2

_memory: mmap.mmap | None = None
_noting: Final = threading.Lock()
_notes: Final[tuple[list[bytes], ...]] = tuple([] for _ in range(N_SLOTS))
"""The running work of each slot, the newest last. Several threads share a slot, and the oldest may end first."""


def share(descriptor: int) -> None:
    """Note from now on in the file behind `descriptor`, of N_BYTES. Raises `OSError` or `ValueError` if it is none."""
    global _memory  # noqa: PLW0603 -- there is one process, and one front of it
    _memory = mmap.mmap(descriptor, N_BYTES)
    os.close(descriptor)


def is_shared() -> bool:
    """Return whether there is a front that reads the notes."""
    return _memory is not None


@contextmanager
def working_on(uri: str) -> Iterator[None]:
    """Note until the end of the block that the current thread works on a document."""
    if _memory is None:
        yield
        return
    slot = 0 if threading.current_thread() is threading.main_thread() else 1
    note = uri.encode("utf-8", "surrogatepass")[: SLOT_BYTES - _N_LENGTH_BYTES]
    with _noting:
        _notes[slot].append(note)
        _write(_memory, slot * SLOT_BYTES, note)
    try:
        yield
    finally:
        with _noting:
            _notes[slot].remove(note)
            _write(_memory, slot * SLOT_BYTES, _notes[slot][-1] if _notes[slot] else b"")


def _write(memory: mmap.mmap, at: int, data: bytes) -> None:
    """Write a note; its length last, so that none is ever half."""
    memory[at : at + _N_LENGTH_BYTES] = bytes(_N_LENGTH_BYTES)
    memory[at + _N_LENGTH_BYTES : at + _N_LENGTH_BYTES + len(data)] = data
    memory[at : at + _N_LENGTH_BYTES] = len(data).to_bytes(_N_LENGTH_BYTES, "little")


def notes(data: bytes) -> list[str]:
    """Return the URIs in the bytes of such a file: of the threads first, where C code runs, then of the event loop."""
    found = []
    for at in range(N_BYTES - SLOT_BYTES, -1, -SLOT_BYTES):
        n_bytes = int.from_bytes(data[at : at + _N_LENGTH_BYTES], "little")
        note = data[at + _N_LENGTH_BYTES : at + _N_LENGTH_BYTES + min(n_bytes, SLOT_BYTES - _N_LENGTH_BYTES)]
        if note:
            found.append(note.decode("utf-8", "replace"))
    return found
