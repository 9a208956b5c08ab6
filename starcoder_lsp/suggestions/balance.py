"""Find the brackets that the cursor's line must open or close, from the lines around it and their indentation.

No parser is needed, so the functions work in a text with syntax errors. Where the indentation does not show the blocks,
they return nothing. Every function takes linear time in the text around the cursor that `cursor_context.py` provides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from starcoder_lsp.suggestions.cursor_context import N_BELOW_BYTES, CursorContext, indent_width
from starcoder_lsp.suggestions.lexing import CLOSER_OF, OPENER_OF, brackets, open_brackets

N_ABOVE_BYTES = 4096
"""The bytes above the cursor's line that are searched. Not measured."""
N_STATEMENTS_BYTES = 1024
"""The bytes on either side of the cursor that statements outside of all scopes are tried with. Not measured."""
STATEMENT = re.compile(rb"^[A-Za-z_@]", re.MULTILINE)
TAILS = (b"", b";", b",", b" {")
"""Ends of a statement or of a block's header that an unfinished line may lack."""
OPENINGS = (b"(", b"[", b"({")
"""Brackets that a line may open for lines below that are indented in another way than `needed_openers` expects."""


def needed_openers(cursor: CursorContext) -> bytes:
    """Return the brackets, the outermost first, that the cursor's line must leave open; empty where that is unknown.

    The next line with the cursor line's indentation begins with their closers. The lines between are indented more,
    and no line above with that indentation opened those brackets.
    """
    indent = indent_width(cursor.line_before)
    if not cursor.line_before.strip():
        return b""
    for line in cursor.below.split(b"\n"):
        if line.strip() and indent_width(line) <= indent:
            closers = _leading_closers(line)
            is_at_indent = indent_width(line) == indent and bool(closers)
            return _openers_of(closers) if is_at_indent and not _opens_above(cursor, indent) else b""
    return b""


def _opens_above(cursor: CursorContext, indent: int) -> bool:
    """Return whether a line above at an indentation opened brackets that no other line there closed."""
    n_closed = len(_leading_closers(cursor.line_before))
    for line in _lines_above(cursor):
        width = indent_width(line)
        if not line.strip() or width > indent:
            continue
        if width < indent:
            return False
        n_open = len(open_brackets(line, has_comments=cursor.has_comments))
        if n_open > n_closed:
            return True
        n_closed += len(_leading_closers(line)) - n_open
    return False


def mending_lines(cursor: CursorContext) -> tuple[bytes, ...]:
    """Return replacements of the cursor's line with which the lines around it may parse, the likeliest first.

    All of them leave the brackets open that the line opens behind the cursor, since no suggestion changes those.
    """
    opened = leaves_open(cursor.line_after, cursor)
    leading = _leading_closers(cursor.line_before + cursor.line_after)
    closers = leading + _closers_above(cursor, leading)
    heads = dict.fromkeys((leading, closers) if leading else (b"x" + closers, closers) if closers else (b"",))
    if opened:
        return tuple(dict.fromkeys((opened, *(head + opened for head in heads))))
    ended = (head + tail for head in heads for tail in TAILS)
    return tuple(dict.fromkeys((b"", needed_openers(cursor), *ended, *OPENINGS)))


def scope_span(cursor: CursorContext, start_byte: int, end_byte: int) -> tuple[int, int]:
    """Return `(start_byte, end_byte)` of a scope around the cursor, extended to whole lines.

    An unfinished line may hide the scope's end from the parser. So the span goes at least to the first line below the
    cursor that is indented no more than the scope's first line, with that line if it begins with a closing bracket.
    """
    data = cursor.snapshot.text.data
    start = data.rfind(b"\n", 0, start_byte) + 1
    indent = indent_width(data[start:start_byte])
    end = data.find(b"\n", max(end_byte, cursor.cursor_byte))
    end = len(data) if end < 0 else end + 1
    at = cursor.below_byte
    for line in data[at : at + N_BELOW_BYTES].splitlines(keepends=True):
        if line.strip() and indent_width(line) <= indent:
            return start, max(end, at + len(line) if _leading_closers(line) else at)
        at += len(line)
    return start, end if end >= min(at, len(data)) else len(data)  # the tree may have ended it at an error


def statements_span(cursor: CursorContext) -> tuple[int, int]:
    """Return `(start_byte, end_byte)` of some statements around a cursor that is in no scope; of all if unknown.

    They begin and end where a line begins with a letter in the first column, at least `N_STATEMENTS_BYTES` away.
    """
    data = cursor.snapshot.text.data
    line_start, line_end = cursor.cursor_byte - len(cursor.line_before), cursor.cursor_byte + len(cursor.line_after)
    start, end = 0, len(data)
    if line_start > N_STATEMENTS_BYTES:
        farthest = max(0, line_start - 2 * N_STATEMENTS_BYTES)
        starts = [match.start() for match in STATEMENT.finditer(data, farthest, line_start - N_STATEMENTS_BYTES)]
        start = starts[-1] if starts else 0
    if line_end + N_STATEMENTS_BYTES < len(data):
        nearest = line_end + N_STATEMENTS_BYTES
        found = STATEMENT.search(data, nearest, nearest + N_STATEMENTS_BYTES)
        end = found.start() if found is not None else len(data)
    return start, end


def _closers_above(cursor: CursorContext, leading: bytes) -> bytes:
    """Return the closers of parentheses and square brackets that are open behind the lines above and `leading`.

    The innermost comes first. Brackets around an open brace do not count: the line stands in a block.
    """
    opened: list[bytes] = []
    text = b"\n".join((*reversed(list(_lines_above(cursor))), leading))
    for _, bracket in brackets(text, has_comments=cursor.has_comments):
        if bracket in CLOSER_OF:
            opened.append(bracket)
        elif opened:
            opened.pop()
    closers = b""
    for opener in reversed(opened):
        if opener == b"{":
            break
        closers += CLOSER_OF[opener]
    return closers


def _lines_above(cursor: CursorContext) -> Iterator[bytes]:
    """Yield the whole lines above the cursor's line, the nearest first."""
    text = cursor.snapshot.text
    end = text.line_span(text.line_of(cursor.cursor_byte))[0]
    first = max(0, end - N_ABOVE_BYTES)
    lines = text.data[first:end].splitlines()
    yield from reversed(lines[1:] if first else lines)


def _leading_closers(line: bytes) -> bytes:
    code = line.lstrip()
    return code[: len(code) - len(code.lstrip(b")]}"))]


def _openers_of(closers: bytes) -> bytes:
    """Return the openers of closers, in the order in which they stand."""
    return b"".join(OPENER_OF[bytes([closer])] for closer in reversed(closers))


def leaves_open(line: bytes, cursor: CursorContext) -> bytes:
    """Return the brackets that a line leaves open, the outermost first."""
    return bytes(line[at] for at in open_brackets(line, has_comments=cursor.has_comments))
