"""Use cells again whose text stands elsewhere in the prompt now, as after a jump of the cursor (`cache.reuseMoved`).

Above and below a new cursor there is mostly text that the prompt before had, too, but in another order: lines of the
suffix are in the prefix now, or the other way round. The longest such run is set aside in a sequence of its own. The
tokens before it are evaluated, and then it is put back behind them. These cells were computed behind other text, so the
logits differ a little from those of a prompt that is evaluated anew (`bench/moved.py`). llama.cpp's server reuses
cells in the same way (`--cache-reuse`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from attrs import frozen

from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.kv_cache import CachedSequence, rewind

MIN_RUN = 32
"""Shorter runs are evaluated again: half a slice on two CPU cores."""
N_ANEW = 8
"""The first tokens of a run are evaluated again: what stands before them has changed most. This takes nine tenths of
the error away (`bench/moved.py`)."""
N_KEY = MIN_RUN // 2
"""Runs are searched by groups of this many ids of the cells: a run of `MIN_RUN` has a whole one, wherever it begins."""

MAX_PLACES = 8
"""The most places at which a group of ids is looked at, so that a text that repeats costs no more than another one."""


@frozen
class Run:
    """The `n` ids that are at position `start` of the cells and belong to position `at`."""

    start: int
    at: int
    n: int


@frozen
class Aside:
    """Cells in a `sequence` of their own. They hold `ids`, from position `at` on."""

    sequence: int
    at: int
    ids: tuple[int, ...]

    @property
    def end(self) -> int:
        """The position after the last of these cells."""
        return self.at + len(self.ids)

    def serves(self, n_evaluated: int, ids: Sequence[int]) -> bool:
        """Return whether a prompt has these ids at this place: behind what is evaluated of it, and before its end."""
        return n_evaluated <= self.at and self.end < len(ids) and tuple(ids[self.at : self.end]) == self.ids


def longest_run(held: Sequence[int], ids: Sequence[int], n_shared: int, n_anew: int = N_ANEW) -> Run | None:
    """Return the longest run of ids that stands in `held` and in a prompt, behind the first `n_shared` ids of both.

    Of a text that repeats only some places are looked at. The run's first `n_anew` ids are left out. The prompt's last
    id is in no run: it is evaluated for its logits. Return `None` if all runs are shorter than `MIN_RUN`.
    """
    end = len(ids) - 1
    starts: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for start in range(n_shared, len(held) - N_KEY + 1, N_KEY):
        starts[tuple(held[start : start + N_KEY])].append(start)
    best, at = Run(0, 0, MIN_RUN - 1), n_shared
    while at + N_KEY <= end:
        found = starts.get(tuple(ids[at : at + N_KEY]), ())[-MAX_PLACES:]
        runs = [_extended(held, ids, Run(start, at, N_KEY), n_shared) for start in found]
        best = max(best, *runs, key=lambda run: run.n) if runs else best
        at = max((run.at + run.n - N_KEY for run in runs), default=at) + 1
    return Run(best.start + n_anew, best.at + n_anew, best.n - n_anew) if best.n >= MIN_RUN else None


def _extended(held: Sequence[int], ids: Sequence[int], run: Run, n_shared: int) -> Run:
    """Return the longest run around a shorter one."""
    start, at, n = run.start, run.at, run.n
    while at + n < len(ids) - 1 and start + n < len(held) and held[start + n] == ids[at + n]:
        n += 1
    while min(start, at) > n_shared and held[start - 1] == ids[at - 1]:
        start, at, n = start - 1, at - 1, n + 1
    return Run(start, at, n)


def set_aside(backend: Backend, cached: CachedSequence, spare: int, n_kept: int, run: Run) -> Aside:
    """Move a run of cells to the empty sequence `spare`, and truncate the sequence to its first `n_kept` cells."""
    ids = tuple(cached.ids[run.start : run.start + run.n])
    backend.branch(cached.sequence, spare, run.start + run.n, run.start)
    rewind(backend, cached, n_kept)
    if run.at != run.start:
        backend.shift(spare, run.at - run.start)
    return Aside(spare, run.at, ids)


def put_back(backend: Backend, cached: CachedSequence, aside: Aside) -> None:
    """Move cells that were set aside to the end of the sequence, which has all cells before them."""
    backend.branch(aside.sequence, cached.sequence, aside.end, aside.at)
    backend.truncate(aside.sequence, 0)
    cached.ids.extend(aside.ids)
    cached.n_prompt = len(cached.ids)
    rewind(backend, cached, len(cached.ids))  # drops all cells if the context disagrees
