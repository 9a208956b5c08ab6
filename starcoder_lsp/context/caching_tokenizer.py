"""A tokenizer that caches lines: from one keystroke to the next, only the cursor's line changes.

Tokenizing takes 0.45 to 0.8 ms a kilobyte (`bench/RESULTS.md`), and a window has several kilobytes. All documents share
the lines, and `learn` reads a document before a window of it is wanted.

A text is cut into lines, each with the line end *before* it. `Tokenizer.line_cut` matches only where a cut does not
change the ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain

from attrs import define, field

from starcoder_lsp.engine.tokens import Tokenizer

MAX_LINES = 32_768
"""The lines of a generation of the cache. There are two: a full one replaces the older one. A line with its ids takes
590 bytes (`bench/session_memory.py`), and a document of 10,000 lines has 6,000 different ones."""
MAX_CACHED_BYTES = 20 << 20
"""The memory of a generation, which 32,768 lines of code do not fill. A paragraph of prose on one line does: each
keystroke makes another line of it, of a kilobyte and 250 ids."""
LINE_BYTES = 250
"""Memory of a cached line besides its text and ids: two objects, and their place in a dictionary that doubles."""
ID_BYTES = 40
"""Memory of a cached id: a Python integer, and the reference to it."""
MAX_PIECE_BYTES = 4096
"""Bytes that `learn` tokenizes at once, in 2 to 3 ms: the longest wait of a request that comes meanwhile."""
NEWLINE = ord("\n")
MAX_SHORT_LINES = 4
"""Texts of at most this many lines, such as signatures that are pinned repeatedly, are cached whole, too."""

Ids = tuple[int, ...]


@define(eq=False)
class CachingTokenizer:
    """A `Tokenizer` whose `encode` caches the ids of lines."""

    _tokenizer: Tokenizer
    _known: dict[bytes, Ids] = field(factory=dict)
    _older: dict[bytes, Ids] = field(factory=dict)
    _n_known_bytes: int = field(default=0, init=False)
    """The memory of `_known`."""
    _before_cut: frozenset[int] = field(init=False)
    """The bytes behind which a text may be cut before a newline."""

    @_before_cut.default
    def _bytes_before_cut(self) -> frozenset[int]:
        cut = self._tokenizer.line_cut
        return frozenset(byte for byte in range(256) if cut is not None and cut.search(bytes((byte, NEWLINE))))

    @property
    def line_cut(self) -> re.Pattern[bytes] | None:
        """Return the pattern of places where a text may be cut, or `None`."""
        return self._tokenizer.line_cut

    def encode(self, text: bytes) -> Ids:
        """Return the token ids of `text`."""
        known = self._known
        if not self._before_cut:
            return self._tokenizer.encode(text)
        ids = known.get(text)
        if ids is not None:  # a line, or a short text such as a signature
            return ids
        lines = self._lines(text)
        missing = [line for line in lines if line not in known]
        if missing:
            self._find(lines, missing)
        ids = tuple(chain.from_iterable([known[line] for line in lines]))
        if 1 < len(lines) <= MAX_SHORT_LINES and len(known) < MAX_LINES:
            self._keep(text, ids)
        return ids

    def learn(self, text: bytes) -> Iterator[None]:
        """Tokenize the lines of `text` ahead of need, some of them in each step of the iterator.

        A line longer than a piece is left out: no window has all of it.
        """
        if not self._before_cut:
            return
        start = 0
        while start < len(text):
            is_last = len(text) - start <= MAX_PIECE_BYTES
            end = len(text) if is_last else self._last_cut(text, start + 1, start + MAX_PIECE_BYTES)
            if end > 0:
                self.encode(text[start:end])
                yield
            else:
                end = text.find(b"\n", start + MAX_PIECE_BYTES)
            start = len(text) if end < 0 else end

    def _last_cut(self, text: bytes, start: int, end: int) -> int:
        """Return the last place in a part of a text where `_lines` cuts it too, or -1."""
        at = text.rfind(b"\n", start, end)
        while at >= 0 and text[at - 1] not in self._before_cut:
            at = text.rfind(b"\n", start, at)
        return at

    def _lines(self, text: bytes) -> list[bytes]:
        """Cut a text. `line_cut.split` does the same, but looks at each byte, which takes three times as long."""
        lines, before, start, at = [], self._before_cut, 0, text.find(b"\n", 1)
        while at > 0:
            if text[at - 1] in before:
                lines.append(text[start:at])
                start = at
            at = text.find(b"\n", at + 1)
        lines.append(text[start:])
        return lines

    def _find(self, lines: list[bytes], missing: list[bytes]) -> None:
        """Take lines from the older generation, and tokenize those that are new."""
        known, older = self._known, self._older
        if len(known) + len(missing) > MAX_LINES or self._n_known_bytes > MAX_CACHED_BYTES:
            older.clear()
            older.update(known)
            known.clear()
            self._n_known_bytes = 0
            missing = lines
        for line in missing:
            ids = older.get(line)
            if ids is not None:
                self._keep(line, ids)
        new = [line for line in lines if line not in known]
        if new:
            self._learn(new)

    def _learn(self, lines: list[bytes]) -> None:
        """Tokenize lines of a text in one call, since each call costs time, and split its ids by line.

        They need not follow each other in the text: all but the last end, and all but the first begin, where a cut
        changes no ids.
        """
        text = b"".join(lines)
        ids = self._tokenizer.encode(text)
        lengths = list(map(len, map(self._tokenizer.piece, ids)))
        if sum(lengths) != len(text):  # the vocabulary has no token for some byte
            for line in lines:
                self._keep(line, self._tokenizer.encode(line))
            return
        start = 0
        for line in lines:
            end, n_bytes = start, 0
            while n_bytes < len(line):
                n_bytes += lengths[end]
                end += 1
            self._keep(line, ids[start:end])
            start = end

    def _keep(self, line: bytes, ids: Ids) -> None:
        if line not in self._known:
            self._n_known_bytes += LINE_BYTES + len(line) + ID_BYTES * len(ids)
        self._known[line] = ids

    def piece(self, token_id: int) -> bytes:
        """Return the bytes that `token_id` stands for."""
        return self._tokenizer.piece(token_id)

    def marker(self, text: str) -> int | None:
        """Return the id of the special token spelled `text`."""
        return self._tokenizer.marker(text)

    def spelling(self, token_id: int) -> bytes:
        """Return a token's bytes or a marker's name, for users to read."""
        return self._tokenizer.spelling(token_id)
