"""A tokenizer that remembers: at a keystroke all but the cursor's line is what it was at the one before.

Two thirds of a millisecond for a kilobyte is what tokenizing costs; a window is measured and made of some 20 of them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from attrs import field, frozen

from starcoder_lsp.engine.tokens import Tokenizer

N_TEXTS = 512
"""Texts that are remembered: most are one import or one line, a few are a whole side of the window."""


@frozen(eq=False)
class RememberingTokenizer:
    """A `Tokenizer` whose `encode` remembers what it was asked lately."""

    _tokenizer: Tokenizer
    _encode: Callable[[bytes], tuple[int, ...]] = field(init=False)

    @_encode.default
    def _remember(self) -> Callable[[bytes], tuple[int, ...]]:
        return lru_cache(maxsize=N_TEXTS)(self._tokenizer.encode)

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Token ids of `text`."""
        return self._encode(text)

    def piece(self, token_id: int) -> bytes:
        """The bytes that `token_id` stands for."""
        return self._tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        """The id of the special token spelled `text`."""
        return self._tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        """How a token is shown to a person."""
        return self._tokenizer.spelling(token_id)
