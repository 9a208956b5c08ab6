r"""A tokenizer that remembers lines: at a keystroke all but the cursor's line is what it was at the one before.

Tokenizing takes 0.8 ms a kilobyte (`bench/RESULTS.md`), and a window has several.

A text is tokenized line by line, each with the line end that stands *before* it. StarCoder's pre-tokenizer begins a
piece wherever white space follows something that is none (llama.cpp, `src/llama-vocab.cpp`, "starcoder": GPT-2's
pattern, digits apart), and BPE merges inside pieces only. So the ids are those of the whole text.
"""

from __future__ import annotations

import re
from itertools import groupby

from attrs import field, frozen

from starcoder_lsp.engine.tokens import Tokenizer

N_LINES = 16_384
"""Lines that are remembered; beyond that, all of them are forgotten."""
LINE_START = re.compile(rb"(?<=[!-~])(?=\n)")
r"""Before a `\n` that follows a printable ASCII character: what counts as white space beyond ASCII is left alone."""

Ids = tuple[int, ...]


@frozen(eq=False)
class CachingTokenizer:
    """A `Tokenizer` whose `encode` remembers the lines that it was asked lately."""

    _tokenizer: Tokenizer
    _known: dict[bytes, Ids] = field(factory=dict)

    def encode(self, text: bytes) -> Ids:
        """Token ids of `text`."""
        lines, known = LINE_START.split(text), self._known
        if len(known) + len(lines) > N_LINES:
            known.clear()
        for is_known, run in groupby(lines, known.__contains__):
            if not is_known:
                self._learn(list(run))
        ids: list[int] = []
        for line in lines:
            ids += known[line]
        return tuple(ids)

    def _learn(self, lines: list[bytes]) -> None:
        """Tokenize lines that follow each other in one call, since each call costs something, and take them apart."""
        text = b"".join(lines)
        ids = self._tokenizer.encode(text)
        lengths = [len(self._tokenizer.piece(token_id)) for token_id in ids]
        if sum(lengths) != len(text):  # llama.cpp makes other bytes of what is no UTF-8, such as half a character
            self._known.update((line, self._tokenizer.encode(line)) for line in lines)
            return
        start = 0
        for line in lines:
            end, n_bytes = start, 0
            while n_bytes < len(line):
                n_bytes += lengths[end]
                end += 1
            self._known[line] = ids[start:end]
            start = end

    def piece(self, token_id: int) -> bytes:
        """The bytes that `token_id` stands for."""
        return self._tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        """The id of the special token spelled `text`."""
        return self._tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        """How a token is shown to a person."""
        return self._tokenizer.spelling(token_id)
