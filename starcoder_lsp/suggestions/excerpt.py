"""A short text in place of a long scope or file: a scope's header, the statements around the cursor, its last line.

A suggestion is tried in it. The error recovery of a parser goes through all that follows an error: 9 ms in a class of
20 KB, 0.5 ms in an excerpt (`bench/postprocessing.py`).
"""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.suggestions.balance import scope_span
from starcoder_lsp.suggestions.cursor_context import CursorContext, indent_width

MIN_LONG_BYTES = 2048
"""A shorter scope is tried whole. With 4,096 and with 1,024 the same 230 suggestions come out."""
N_AROUND_BYTES = 512
"""The least bytes on either side of the cursor's line that an excerpt has. So they do with 1,024 and with 256."""
MAX_LINES = 64
"""The most lines on either side that are tried as the excerpt's border. Not measured."""


@frozen
class Excerpt:
    """A part of a document: some of its lines around the cursor, between a scope's header and its last line."""

    data: bytes
    start_byte: int
    """The byte of the document with which `data` begins."""
    cursor_byte: int
    """The cursor's place in `data`."""


@frozen
class _Region:
    """A scope or the document, in whole lines: its header ends at `body`, and its statements are in a node of the tree.

    That node begins at `body_node_byte`; it is the tree's root if that is `None`.
    """

    start: int
    body: int
    end: int
    body_node_byte: int | None


def excerpt(cursor: CursorContext, scope: Scope | None) -> Excerpt | None:
    """Return an excerpt of a scope around the cursor, or of the document.

    `None` if that is short, or its statements are unknown.
    """
    data, region = cursor.snapshot.text.data, _region(cursor, scope)
    if region.end - region.start <= MIN_LONG_BYTES:
        return None
    first, last = _border_above(cursor, region), _border_below(cursor, region)
    if first is None or last is None or not region.body <= first <= cursor.cursor_byte <= last:
        return None
    header, tail = data[region.start : region.body], data[_tail_start(data, region, last) : region.end]
    return Excerpt(header + data[first:last] + tail, region.start, cursor.cursor_byte - first + len(header))


def _region(cursor: CursorContext, scope: Scope | None) -> _Region:
    text = cursor.snapshot.text
    if scope is None:
        return _Region(0, 0, len(text.data), None)
    start, end = scope_span(cursor, scope.start_byte, scope.end_byte)
    body = text.start_below(text.line_of(scope.header_end_byte))
    return _Region(start, body, end, scope.body_start_byte)


def _border_above(cursor: CursorContext, region: _Region) -> int | None:
    """Return the start of a line with which a statement of the region begins, or of its body if that is near."""
    text = cursor.snapshot.text
    line = text.line_of(cursor.cursor_byte)
    nearest = text.line_starts[line] - N_AROUND_BYTES
    if nearest <= region.body:
        return region.body
    number = text.line_of(nearest)
    for each in range(number, max(0, number - MAX_LINES), -1):
        if text.line_starts[each] <= region.body:
            return region.body
        if _begins_statement(cursor, region, each):
            return text.line_starts[each]
    return None


def _border_below(cursor: CursorContext, region: _Region) -> int | None:
    """Return the start of a line below with which a statement of the region begins, or the region's end if near."""
    text = cursor.snapshot.text
    nearest = text.line_span(text.line_of(cursor.cursor_byte))[1] + N_AROUND_BYTES
    if nearest >= region.end:
        return region.end
    number = text.line_of(nearest) + 1
    for each in range(number, min(text.n_lines, number + MAX_LINES)):
        if text.line_starts[each] >= region.end:
            return region.end
        if _begins_statement(cursor, region, each):
            return text.line_starts[each]
    return None


def _begins_statement(cursor: CursorContext, region: _Region, line: int) -> bool:
    """Return whether a line begins with a statement of the region."""
    syntax, text = cursor.snapshot.syntax, cursor.snapshot.text
    code = text.line_text(line)
    at = text.line_starts[line] + len(code) - len(code.lstrip())
    return bool(code.strip()) and syntax is not None and syntax.begins_in(at, region.body_node_byte)


def _tail_start(data: bytes, region: _Region, last: int) -> int:
    """Return the start of a region's last line if that is indented no more than the first, and so ends the region."""
    start = data.rfind(b"\n", last, len(data[: region.end].rstrip(b"\r\n"))) + 1
    if region.body_node_byte is None or start <= last:
        return region.end
    first_line = data[region.start : region.body]
    return start if indent_width(data[start : region.end]) <= indent_width(first_line) else region.end
