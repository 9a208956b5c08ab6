"""Find the fork of a draft that is not whole: the byte at which the model writes on, and under which constraint.

A line that ends with a bracket open, or that does not parse, goes on: the next token may not end it. A draft that ran
out of tokens or into a loop closes its open brackets. The filters shorten or drop a draft that cannot be made whole.
"""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.suggestions.cursor_context import CursorContext, indent_width
from starcoder_lsp.suggestions.docstrings import docstring_start
from starcoder_lsp.suggestions.lexing import CLOSER_OF, OPENER_OF, scan
from starcoder_lsp.suggestions.loops import loop_start
from starcoder_lsp.suggestions.stopping import TextEnd
from starcoder_lsp.suggestions.suggestion import n_whole_bytes

LINE_END = b"\r\n"
QUOTES = b"\"'"


@frozen
class Fork:
    """A place from which the model writes on. The new draft begins with `kept`, a beginning of the old one.

    It must go on with `forced`. The next token may hold no byte of `avoid`, and may not end the answer.
    """

    kept: bytes
    forced: bytes = b""
    avoid: bytes = b""


def going_on(text: bytes, stop_reason: str, cursor: CursorContext) -> Fork | None:
    """Return the end of the first line of a draft that is not whole, if the draft ended there; else `None`.

    An unwanted docstring is left out: the text in its place may not begin with a quote.
    """
    docstring = docstring_start(text, cursor)
    if docstring is not None:
        return Fork(text[:docstring], avoid=QUOTES)
    line, newline, _ = _first_line(text, cursor)
    kept = line.rstrip()
    is_ended = bool(newline) or stop_reason in (StopReason.STOP_TOKEN, TextEnd.LINE_END, TextEnd.SCOPE_END)
    return Fork(kept, avoid=LINE_END) if is_ended and kept else None


def closing(text: bytes, cursor: CursorContext) -> Fork | None:
    """Return the last place of a draft's first line at which its open brackets can be closed; `None` if it has none."""
    line, _, _ = _first_line(text, cursor)
    kept = line.rstrip()
    closers = missing_closers(kept, cursor)
    if closers[:1] in OPENER_OF:
        kept = kept.rstrip(b" ,")
    return Fork(kept, forced=closers) if closers and kept else None


def _first_line(text: bytes, cursor: CursorContext) -> tuple[bytes, bytes, bytes]:
    """Split a draft behind its first line, which also ends where a loop begins."""
    line, newline, rest = text[: n_whole_bytes(text)].partition(b"\n")
    loop = loop_start(line, cursor)
    return (line, newline, rest) if loop is None else (line[:loop], b"", b"")


def missing_closers(text: bytes, cursor: CursorContext) -> bytes:
    """Return the quote and the brackets that are missing behind `text` on the cursor's line, the innermost first.

    Those behind the cursor are not missing, and brackets before it are not if the lines below close them.
    """
    below = cursor.line_below
    goes_on = indent_width(below) > indent_width(cursor.line_before) or below.lstrip()[:1] in OPENER_OF
    n_before = len(cursor.line_before)
    opened: list[tuple[int, bytes]] = []
    quote = b""
    for start, end, sign in scan(cursor.line_before + text, has_comments=cursor.has_comments):
        if sign in CLOSER_OF:
            opened.append((start, CLOSER_OF[sign]))
        elif sign in OPENER_OF:
            del opened[-1:]
        elif end < 0:
            quote = sign
    after = cursor.line_after
    if quote and after.startswith(quote):
        quote, after = b"", after[len(quote) :]
    n_behind = 0
    for _, _, sign in scan(after, has_comments=cursor.has_comments):
        n_behind += 1 if sign in OPENER_OF else -1 if sign in CLOSER_OF else 0
        if n_behind < 0:
            break
    own = opened[max(0, n_behind) :]
    return quote + b"".join(closer for at, closer in reversed(own) if at >= n_before or not goes_on)
