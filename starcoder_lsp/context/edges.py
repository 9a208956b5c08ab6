"""The edges of a window: at the start of a line, in hops, and inside a line only if that line is very long."""

from __future__ import annotations

from starcoder_lsp.documents.text import Text, is_inside_character

HOP_BYTES = 1024
"""The left edge moves in steps of this, about 300 tokens or 30 lines. A moved edge changes the first token, and then
the whole prompt is evaluated again. Not measured."""

MAX_INDENT_BYTES = 256
"""Bytes of a line that are searched for its indentation; a line that begins with more blanks counts as blank."""


def hop(text: Text, earliest: int, end: int, n_tokens: int) -> int:
    """Return the first multiple of the step from `earliest` on, moved to the start of a character; at most `end`.

    The step is a power of two: at most `HOP_BYTES`, `n_tokens`, and half of the text from `earliest` to `end`. So it
    seldom depends on how much text fits, which differs from line to line.
    """
    step = HOP_BYTES
    while step > max(1, n_tokens) or step > max(1, (end - earliest) // 2):
        step //= 2
    return _character_start(text, -(-earliest // step) * step, end)


def left_edge(text: Text, earliest: int, end: int, n_tokens: int) -> int:
    """Return the first line start at or after the next hop from `earliest`.

    Return the hop itself if the line is so long that more than half of the text up to `end` would be lost.
    """
    edge = hop(text, earliest, end, n_tokens)
    line = text.line_of(edge)
    if text.line_starts[line] < edge:
        line += 1
    line_start = text.line_starts[line] if line < text.n_lines else end
    return line_start if line_start - edge <= (end - edge) // 2 else edge


def right_edge(text: Text, start: int, latest: int) -> int:
    """Return the last line start up to `latest`, or `latest` itself if that would lose more than half of the text."""
    while latest > start and is_inside_character(text.data, latest):
        latest -= 1
    line_start = text.line_starts[text.line_of(latest)]
    return line_start if latest - line_start <= (latest - start) // 2 else latest


def paragraph_end(text: Text, start: int, least: int, latest: int) -> int | None:
    """Return the first line start from `least` on and below `latest` that begins another paragraph, or `None`.

    It follows a blank line and is indented no more than the paragraph around `start`.

    The paragraph is indented as the line of `start`, or as the next line with text if that one is blank. This needs no
    grammar: it finds ends of functions and of groups of statements, and of paragraphs in prose.
    """
    indent: int | None = None
    is_after_blank = False
    for line in range(text.line_of(start), text.n_lines):
        line_start, line_end = text.line_span(line)
        if line_start >= latest:
            return None
        content = text.data[line_start : min(line_end, line_start + MAX_INDENT_BYTES)]
        if not content.strip():
            is_after_blank = True
            continue
        own_indent = len(content) - len(content.lstrip())
        if indent is None:
            indent = own_indent
        elif is_after_blank and line_start >= least and own_indent <= indent:
            return line_start
        is_after_blank = False
    return None


def _character_start(text: Text, at: int, end: int) -> int:
    while at < end and is_inside_character(text.data, at):
        at += 1
    return at
