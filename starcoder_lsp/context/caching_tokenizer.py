"""A tokenizer that caches lines: from one keystroke to the next, only the cursor's line changes.

Tokenizing takes 0.8 ms a kilobyte (`bench/RESULTS.md`), and a window has several kilobytes.

A text is cut into lines, each with the line end *before* it. `Tokenizer.line_cut` matches only where a cut does not
change the ids.
"""

from __future__ import annotations

import re
from itertools import groupby

from attrs import field, frozen

from starcoder_lsp.engine.tokens import Tokenizer

MAX_LINES = 16_384
"""Cached lines. When there would be more, all of them are dropped. Not measured; a window has some 200 lines."""

Ids = tuple[int, ...]


@frozen(eq=False)
class CachingTokenizer:
    """A `Tokenizer` whose `encode` caches the ids of lines."""

    _tokenizer: Tokenizer
    _known: dict[bytes, Ids] = field(factory=dict)

    @property
    def line_cut(self) -> re.Pattern[bytes] | None:
        """Return the pattern of places where a text may be cut, or `None`."""
        return self._tokenizer.line_cut

    def encode(self, text: bytes) -> Ids:
        """Return the token ids of `text`."""
        cut = self._tokenizer.line_cut
        if cut is None:
            return self._tokenizer.encode(text)
        lines, known = cut.split(text), self._known
        if len(known) + len(lines) > MAX_LINES:
            known.clear()
        for is_known, run in groupby(lines, known.__contains__):
            if not is_known:
                self._learn(list(run))
        ids: list[int] = []
        for line in lines:
            ids += known[line]
        return tuple(ids)

    def _learn(self, lines: list[bytes]) -> None:
        """Tokenize lines that follow each other in one call, since each call costs time, and split its ids by line."""
        text = b"".join(lines)
        ids = self._tokenizer.encode(text)
        lengths = [len(self._tokenizer.piece(token_id)) for token_id in ids]
        if sum(lengths) != len(text):  # the vocabulary has no token for some byte
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
        """Return the bytes that `token_id` stands for."""
        return self._tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        """Return the id of the special token spelled `text`."""
        return self._tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        """Return a token's bytes or a marker's name, for users to read."""
        return self._tokenizer.spelling(token_id)
