"""Record the tokens in a sequence's cells, so that a request evaluates only the tokens behind a shared beginning.

The invariant: a sequence's recorded ids equal the cells that the context holds for it, position by position, on every
way out of every function here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from attrs import define, field

from starcoder_lsp.engine.local.backend import Backend, Interrupted, Logits
from starcoder_lsp.lru import LruDict

MAX_KEPT_LOGITS = 64
"""Places behind which logits are kept: a prompt, and each token of an answer of `completion.maxTokens`. StarCoder2's
take 192 KiB, so 12 MiB a sequence."""


class Owner(NamedTuple):
    """The owner of cells: a document of one client. Two clients never share a document."""

    client: str
    document: str


NOBODY = Owner("", "")


def common_prefix_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return the number of leading items that `a` and `b` share."""
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


@define(eq=False)
class CachedSequence:
    """The token ids of one sequence's cells, by position, and their owner.

    The first `n_prompt` cells hold a prompt, or the part of it that is evaluated; those behind them hold an answer.
    """

    sequence: int
    owner: Owner = NOBODY
    ids: list[int] = field(factory=list)
    n_prompt: int = 0
    _logits: LruDict[int, Logits] = field(factory=lambda: LruDict(MAX_KEPT_LOGITS))
    """Copies of the logits behind the last prompt and behind each token of its answer, by the number of ids before."""

    def match(self, prompt_ids: Sequence[int]) -> int:
        """Return the number of leading ids of `prompt_ids` that need no evaluation.

        The last id is evaluated for its logits, unless these are kept: while the user types inside a word, the prompt
        ends before the word and stays the same; and a further draft of an answer ends inside the one before.
        """
        n_shared = common_prefix_length(self.ids, prompt_ids)
        return n_shared if self.logits_behind(n_shared) is not None else min(n_shared, len(prompt_ids) - 1)

    def keep_logits(self, logits: Logits) -> None:
        """Copy the logits behind all of `ids`, which are a whole prompt, or one and the beginning of its answer."""
        self._logits[len(self.ids)] = logits.copy()

    def forget_logits(self, n_tokens: int) -> None:
        """Free the logits behind more than the first `n_tokens` ids: other ids follow these from now on."""
        for n_before in [n_before for n_before in self._logits if n_before > n_tokens]:
            del self._logits[n_before]

    def logits_behind(self, n_tokens: int) -> Logits | None:
        """Return the logits behind the first `n_tokens` ids if they are kept."""
        return self._logits.get(n_tokens)


def rewind(backend: Backend, cached: CachedSequence, n_tokens: int) -> None:
    """Truncate record and context to `n_tokens` cells, or to none if the context cannot."""
    if not backend.truncate(cached.sequence, n_tokens) or backend.n_cells_of(cached.sequence) != n_tokens:
        backend.truncate(cached.sequence, 0)
        n_tokens = 0
    del cached.ids[n_tokens:]
    cached.n_prompt = min(cached.n_prompt, n_tokens)
    cached.forget_logits(n_tokens)


def evaluate_slice(backend: Backend, cached: CachedSequence, ids: Sequence[int], interrupted: Interrupted) -> bool:
    """Evaluate a few `ids` behind the sequence's cells; return false if `interrupted` broke it off.

    After a failure or a break-off none of the new cells stays, even of finished micro-batches. Raises `EngineError`.
    """
    is_done = False
    try:
        is_done = backend.decode(cached.sequence, ids, len(cached.ids), interrupted)
    finally:
        if not is_done:
            rewind(backend, cached, len(cached.ids))
    if is_done:
        cached.ids.extend(ids)
        cached.n_prompt = len(cached.ids)
    return is_done


def share(backend: Backend, source: CachedSequence, target: CachedSequence, n_tokens: int) -> None:
    """Let the empty sequence `target` begin with the first `n_tokens` cells of `source`; nothing is copied."""
    backend.branch(source.sequence, target.sequence, n_tokens)
    target.ids[:] = source.ids[:n_tokens]
    target.n_prompt = min(source.n_prompt, n_tokens)
    if backend.n_cells_of(target.sequence) != n_tokens:
        rewind(backend, target, 0)


def move(backend: Backend, source: int, target: CachedSequence, ids: Sequence[int]) -> None:
    """Move the cells of the sequence `source` to `target`. They hold `ids`, perhaps without the last one."""
    backend.truncate(target.sequence, 0)
    backend.branch(source, target.sequence)
    backend.truncate(source, 0)
    moved = ids[: backend.n_cells_of(target.sequence)]
    target.forget_logits(common_prefix_length(target.ids, moved))
    target.ids[:] = moved
    rewind(backend, target, len(moved))
