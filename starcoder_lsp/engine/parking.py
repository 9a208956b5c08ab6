"""KV states that are not in the context: copied out when another document needs the cells, copied back in when it pays.

A copy of 572 tokens of a 3B model takes 1.3 ms out and 7.5 ms in; evaluating them again takes seconds on a CPU. What
memory has no room for goes to disk, where that is on, and so does what a closed document or a closing program leaves.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

from attrs import frozen

from starcoder_lsp.engine.backend import Backend
from starcoder_lsp.engine.generation import rewind
from starcoder_lsp.engine.kv_cache import SequenceLedger, common_prefix_length
from starcoder_lsp.engine.state_files import StateFiles, StoredState

N_WORTH_PARKING = 64
"""Tokens whose loss is cheaper than a copy: about a second of a 3B model on two CPU cores, much less on a GPU."""

N_MOST_WRITING_S = 1.0
"""After how long `put_away` begins no other file: a program that is told to exit has two seconds."""


class StateBackend(Backend, Protocol):
    """A context whose cells can be copied out and in."""

    def save(self, sequence: int) -> memoryview | None:
        """A copy of the sequence's cells, or `None` where there is no memory for it."""

    def restore(self, sequence: int, state: memoryview) -> bool:
        """Put a copy into the empty sequence; false if the context has no room for it."""


@frozen(eq=False)
class ParkedState:
    """A copy of the cells that hold `ids`."""

    document: str
    ids: tuple[int, ...]
    state: memoryview


class ParkedStates:
    """Copies in memory, at most `n_most_bytes` of them; the least recently used ones go first, to `files` if given."""

    def __init__(self, n_most_bytes: int, files: StateFiles | None = None) -> None:
        self._n_most_bytes = n_most_bytes
        self.files = files
        self._states: OrderedDict[int, ParkedState] = OrderedDict()

    def __iter__(self) -> Iterator[ParkedState]:
        """Those in memory, most recently used first; a snapshot, so that another thread may look."""
        return reversed(list(self._states.values()))

    def add(self, parked: ParkedState) -> None:
        """Keep a copy. One of the same document that it continues is dropped, and what is over the limit."""
        for key, other in list(self._states.items()):
            if other.document == parked.document and parked.ids[: len(other.ids)] == other.ids:
                del self._states[key]
        self._states[id(parked)] = parked
        while self._states and sum(other.state.nbytes for other in self._states.values()) > self._n_most_bytes:
            _, evicted = self._states.popitem(last=False)
            if self.files is not None:
                self.files.add(evicted.document, evicted.ids, evicted.state, time.time_ns())

    def best(self, ids: Sequence[int]) -> tuple[ParkedState | StoredState | None, int]:
        """The copy that shares the most leading ids with a prompt, and how many. One in memory before one on disk."""
        held: list[ParkedState | StoredState] = [*self, *(self.files or ())]
        scored = [(common_prefix_length(parked.ids, ids), parked) for parked in held]
        n_shared, parked = max(scored, key=lambda pair: pair[0], default=(0, None))
        return parked, n_shared

    def take(self, parked: ParkedState | StoredState) -> memoryview | None:
        """Let go of a copy in memory, or read one from disk, where it stays; `None` for a damaged file."""
        if isinstance(parked, ParkedState):
            self._states.pop(id(parked), None)
            return parked.state
        return self.files.read(parked) if self.files is not None else None

    def forget(self, document: str) -> None:
        """Drop every copy of a document."""
        for parked in [parked for parked in self if parked.document == document]:
            self.take(parked)
        if self.files is not None:
            self.files.forget(document)


def resume(
    backend: StateBackend, ledger: SequenceLedger, states: ParkedStates, document: str, ids: Sequence[int]
) -> None:
    """Bring into the sequence what shares the most with a prompt, and park what would be lost by that.

    The active cells are parked when the prompt is another document's, or a place in the same one that is so far away
    that it shares less than half of them. Ledger and context agree on every way out.
    """
    n_active = common_prefix_length(ledger.ids, ids)
    better = None
    if len(ids) - n_active > N_WORTH_PARKING:  # while someone types, nothing can be better
        parked, n_parked = states.best(ids)
        if parked is not None and n_parked > n_active + N_WORTH_PARKING:
            better = parked
    better_state = states.take(better) if better is not None else None
    leaves = ledger.document != document or 2 * n_active < len(ledger.ids) or better_state is not None
    if leaves and len(ledger.ids) - n_active > N_WORTH_PARKING:
        state = backend.save(ledger.sequence)
        if state is not None:
            states.add(ParkedState(ledger.document, tuple(ledger.ids), state))
    if better is not None and better_state is not None:
        rewind(backend, ledger, 0)
        if backend.restore(ledger.sequence, better_state):
            ledger.extend(better.ids)
            rewind(backend, ledger, len(better.ids))
        else:
            rewind(backend, ledger, 0)
    ledger.document = document


def put_away(backend: StateBackend, ledger: SequenceLedger, states: ParkedStates, document: str | None = None) -> None:
    """Write to disk what is held of `document`, or of all documents. It stays where it is, too.

    Without a disk to write to nothing needs doing: the active cells are parked when another document needs theirs.
    """
    if states.files is None:
        return
    held = [parked for parked in states if document in {None, parked.document}]
    if document in {None, ledger.document} and len(ledger.ids) > N_WORTH_PARKING:
        active = backend.save(ledger.sequence)
        if active is not None:
            held.insert(0, ParkedState(ledger.document, tuple(ledger.ids), active))
    started = time.monotonic()
    used_ns = time.time_ns()
    for parked in held:
        if time.monotonic() - started > N_MOST_WRITING_S:
            break
        states.files.add(parked.document, parked.ids, parked.state, used_ns)
        used_ns -= 1_000_000  # each was used before the one in front of it, which it must not push out
