"""Which tokens are in which cells: the record that decides what a request need not evaluate again.

Pure bookkeeping, no model: `generation.py` does to the context what is decided here. The invariant is that a
sequence's recorded ids equal the cells which the context holds for it, position by position, on every way out.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading items `a` and `b` share."""
    n = min(len(a), len(b))
    if tuple(a[:n]) == tuple(b[:n]):
        return n
    low, high = 0, n  # a[:low] is shared, a[:high] is not
    while high - low > 1:
        mid = (low + high) // 2
        if tuple(a[low:mid]) == tuple(b[low:mid]):
            low = mid
        else:
            high = mid
    return low


@define
class SequenceLedger:
    """The token ids of one sequence's cells, in order of position, and the document they belong to."""

    sequence: int
    document: str = ""
    ids: list[int] = field(factory=list)

    def match(self, prompt_ids: Sequence[int]) -> int:
        """How many leading ids of `prompt_ids` need no evaluation.

        At least the last id is always evaluated, since its logits are not kept.
        """
        return min(common_prefix_length(self.ids, prompt_ids), len(prompt_ids) - 1)

    def truncate(self, n_tokens: int) -> None:
        """Record that only the first `n_tokens` cells are left."""
        del self.ids[n_tokens:]

    def extend(self, ids: Sequence[int]) -> None:
        """Record that `ids` were evaluated behind what was there."""
        self.ids.extend(ids)
