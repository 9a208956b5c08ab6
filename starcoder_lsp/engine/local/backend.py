"""What the model thread asks of a context. `llama.py` has one; a test may bring another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from starcoder_lsp.engine.local.pieces import TokenIds

N_SLICE = 64
"""Tokens of a slice by default: about a second of a 3B model on two CPU cores."""
Logits = NDArray[np.float32]
Interrupted = Callable[[], bool]
"""Asked while a slice of a prompt is evaluated; true means that something else is to be done first, or nothing."""


class Backend(Protocol):
    """Cells of several sequences, and the logits behind the tokens that were evaluated last."""

    n_cells: int
    """Cells that all sequences share."""
    n_slice: int
    """Most tokens of one `decode`, and prompt tokens of one turn."""
    pieces: Sequence[bytes]
    """The bytes that each token stands for, by id; empty for a marker."""
    evaluation_ms: float
    """Milliseconds spent in `decode` and `step` since the start."""
    prefill_speed: float
    """Prompt tokens evaluated in a second, a moving average over the slices of the last prompts."""

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:
        """Evaluate `ids` at `first_position` and after; false if that was broken off because of `interrupted`.

        Raises `EngineError` on failure. Then, and when broken off, some of the cells may be there.
        """

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        """Evaluate one token each of several sequences in one batch: `(sequence, id, position)`.

        Raises `EngineError` on failure; some of the cells may be there then.
        """

    def logits(self, row: int = -1) -> Logits:
        """Logits, shape `(n_vocab,)`, behind the last token of a `decode` or the `row`-th of a `step`.

        Valid until the next of either.
        """

    def branch(self, source: int, target: int, n_tokens: int = -1) -> None:
        """Let the empty sequence `target` share the first `n_tokens` cells that `source` has, or all."""

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep only the first `n_tokens` cells of the sequence; false if the context could not."""

    def n_cells_of(self, sequence: int) -> int:
        """How many cells the context holds for the sequence."""

    def agreeing(self, text: bytes) -> TokenIds:
        """Ids of the tokens that begin with `text` or that `text` begins with; never empty for a byte-level BPE."""

    def save(self, sequence: int) -> memoryview | None:
        """A copy of the sequence's cells, or `None` where there is no memory for it."""

    def restore(self, sequence: int, state: memoryview) -> bool:
        """Put a copy into the empty sequence; false if the context has no room for it."""
