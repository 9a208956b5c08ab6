"""The prompt tokens that one turn of the model thread evaluates: as many as take some 30 ms on this machine.

Between two turns other requests are admitted and a cancel takes effect, so a slice must be short. A GPU wastes most of
its power on short batches, so a slice must not be shorter than that.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.backend import N_SLICE, Backend

TARGET_MS = 30.0
"""Milliseconds of a slice: two frames of a screen, and far less than a user notices. Not measured on a GPU."""
N_OFFLOADED_SLICE = 512
"""Most tokens of a batch at first where layers are on a GPU: llama.cpp's own default for `n_ubatch`."""
MAX_SLICE = 2048
"""A batch of 2,048 tokens takes some 400 MB for logits alone, with StarCoder2's vocabulary in 32 bits."""
MAX_FIXED_SHARE = 1.5
"""A slice may take this many times as long as the smallest one, if that takes longer than the target: where weights are
copied to the GPU for each batch, short batches cost nearly as much as long ones. Not measured."""


def first_batch(n_gpu_layers: int) -> int:
    """Return how many tokens the batches of a new context hold, before anything is measured."""
    return N_OFFLOADED_SLICE if n_gpu_layers else N_SLICE


@define(eq=False)
class SliceSize:
    """The tokens of the next slice: `n_tokens`, a multiple of `N_SLICE` and at most `n_batch`.

    `target_ms` is how long a slice may take.
    """

    n_batch: int
    target_ms: float
    n_tokens: int

    @classmethod
    def fixed(cls, n_batch: int) -> SliceSize:
        """Return a size that is a whole batch, however long that takes."""
        return cls(n_batch, math.inf, n_batch)

    def record(self, n_evaluated: int, elapsed_ms: float) -> None:
        """Choose the next size from a slice that was just evaluated. Half a slice or less is not used.

        If a slice of n tokens takes a + b n milliseconds, the sizes approach the one for which that is the target.
        """
        if 2 * n_evaluated <= self.n_tokens or elapsed_ms <= 0:
            return
        n_wanted = n_evaluated / elapsed_ms * self.target_ms
        if n_wanted < self.n_batch:
            self.n_tokens = min(max(int(n_wanted) // N_SLICE * N_SLICE, N_SLICE), self.n_batch)
        else:
            self.n_tokens = self.n_batch


def measured(n_batch: int, evaluate_ms: Callable[[int], float], reopen: Callable[[int], None]) -> SliceSize:
    """Return the size of slices for a new context whose batches hold `n_batch` tokens.

    `evaluate_ms` evaluates so many tokens in an empty context and returns the milliseconds. `reopen` makes a context
    with larger batches; it is called where even a whole batch takes less than half of the time. If there is no memory
    for that, the context has `n_batch` again. Raises `EngineError`.
    """
    elapsed_ms = evaluate_ms(min(N_SLICE, n_batch)) if n_batch > N_SLICE else 0.0
    size = SliceSize(n_batch, max(TARGET_MS, MAX_FIXED_SHARE * elapsed_ms), min(N_SLICE, n_batch))
    while size.n_batch > N_SLICE:
        if size.n_tokens >= size.n_batch:
            if size.n_batch >= MAX_SLICE or elapsed_ms > size.target_ms / 2:
                return size
            try:
                reopen(2 * size.n_batch)
            except EngineError:
                reopen(size.n_batch)
                return size
            size.n_batch *= 2
        n_tokens = min(2 * size.n_tokens, size.n_batch)
        elapsed_ms = evaluate_ms(n_tokens)
        if elapsed_ms > size.target_ms:
            size.record(n_tokens, elapsed_ms)
            return size
        size.n_tokens = n_tokens
    return size


def batch_timer(backend: Backend) -> Callable[[int], float]:
    """Return a function that evaluates so many tokens in the empty sequence 0 and returns the milliseconds.

    It does so twice: a GPU compiles or chooses what it needs for a new shape at the first time.
    """

    def evaluate_ms(n_tokens: int) -> float:
        elapsed_ms = 0.0
        for _ in range(2):
            before_ms = backend.evaluation_ms
            backend.decode(0, [0] * n_tokens, 0, lambda: False)
            elapsed_ms = backend.evaluation_ms - before_ms
            backend.truncate(0, 0)
        return elapsed_ms

    return evaluate_ms
