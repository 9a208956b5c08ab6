r"""A tokenizer that remembers lines: at a keystroke all but the cursor's line is what it was at the one before.

Two thirds of a millisecond for a kilobyte is what tokenizing costs; a window is measured and made of some 20 of them.

A text is tokenized line by line, each with the line end that stands *before* it. StarCoder's pre-tokenizer begins a
piece wherever white space follows something that is none (llama.cpp, `src/llama-vocab.cpp`, "starcoder": GPT-2's
pattern, digits apart), and BPE merges inside pieces only. So the ids are those of the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from attrs import field, frozen

from starcoder_lsp.engine.tokens import Tokenizer

N_LINES = 16_384
"""Lines that are remembered, some 10 MB."""
LINE_START = re.compile(rb"(?<=[!-~])(?=\n)")
r"""Before a `\n` that follows a printable ASCII character: what counts as white space beyond ASCII is left alone."""


@frozen(eq=False)
class RememberingTokenizer:
    """A `Tokenizer` whose `encode` remembers the lines that it was asked lately."""

    _tokenizer: Tokenizer
    _encode_line: Callable[[bytes], tuple[int, ...]] = field(init=False)

    @_encode_line.default
    def _remember(self) -> Callable[[bytes], tuple[int, ...]]:
        return lru_cache(maxsize=N_LINES)(self._tokenizer.encode)

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Token ids of `text`."""
        ids: list[int] = []
        for line in LINE_START.split(text):
            ids += self._encode_line(line)
        return tuple(ids)

    def piece(self, token_id: int) -> bytes:
        """The bytes that `token_id` stands for."""
        return self._tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        """The id of the special token spelled `text`."""
        return self._tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        """How a token is shown to a person."""
        return self._tokenizer.spelling(token_id)
