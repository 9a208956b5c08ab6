r"""One document's text as UTF-8 bytes with a line index, and conversion between editor positions and byte offsets.

Everything below the protocol counts UTF-8 bytes; editors count code units in lines. Only this module converts. Lines
end at `\n`, `\r\n` and `\r` only, as in the Language Server Protocol 3.17, "Text Documents": form feeds, U+0085, U+2028
and U+2029 are characters of a line. A rope is not needed: a splice copies the bytes once, `line_starts.py` moves the
line index by blocks, and `documents.MAX_BYTES` limits the text.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from attrs import field, frozen

from starcoder_lsp.documents.line_starts import LineStarts

PositionEncoding = Literal["utf-8", "utf-16", "utf-32"]

BRACKETS: Final = ((b"(", b")"), (b"[", b"]"), (b"{", b"}"))

_LINE_END: Final = re.compile(rb"\r\n?|\n")
_FOUR_BYTE_LEAD: Final = re.compile(rb"[\xf0-\xf4]")
_PIECE_BYTES: Final = 16 * 1024
"""Lines are converted in pieces of this length, so that no call holds other threads up. Not measured."""
_BLOCK_BYTES: Final = 16 * 1024
"""Bytes that are compared at once: two slices of them stay in the processor's cache. Others were not measured."""


@frozen
class Text:
    """An immutable text.

    `data` is UTF-8 in which a lone surrogate has three bytes (Python's `surrogatepass`), so that any string of an
    editor comes back unchanged. `line_starts` has the byte offset of each line, ascending from 0. A text that ends with
    a line end has an empty last line.
    """

    data: bytes
    line_starts: LineStarts = field(repr=False)
    n_unclosed: tuple[int, ...] = field(repr=False)
    """For each pair of `BRACKETS` how many more are opened than closed."""

    @classmethod
    def from_bytes(cls, data: bytes) -> Text:
        """Return the text of `data`, which must be UTF-8 as `Text` describes it."""
        return cls(data, LineStarts.of(data), _n_unclosed(data))

    @classmethod
    def from_str(cls, text: str) -> Text:
        """Return the text of a string, which may have lone surrogates."""
        return cls.from_bytes(text.encode("utf-8", "surrogatepass"))

    def to_str(self) -> str:
        """Return the text as a string, equal to the argument of `from_str`."""
        return self.data.decode("utf-8", "surrogatepass")

    @property
    def n_lines(self) -> int:
        """The number of lines, at least 1."""
        return len(self.line_starts)

    def splice(self, start_byte: int, end_byte: int, new: bytes) -> Text:
        """Return this text with the bytes of `[start_byte, end_byte)` replaced by `new`.

        Both ends must be character boundaries, as `byte_at` returns them, and `new` must have whole characters. Raises
        `ValueError` for a range outside of this text.
        """
        if not 0 <= start_byte <= end_byte <= len(self.data):
            message = f"no range of a text of {len(self.data)} bytes: {start_byte} to {end_byte}"
            raise ValueError(message)
        old = memoryview(self.data)
        data = b"".join((old[:start_byte], new, old[end_byte:]))  # one copy; a text may have megabytes
        new_end = start_byte + len(new)
        # Whether a line starts at t depends only on the bytes t-1 and t. Line starts before start_byte stay, those
        # after end_byte move, and those in between are searched again.
        n_head = max(self.line_starts.n_until(start_byte - 1), 1)
        n_tail = self.n_lines - self.line_starts.n_until(end_byte)
        seen_from = max(start_byte - 1, 0)
        touched = (match.end() for match in _LINE_END.finditer(data, seen_from, new_end + 1))
        between = (at for at in touched if start_byte <= at <= new_end)
        line_starts = self.line_starts.replaced(n_head, n_tail, between, new_end - end_byte)
        n_changed = map(int.__sub__, _n_unclosed(new), _n_unclosed(self.data[start_byte:end_byte]))
        return Text(data, line_starts, tuple(map(int.__add__, self.n_unclosed, n_changed)))

    def has_line_over(self, n_bytes: int) -> bool:
        """Return whether a line, its line end included, has more bytes."""
        start = 0
        while start + n_bytes < len(self.data):
            last = self.line_starts[self.line_starts.n_until(start + n_bytes) - 1]  # of those that begin within
            if last == start:
                return True
            start = last
        return False

    def line_of(self, byte: int) -> int:
        """Return the line of `byte`, from 0; an offset outside of the text counts as the nearest inside."""
        return max(self.line_starts.n_until(byte) - 1, 0)

    def line_span(self, line: int) -> tuple[int, int]:
        """Return `(start_byte, end_byte)` of a line without its line end. Raises `IndexError`."""
        if not 0 <= line < len(self.line_starts):
            message = f"no line {line} in a text of {len(self.line_starts)}"
            raise IndexError(message)
        start = self.line_starts[line]
        if line + 1 == len(self.line_starts):
            return start, len(self.data)
        end = self.line_starts[line + 1]
        return start, end - (2 if self.data.endswith(b"\r\n", start, end) else 1)

    def start_below(self, line: int) -> int:
        """Return the start of the next line; the end of the text below the last line."""
        return self.line_starts[line + 1] if line + 1 < self.n_lines else len(self.data)

    def line_text(self, line: int) -> bytes:
        """Return a line's bytes without its line end. Raises `IndexError`."""
        start, end = self.line_span(line)
        return self.data[start:end]

    def byte_at(self, line: int, character: int, encoding: PositionEncoding) -> int:
        """Return the byte offset of an editor's position: `character` code units of `encoding` into `line`.

        A position beyond a line's end is its end, and one beyond the last line is the end of the text. One inside a
        character, or between the halves of a surrogate pair, is its start. Negative numbers count as 0.
        """
        if line >= len(self.line_starts):
            return len(self.data)
        start, end = self.line_span(max(line, 0))
        character = max(character, 0)
        if encoding == "utf-8":
            byte = min(start + character, end)
            while byte < end and is_inside_character(self.data, byte):
                byte -= 1
            return byte
        if self.data.isascii():  # 0.2 ms for 4 MB, a tenth of what the pieces take
            return min(start + character, end)
        while start < end:
            piece_end = self._piece_end(start, end)
            piece = self.data[start:piece_end]
            n_units = _n_units(piece, encoding)
            if character < n_units:
                return start + len(_first_units(piece, character, encoding).encode("utf-8", "surrogatepass"))
            character -= n_units
            start = piece_end
        return end

    def position_of(self, byte: int, encoding: PositionEncoding) -> tuple[int, int]:
        """Return `(line, character)` of a byte offset: the inverse of `byte_at`, with the same clamping."""
        byte = min(max(byte, 0), len(self.data))
        line = self.line_of(byte)
        start, end = self.line_span(line)
        byte = min(byte, end)
        while start < byte < end and is_inside_character(self.data, byte):
            byte -= 1
        if encoding == "utf-8" or self.data.isascii():
            return line, byte - start
        n_units = 0
        while start < byte:
            piece_end = self._piece_end(start, byte)
            n_units += _n_units(self.data[start:piece_end], encoding)
            start = piece_end
        return line, n_units

    def _piece_end(self, start: int, end: int) -> int:
        """Return the end of the next piece of a line, of whole characters: a line may have megabytes."""
        piece_end = min(end, start + _PIECE_BYTES)
        while piece_end < end and is_inside_character(self.data, piece_end):
            piece_end -= 1
        return piece_end


@frozen
class InputEdit:
    """One splice in the form of tree-sitter's `Tree.edit`.

    Points are `(row, column)` in bytes. Only a line feed ends a row, unlike the lines of `Text`.
    """

    start_byte: int
    old_end_byte: int
    new_end_byte: int
    start_point: tuple[int, int]
    old_end_point: tuple[int, int]
    new_end_point: tuple[int, int]

    @classmethod
    def of_splice(cls, old: Text, start_byte: int, old_end_byte: int, new: Text) -> InputEdit:
        """Return the edit for `new = old.splice(start_byte, old_end_byte, ...)`."""
        new_end_byte = old_end_byte + len(new.data) - len(old.data)
        return cls(
            start_byte,
            old_end_byte,
            new_end_byte,
            _row_and_column(old, start_byte),
            _row_and_column(old, old_end_byte),
            _row_and_column(new, new_end_byte),
        )


def is_inside_character(data: bytes, at: int) -> bool:
    """Return whether the byte at `at` is not the first of its character; false at the end of `data`."""
    return at < len(data) and data[at] & 0xC0 == 0x80  # noqa: PLR2004 -- 0b10xxxxxx


def splice_between(old: bytes, new: bytes) -> tuple[int, int, bytes]:
    """Return `(start_byte, end_byte, replacement)`, the smallest splice of whole characters from `old` to `new`.

    Some editors send the whole text at each keystroke. With a small splice the tree, the line index and the windows are
    still derived from the earlier ones.
    """
    n_prefix = _n_shared(old, new, from_end=False)
    while n_prefix and (is_inside_character(old, n_prefix) or is_inside_character(new, n_prefix)):
        n_prefix -= 1
    n_suffix = min(_n_shared(old, new, from_end=True), len(old) - n_prefix, len(new) - n_prefix)
    while n_suffix and is_inside_character(old, len(old) - n_suffix):
        n_suffix -= 1
    return n_prefix, len(old) - n_suffix, new[n_prefix : len(new) - n_suffix]


def _n_shared(one: bytes, other: bytes, *, from_end: bool) -> int:
    """Return the number of bytes that two strings share at one end: by blocks, then by bisection inside one.

    A loop over bytes is 1,000 times slower; bisection alone copies the strings several times.
    """

    def is_shared(low: int, high: int) -> bool:
        if from_end:
            return one[len(one) - high : len(one) - low] == other[len(other) - high : len(other) - low]
        return one[low:high] == other[low:high]

    low, n_all = 0, min(len(one), len(other))
    high = min(_BLOCK_BYTES, n_all)
    while is_shared(low, high):
        if high == n_all:
            return n_all
        low, high = high, min(high + _BLOCK_BYTES, n_all)
    while low < high - 1:  # the bytes from `low` to `high` are not all shared
        middle = (low + high) // 2
        low, high = (middle, high) if is_shared(low, middle) else (low, middle)
    return low


def _row_and_column(text: Text, byte: int) -> tuple[int, int]:
    data = text.data
    if b"\r" in data:
        return data.count(b"\n", 0, byte), byte - data.rfind(b"\n", 0, byte) - 1
    row = text.line_of(byte)  # the same, and many times faster in a text of many lines
    return row, byte - text.line_starts[row]


def _n_unclosed(data: bytes) -> tuple[int, ...]:
    return tuple(data.count(opening) - data.count(closing) for opening, closing in BRACKETS)


def _n_units(data: bytes, encoding: PositionEncoding) -> int:
    """Return the number of code units of whole characters."""
    if encoding == "utf-8" or data.isascii():
        return len(data)
    n_pairs = len(_FOUR_BYTE_LEAD.findall(data)) if encoding == "utf-16" else 0
    return len(data.decode("utf-8", "surrogatepass")) + n_pairs


def _first_units(data: bytes, n_units: int, encoding: PositionEncoding) -> str:
    """Return the longest start of a line that has at most `n_units` code units."""
    characters = data.decode("utf-8", "surrogatepass")
    if encoding == "utf-32" or not _FOUR_BYTE_LEAD.search(data):
        return characters[:n_units]
    for index, character in enumerate(characters):
        n_units -= 2 if character > "\uffff" else 1
        if n_units < 0:
            return characters[:index]
    return characters
