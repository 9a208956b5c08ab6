"""The interface of tokenizers, and the amount of text that fits a number of tokens.

Byte-level BPE is assumed: the pieces of a text's tokens, put together, are the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol

N_BYTES_PER_TOKEN = 4
"""A first guess of a token's length, on the large side: three to four in source code. It affects time only."""
MAX_LINE_BYTES = 4096
"""A line is tokenized as a whole, so that it is cached, if it has no more bytes than this beyond what is needed. Not
measured; the tokens of one line of 4 MB take 4 s."""


_NEWLINE_AFTER: Final = re.compile(rb"([!-~])\n")
_CUT_AFTER_ANY: Final = re.compile(rb"(?<=[!-~])(?=\n)")
_CUT_AFTER_WORDS: Final = re.compile(rb"(?<=[0-9A-Za-z])(?=\n)")


class Tokenizer(Protocol):
    """Turns text into token ids and back. Markers in the text are plain text here."""

    @property
    def line_cut(self) -> re.Pattern[bytes] | None:
        """Matches (empty) where a cut leaves the tokens of a text as they are. `None` if it may be cut nowhere."""

    def encode(self, text: bytes) -> tuple[int, ...]:
        """Return the token ids of `text`, with no marker among them and no token added."""

    def piece(self, token_id: int) -> bytes:
        """Return the bytes that `token_id` stands for; empty for a marker."""

    def marker(self, text: str) -> int | None:
        """Return the id of the special token spelled `text`, or `None` if the vocabulary has none."""

    def spelling(self, token_id: int) -> bytes:
        """Return a token's bytes or a marker's name, to show to the user."""


def line_cut(pieces: Iterable[bytes]) -> re.Pattern[bytes] | None:
    r"""Return a pattern of places before a `\n` where a text may be cut, from the `pieces` of a byte-level BPE.

    BPE merges inside the pieces of a pre-tokenizer only. GPT-2's and StarCoder's end one before white space. Those of
    GPT-4 and Qwen2.5 let punctuation have the newlines behind it, and only letters and digits end before them. A
    vocabulary was trained on such pieces, so its tokens show its kind. If even a letter has a newline behind it in a
    token, nothing is cut. The character before a cut is ASCII, since pre-tokenizers differ in white space and letters
    beyond it.
    """
    glued = {match[1] for piece in pieces if b"\n" in piece for match in _NEWLINE_AFTER.finditer(piece)}
    if not glued:
        return _CUT_AFTER_ANY
    return None if any(byte.isalnum() for byte in glued) else _CUT_AFTER_WORDS


def fit_tail(tokenizer: Tokenizer, text: bytes, n_tokens: int, *, start: int = 0, end: int | None = None) -> int:
    """Return the number of bytes at the end of `text[start:end]` that make at most `n_tokens` tokens."""
    end = len(text) if end is None else end

    def part_of(n_bytes: int) -> bytes:
        return text[_line_before(text, start, end - n_bytes) : end]

    return _fit(tokenizer, part_of, end - start, n_tokens, from_end=True)


def fit_head(tokenizer: Tokenizer, text: bytes, n_tokens: int, *, start: int = 0, end: int | None = None) -> int:
    """Return the number of bytes at the start of `text[start:end]` that make at most `n_tokens` tokens."""
    end = len(text) if end is None else end

    def part_of(n_bytes: int) -> bytes:
        return text[start : _line_behind(text, start + n_bytes, end)]

    return _fit(tokenizer, part_of, end - start, n_tokens, from_end=False)


def _fit(
    tokenizer: Tokenizer, part_of: Callable[[int], bytes], n_all_bytes: int, n_tokens: int, *, from_end: bool
) -> int:
    # Tokenize only about as much as fits: the file may be a thousand times the budget.
    if n_tokens <= 0:
        return 0
    n_bytes = n_tokens * N_BYTES_PER_TOKEN
    while True:
        part = part_of(n_bytes)
        ids = tokenizer.encode(part)
        if len(ids) > n_tokens:
            dropped = ids[:-n_tokens] if from_end else ids[n_tokens:]
            return len(part) - sum(map(len, map(tokenizer.piece, dropped)))  # a generator takes twice as long
        if len(part) == n_all_bytes:
            return n_all_bytes
        n_bytes *= 2


def _line_before(text: bytes, start: int, at: int) -> int:
    """Return the end of the line before the one at `at`: from there on all lines are whole, and cached ones.

    Return a place nearer to `at` if its line is a long one; `start` if `at` is before it.
    """
    first = max(start, at - MAX_LINE_BYTES)
    end = text.rfind(b"\n", first, at) if at > start else start
    return end if end >= 0 else first


def _line_behind(text: bytes, at: int, end: int) -> int:
    """Return the end of the line at `at`, at most `end`, or a place nearer to `at` if the line is a long one."""
    last = min(end, at + MAX_LINE_BYTES)
    line_end = text.find(b"\n", at, last) if at < last else -1
    return line_end if line_end >= 0 else last
