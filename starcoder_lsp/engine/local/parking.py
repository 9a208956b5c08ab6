"""KV states that are not in the context: copied out when another document needs the cells, copied back in when it pays.

A copy of 572 tokens of a 3B model takes 1.3 ms out and 7.5 ms in; evaluating them again takes seconds on a CPU. What
memory has no room for goes to disk, where that is on, and so does what a closed document or a closing program leaves.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

from attrs import frozen

from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, common_prefix_length, rewind, share
from starcoder_lsp.engine.local.state_files import StateFiles, StoredState

N_WORTH_PARKING = 64
"""Tokens whose loss is cheaper than a copy: about a second of a 3B model on two CPU cores, much less on a GPU."""

MAX_WRITING_S = 1.0
"""After how long `persist` begins no other file: a program that is told to exit has two seconds."""


@frozen(eq=False)
class ParkedState:
    """A copy of the cells that hold `ids`."""

    owner: Owner
    ids: tuple[int, ...]
    state: memoryview


class ParkedStates:
    """Copies in memory, at most `max_bytes` of them; the least recently used ones go first, to `files` if given."""

    def __init__(self, max_bytes: int, files: StateFiles | None = None) -> None:
        self._n_most_bytes = max_bytes
        self.files = files
        self._states: OrderedDict[int, ParkedState] = OrderedDict()

    def __iter__(self) -> Iterator[ParkedState]:
        """Those in memory, most recently used first; a snapshot, so that another thread may look."""
        return reversed(list(self._states.values()))

    def add(self, parked: ParkedState) -> None:
        """Keep a copy. One of the same document that it continues is dropped, and what is over the limit.

        A copy that is over the limit by itself drops no other.
        """
        for key, other in list(self._states.items()):
            if other.owner == parked.owner and parked.ids[: len(other.ids)] == other.ids:
                del self._states[key]
        if parked.state.nbytes > self._n_most_bytes:
            self._write(parked)
            return
        self._states[id(parked)] = parked
        while sum(other.state.nbytes for other in self._states.values()) > self._n_most_bytes:
            _, evicted = self._states.popitem(last=False)
            self._write(evicted)

    def _write(self, evicted: ParkedState) -> None:
        if self.files is not None:
            self.files.add(evicted.owner.document, evicted.ids, evicted.state, time.time_ns())

    def match_prefix(self, ids: Sequence[int]) -> tuple[ParkedState | StoredState | None, int]:
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

    def look(self, parked: ParkedState | StoredState) -> memoryview | None:
        """A copy that stays where it is, and counts as used now; `None` for a damaged file."""
        if not isinstance(parked, ParkedState):
            return self.take(parked)
        if id(parked) in self._states:
            self._states.move_to_end(id(parked))
        return parked.state

    def forget(self, client: str) -> None:
        """Drop every copy in memory that is a client's."""
        for parked in [parked for parked in self if parked.owner.client == client]:
            self.take(parked)


def swap_in(
    backend: Backend,
    target: CachedSequence,
    others: Iterable[CachedSequence],
    states: ParkedStates,
    owner: Owner,
    ids: Sequence[int],
) -> None:
    """Bring into `target` what shares the most with a prompt, and park what would be lost by that.

    That is what `target` has, the beginning of one of the `others`, which stay, or a parked state. The cells of
    `target` are parked when the prompt is another document's, or a place in the same one that is so far away that it
    shares less than half of them. A copy stays where it is, unless it is this document's own and the prompt goes on
    from at least half of it. Record and context agree on every way out.
    """
    n_active = common_prefix_length(target.ids, ids)
    better: ParkedState | StoredState | CachedSequence | None = None
    if len(ids) - n_active > N_WORTH_PARKING:  # while someone types, nothing can be better
        parked, n_parked = states.match_prefix(ids)
        other = max(others, key=lambda each: common_prefix_length(each.ids, ids), default=None)
        n_shared = common_prefix_length(other.ids, ids) if other is not None else 0
        if max(n_parked, n_shared) > n_active + N_WORTH_PARKING:
            better = other if n_shared >= n_parked else parked
    state = None
    if isinstance(better, ParkedState | StoredState):
        goes_on = isinstance(better, ParkedState) and better.owner == owner and 2 * n_parked >= len(better.ids)
        state = states.take(better) if goes_on else states.look(better)
    is_replaced = state is not None or isinstance(better, CachedSequence)
    leaves = target.owner != owner or 2 * n_active < len(target.ids) or is_replaced
    if leaves and len(target.ids) - n_active > N_WORTH_PARKING:
        park(backend, target, states)
    if isinstance(better, CachedSequence):
        rewind(backend, target, 0)
        share(backend, better, target, common_prefix_length(better.ids, ids))
    elif better is not None and state is not None:
        rewind(backend, target, 0)
        if backend.restore(target.sequence, state):
            target.ids.extend(better.ids)
            rewind(backend, target, len(better.ids))
        else:
            rewind(backend, target, 0)
            if isinstance(better, ParkedState):
                states.add(better)
    target.owner = owner


def park(backend: Backend, cached: CachedSequence, states: ParkedStates) -> None:
    """Copy a sequence's cells out, where that pays and there is memory for it. They stay where they are, too."""
    if len(cached.ids) <= N_WORTH_PARKING:
        return
    state = backend.save(cached.sequence)
    if state is not None:
        states.add(ParkedState(cached.owner, tuple(cached.ids), state))


def persist(
    backend: Backend, sequences: Iterable[CachedSequence], states: ParkedStates, owners: Iterable[Owner] | None = None
) -> None:
    """Write to disk what is held of some owners, or of all. It stays where it is, too.

    Without a disk to write to nothing needs doing: the active cells are parked when another document needs theirs.
    """
    if states.files is None:
        return
    wanted = None if owners is None else set(owners)
    held = [parked for parked in states if wanted is None or parked.owner in wanted]
    for cached in sequences:
        if (wanted is None or cached.owner in wanted) and len(cached.ids) > N_WORTH_PARKING:
            active = backend.save(cached.sequence)
            if active is not None:
                held.insert(0, ParkedState(cached.owner, tuple(cached.ids), active))
    started = time.monotonic()
    used_ns = time.time_ns()
    for parked in held:
        if time.monotonic() - started > MAX_WRITING_S:
            break
        states.files.add(parked.owner.document, parked.ids, parked.state, used_ns)
        used_ns -= 1_000_000  # each was used before the one in front of it, which it must not push out
