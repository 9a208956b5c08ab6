"""What `generation.py` and `decoding.py` ask of a context. `llama.py` has one; a test may bring another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from starcoder_lsp.engine.engine import Cancelled
from starcoder_lsp.engine.local.pieces import TokenIds

Logits = NDArray[np.float32]


class Backend(Protocol):
    """Cells of several sequences, and the logits behind the tokens that were evaluated last."""

    n_context: int
    n_sequences: int
    evaluation_ms: float
    """Milliseconds spent in `decode` and `step` since the start."""

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, cancelled: Cancelled) -> bool:
        """Evaluate `ids` at `first_position` and after; false if that was broken off because of `cancelled`.

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

    def branch(self, source: int, target: int) -> None:
        """Let the empty sequence `target` share the cells that `source` has."""

    def truncate(self, sequence: int, n_tokens: int) -> bool:
        """Keep only the first `n_tokens` cells of the sequence; false if the context could not."""

    def n_cells(self, sequence: int) -> int:
        """How many cells the context holds for the sequence."""

    def piece(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""

    def agreeing(self, text: bytes) -> TokenIds:
        """Ids of the tokens that begin with `text` or that `text` begins with; never empty for a byte-level BPE."""
