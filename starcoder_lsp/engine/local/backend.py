"""The interface of a context to the model thread. `llama.py` implements it; a test may wrap it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from starcoder_lsp.engine.local.pieces import TokenIds

N_SLICE = 64
"""Tokens of a slice on a CPU, and the fewest anywhere: about a second of a 3B model on two idle CPU cores, at 65 to 80
tokens/s (on a slower machine 18.7, `starcoder-lsp bench synthetic 3b --tokens 512`). On a GPU: `slices.py`."""
Logits = NDArray[np.float32]
Interrupted = Callable[[], bool]
"""Called while a slice of a prompt is evaluated; true breaks the evaluation off."""


class Backend(Protocol):
    """The KV cells of several sequences, and the logits behind the last evaluated tokens."""

    n_cells: int
    """The number of cells, which all sequences share."""
    n_slice: int
    """The most tokens of one `decode`."""
    pieces: Sequence[bytes]
    """The bytes that each token stands for, by id; empty for a marker."""
    evaluation_ms: float
    """Milliseconds spent in `decode` and `step` since the start."""
    prefill_speed: float
    """Prompt tokens evaluated in a second, a moving average over the slices of the last prompts."""

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:
        """Evaluate `ids` from `first_position` on; return false if `interrupted` broke it off.

        Raises `EngineError` on failure. After a failure or a break-off some of the cells may exist.
        """

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        """Evaluate one token each of several sequences in one batch: `(sequence, id, position)`.

        Raises `EngineError` on failure; then some of the cells may exist.
        """

    def logits(self, row: int = -1) -> Logits:
        """Return the logits, shape `(n_vocab,)`, behind the last token of a `decode` or the `row`-th of a `step`.

        They are valid until the next evaluation.
        """

    def branch(self, source: int, target: int, end: int = -1, first: int = 0) -> None:
        """Let `target`, which has none there, share the cells `first` to `end` of `source`, or all from `first` on."""

    def shift(self, sequence: int, n_positions: int) -> None:
        """Move the cells of a sequence, which no other one shares, so many positions up or down."""

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep only the first `n_tokens` cells of the sequence; return false if the context cannot."""

    def n_cells_of(self, sequence: int) -> int:
        """Return the number of the sequence's cells."""

    def agreeing(self, text: bytes) -> TokenIds:
        """Return the ids of the tokens that begin with `text` or that `text` begins with. A byte-level BPE has some."""

    def without(self, avoid: bytes) -> TokenIds:
        """Return the ids of the tokens that have none of the bytes `avoid`; no markers."""

    def save(self, sequence: int) -> memoryview | None:
        """Return a copy of the sequence's cells, or `None` without memory for it."""

    def restore(self, sequence: int, state: memoryview) -> bool:
        """Put a copy into the empty sequence; return false if the context has no room for it."""
