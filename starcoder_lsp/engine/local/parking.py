"""KV states outside the context: copied out when another document needs the cells, and copied back in when that pays.

Copying 572 tokens of a 3B model takes 1.3 ms out and 7.5 ms in; evaluating them again takes seconds on a CPU. If disk
space is set, the states of closed documents, those left at the end, and those that exceed the memory go to files.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet

from attrs import frozen

from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, common_prefix_length, rewind, share
from starcoder_lsp.engine.local.state_files import StateFiles, StoredState

N_WORTH_PARKING = 32
"""Up to so many tokens are evaluated again rather than copied: half a second of a 3B model on two CPU cores, and some
milliseconds on a GPU. Less than the smallest slice: where a slice takes seconds, two prompts of one document that take
turns would otherwise undo each other's. With 64 33.7, 10.9 and 7.2 tokens are evaluated for each edit of rustcode,
json-crdt-patch and seph-blog1, with 32 33.6, 10.8 and 7.2, with 16 33.5, 10.8 and 7.2 (`bench/evaluated.py`)."""

MAX_WRITING_S = 1.0
"""After this time `persist` starts no further file: the process must end within two seconds of `exit`."""


@frozen(eq=False)
class ParkedState:
    """A copy of the cells that hold `ids`, the first `n_prompt` of them a prompt."""

    owner: Owner
    ids: tuple[int, ...]
    state: memoryview
    n_prompt: int


class ParkedStates:
    """Copies in memory, at most `max_bytes` in all. The least recently used are evicted first, to `files` if given."""

    def __init__(self, max_bytes: int, files: StateFiles | None = None) -> None:
        self._max_bytes = max_bytes
        self.files = files
        self._states: OrderedDict[int, ParkedState] = OrderedDict()

    def __iter__(self) -> Iterator[ParkedState]:
        """Iterate over a snapshot of the copies in memory, most recently used first. Any thread may."""
        return reversed(list(self._states.values()))

    def add(self, parked: ParkedState) -> None:
        """Add a copy, and drop those of the same document that it continues. Evict what exceeds the limit.

        A copy that alone exceeds the limit evicts no other.
        """
        for key, other in list(self._states.items()):
            if other.owner == parked.owner and parked.ids[: len(other.ids)] == other.ids:
                del self._states[key]
        if parked.state.nbytes > self._max_bytes:
            self._write(parked)
            return
        self._states[id(parked)] = parked
        while sum(other.state.nbytes for other in self._states.values()) > self._max_bytes:
            _, evicted = self._states.popitem(last=False)
            self._write(evicted)

    def _write(self, evicted: ParkedState) -> None:
        if self.files is not None:
            self.files.add(evicted.owner.document, evicted.ids, evicted.state, time.time_ns())

    def match_prefix(self, ids: Sequence[int]) -> tuple[ParkedState | StoredState | None, int]:
        """Return the copy that shares the most leading ids with a prompt, memory before disk, and their number."""
        held: list[ParkedState | StoredState] = [*self, *(self.files or ())]
        scored = [(common_prefix_length(parked.ids, ids), parked) for parked in held]
        n_shared, parked = max(scored, key=lambda pair: pair[0], default=(0, None))
        return parked, n_shared

    def take(self, parked: ParkedState | StoredState) -> memoryview | None:
        """Remove a copy from memory, or read one from disk, where it stays; return `None` for a damaged file."""
        if isinstance(parked, ParkedState):
            self._states.pop(id(parked), None)
            return parked.state
        return self.files.read(parked) if self.files is not None else None

    def peek(self, parked: ParkedState | StoredState) -> memoryview | None:
        """Return a copy that stays where it is, and counts as used now; `None` for a damaged file."""
        if not isinstance(parked, ParkedState):
            return self.take(parked)
        if id(parked) in self._states:
            self._states.move_to_end(id(parked))
        return parked.state

    def forget_all_but(self, clients: AbstractSet[str]) -> None:
        """Drop every copy in memory but those of some clients."""
        for parked in [parked for parked in self if parked.owner.client not in clients]:
            self.take(parked)


def swap_in(  # noqa: PLR0913, PLR0917  # two cell stores, the record, and the parts of a request
    backend: Backend,
    target: CachedSequence,
    others: Iterable[CachedSequence],
    states: ParkedStates,
    owner: Owner,
    ids: Sequence[int],
) -> None:
    """Bring the cells that share the most with a prompt into `target`, and park cells that this replaces.

    These are the cells of `target`, the beginning of one of the `others`, which stay, or a parked state. The cells of
    `target` are parked if the new prompt lacks much of the old one: the user may return to that place, or a prefill may
    go on. So a parked state stays parked, unless it is this document's own and the prompt has nearly all of it. Record
    and context agree on every way out.
    """
    n_active = common_prefix_length(target.ids, ids)
    better: ParkedState | StoredState | CachedSequence | None = None
    if len(ids) - n_active > N_WORTH_PARKING:  # otherwise nothing can be much better, as while the user types
        parked, n_parked = states.match_prefix(ids)
        other = max(others, key=lambda each: common_prefix_length(each.ids, ids), default=None)
        n_shared = common_prefix_length(other.ids, ids) if other is not None else 0
        if max(n_parked, n_shared) > n_active + N_WORTH_PARKING:
            better = other if n_shared >= n_parked else parked
    state = None
    if isinstance(better, ParkedState | StoredState):
        is_own = isinstance(better, ParkedState) and better.owner == owner
        is_continued = is_own and better.n_prompt - n_parked <= N_WORTH_PARKING
        state = states.take(better) if is_continued else states.peek(better)
    if target.n_prompt - n_active > N_WORTH_PARKING:
        park(backend, target, states)
    if isinstance(better, CachedSequence):
        rewind(backend, target, 0)
        share(backend, better, target, common_prefix_length(better.ids, ids))
    elif better is not None and state is not None:
        rewind(backend, target, 0)
        if backend.restore(target.sequence, state):
            target.ids.extend(better.ids)
            target.n_prompt = better.n_prompt
            rewind(backend, target, len(better.ids))
        else:
            rewind(backend, target, 0)
            if isinstance(better, ParkedState):
                states.add(better)
    target.owner = owner


def park(backend: Backend, cached: CachedSequence, states: ParkedStates) -> None:
    """Copy a sequence's cells out, if that pays and there is memory for it. The cells stay."""
    if len(cached.ids) <= N_WORTH_PARKING:
        return
    state = backend.save(cached.sequence)
    if state is not None:
        states.add(ParkedState(cached.owner, tuple(cached.ids), state, cached.n_prompt))


def persist(
    backend: Backend, sequences: Iterable[CachedSequence], states: ParkedStates, owners: Iterable[Owner] | None = None
) -> None:
    """Write the cells and copies of some owners, or of all, to disk. They also stay where they are.

    If states do not go to disk, do nothing: cells are parked when another document needs them.
    """
    if states.files is None:
        return
    wanted = None if owners is None else set(owners)
    held = [parked for parked in states if wanted is None or parked.owner in wanted]
    for cached in sequences:
        if (wanted is None or cached.owner in wanted) and len(cached.ids) > N_WORTH_PARKING:
            active = backend.save(cached.sequence)
            if active is not None:
                held.insert(0, ParkedState(cached.owner, tuple(cached.ids), active, cached.n_prompt))
    started = time.monotonic()
    used_ns = time.time_ns()
    for parked in held:
        if time.monotonic() - started > MAX_WRITING_S:
            break
        states.files.add(parked.owner.document, parked.ids, parked.state, used_ns)
        used_ns -= 1_000_000  # used before the one in front of it, which it must not evict
