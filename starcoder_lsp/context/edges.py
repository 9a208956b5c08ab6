"""Where a window may begin and end: at the start of a line, in hops, and inside a line only where one is very long."""

from __future__ import annotations

from starcoder_lsp.documents.text import Text, is_inside_character

HOP_BYTES = 1024
"""The left edge is looked for at multiples of this: about 300 tokens, so a hop every 30 lines or so."""


def hop(text: Text, earliest: int, end: int, n_tokens: int) -> int:
    """The first character at or after a multiple of the hop that is at or after `earliest`; at most `end`.

    The hop is a power of two, at most the room of `n_tokens` in bytes. It does not depend on how much text fits that
    room, which differs from line to line, unless it were more than half of that text.
    """
    step = HOP_BYTES
    while step > max(1, n_tokens) or step > max(1, (end - earliest) // 2):
        step //= 2
    return _character_start(text, -(-earliest // step) * step, end)


def left_edge(text: Text, earliest: int, end: int, n_tokens: int) -> int:
    """The first line start at or after the hop that follows `earliest`.

    A line so long that more than half of the text up to `end` would be lost is cut at the hop itself.
    """
    edge = hop(text, earliest, end, n_tokens)
    line = text.line_of(edge)
    if text.line_starts[line] < edge:
        line += 1
    line_start = text.line_starts[line] if line < text.n_lines else end
    return line_start if line_start - edge <= (end - edge) // 2 else edge


def right_edge(text: Text, start: int, latest: int) -> int:
    """The last line start at or before `latest`, or `latest` itself if that would lose more than half of the text."""
    while latest > start and is_inside_character(text.data, latest):
        latest -= 1
    line_start = text.line_starts[text.line_of(latest)]
    return line_start if latest - line_start <= (latest - start) // 2 else latest


def _character_start(text: Text, at: int, end: int) -> int:
    while at < end and is_inside_character(text.data, at):
        at += 1
    return at
