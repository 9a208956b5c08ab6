"""Loops: a suggestion that writes the same tokens, or the same lines, again and again.

Text before the cursor counts, since a suggestion that repeats it once may be accepted again and again. Rulers are no
loops, nor are pieces that the document has elsewhere, such as the row of a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from starcoder_lsp.suggestions.cursor_context import CursorContext

TOKEN = re.compile(rb"[\w\x80-\xff]+|[^\s\w\x80-\xff]")
N_LOOP_BYTES = 512
"""The bytes at the end of a line that are searched for a loop: the longest loop and one token."""
MAX_UNIT_TOKENS = 16
MAX_UNIT_LINES = 4
IN_WORD = re.compile(rb"(\w{5,11}?)\1{3}|(\w{12,60}?)\2{2}")
"""A piece of a word or a number four times in a row, or a long piece three times."""
N_LONG_UNIT_BYTES = 8
"""A unit of at least so many bytes, blanks aside, is a loop if it occurs three times in a row. A shorter unit is one if
it occurs four times, and a single word or number if it occurs six times. Brackets alone are none. Not measured."""
N_LINE_REPEATS = 3
N_WORD_REPEATS = 6
RULER = b"-=*#~_./|:"
"""The characters of rulers, and of the second line of a Markdown table."""
BRACKETS = b"()[]{}"
N_GROWN_BYTES = 64
"""If a text only grew, a loop that was not found before ends in so many bytes at its end: tokens are shorter."""
N_IN_WORD_BYTES = 256
"""The bytes at its end in which a loop inside a word is looked for then: more than the longest takes."""
N_AROUND_BYTES = 4096
"""The bytes around the cursor in which the same piece is searched. Not measured."""


def loop_start(text: bytes, cursor: CursorContext, *, grew: bool = False) -> int | None:
    """Return the byte of `text` behind the first unit of a loop, or `None`.

    With `grew`, the text has only grown since the last call: only the end of its last line is searched, without the
    last word.
    """
    at = 0
    lines = text.split(b"\n")
    for number, line in enumerate(lines):
        if not grew or number == len(lines) - 1:
            before = cursor.line_before[-N_LOOP_BYTES:] if number == 0 else b""
            start = _loop_in_line(before, line, cursor, grew=grew)
            if start is not None:
                return at + start
        at += len(line) + 1
    return _loop_of_lines(lines[:-1] if grew else lines)


def _loop_in_line(before: bytes, line: bytes, cursor: CursorContext, *, grew: bool) -> int | None:
    """Return the byte of `line` behind the first unit of the first complete loop in `before` and `line`."""
    whole = (before + line)[-2 * N_LOOP_BYTES :]
    n_before = len(whole) - len(line)
    matches = list(TOKEN.finditer(whole))
    if grew and matches and matches[-1].end() == len(whole) and (whole[-1:].isalnum() or whole[-1:] in b"_\x80"):
        matches.pop()
    tokens = [match.group() for match in matches]
    in_word = IN_WORD.search(line, max(0, len(line) - N_IN_WORD_BYTES) if grew else 0)
    if in_word is not None:
        return in_word.end(in_word.lastindex or 0)
    meant_until = None
    n_judged = max(n_before, len(whole) - N_GROWN_BYTES) if grew else n_before
    last: dict[bytes, int] = {}
    # most tokens have no other of their spelling near them, and end no loop
    for end, token in enumerate(tokens):
        n_nearest = end - last.get(token, -MAX_UNIT_TOKENS - 1)
        last[token] = end
        if matches[end].end() <= n_judged or n_nearest > MAX_UNIT_TOKENS:
            continue
        n_unit = _unit(tokens, end, n_nearest)
        if not n_unit:
            continue
        first = end + 1 - n_unit * _n_repeats(tokens[end + 1 - n_unit : end + 1])
        while first and tokens[first - 1] == tokens[first - 1 + n_unit]:
            first -= 1
        if _is_meant(whole[matches[first].start() : matches[end].end()], cursor):
            meant_until = matches[end].end()
            continue
        cut = matches[first + n_unit - 1].end() if meant_until is None else meant_until
        return max(0, cut - n_before)
    return None


def _unit(tokens: Sequence[bytes], end: int, n_least: int) -> int:
    """Return the number of tokens, `n_least` or more, of the shortest unit that the tokens up to `end` repeat, or 0."""
    for n_unit in range(n_least, MAX_UNIT_TOKENS + 1):
        if end < n_unit:
            return 0
        if tokens[end] != tokens[end - n_unit]:
            continue
        unit = tokens[end + 1 - n_unit : end + 1]
        n_wanted = n_unit * (_n_repeats(unit) - 1)
        if end + 1 < n_wanted + n_unit or not b"".join(unit).translate(None, RULER if n_unit > 1 else RULER + BRACKETS):
            continue
        if all(tokens[at] == tokens[at - n_unit] for at in range(end, end - n_wanted, -1)):
            return n_unit
    return 0


def _n_repeats(unit: Sequence[bytes]) -> int:
    """Return how many times in a row a unit makes a loop."""
    if len(unit) == 1 and unit[0][:1].isalnum():
        return N_WORD_REPEATS
    return 3 if len(b"".join(unit)) >= N_LONG_UNIT_BYTES else 4


def _is_meant(piece: bytes, cursor: CursorContext) -> bool:
    """Return whether the document has a piece on another line."""
    text, at = cursor.snapshot.text, cursor.cursor_byte
    start, end = text.line_span(text.line_of(at))
    above, below = text.data[max(0, start - N_AROUND_BYTES) : start], text.data[end : end + N_AROUND_BYTES]
    return piece in above or piece in below


def _loop_of_lines(lines: Sequence[bytes]) -> int | None:
    """Return the byte behind the first of several equal lines, or groups of lines, in a row."""
    at = 0
    ends = []
    for end, line in enumerate(lines):
        at += len(line)
        ends.append(at)
        at += 1
        for n_unit in range(1, MAX_UNIT_LINES + 1):
            if _is_repeated(lines, end, n_unit):
                return ends[end - (N_LINE_REPEATS - 1) * n_unit]
    return None


def _is_repeated(lines: Sequence[bytes], end: int, n_unit: int) -> bool:
    """Return whether the lines up to `end` are the same `n_unit` lines three times."""
    first = end + 1 - n_unit * N_LINE_REPEATS
    unit = lines[end + 1 - n_unit : end + 1]
    return (
        first >= 0
        and any(line.strip() for line in unit)
        and all(lines[at] == lines[at + n_unit] for at in range(first, end + 1 - n_unit))
    )
