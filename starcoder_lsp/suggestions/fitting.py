"""The longest leading part of a suggestion that fits the document's syntax, closing brackets and quotes included.

One parse of the document with the suggestion in it says whether it fits; where it does not, shorter parts are tried at
the ends of lines and of words at which no bracket is open. Without a tree nothing is known, and nothing is cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from attrs import evolve, frozen

from starcoder_lsp.documents.documents import Snapshot, fresh, spliced
from starcoder_lsp.documents.text import Text
from starcoder_lsp.suggestions.cursor_context import CLOSERS, N_CLOSED_BYTES, CursorContext, first_line, indent_width
from starcoder_lsp.suggestions.lexing import ends_in_string, is_unopened, open_brackets
from starcoder_lsp.suggestions.suggestion import Suggestion

MAX_PARTS = 5
"""Parts that are tried; each parse takes some tenths of a millisecond in a file of usual length."""
CLOSING = (b")", b"]", b"}")
END = re.compile(rb"\w+|[)\]};]|([\"'`])(?!\1)")
"""What a part may end with: a word, a closing bracket, a quote that is not one of several."""
N_LONG_BYTES = 8192
"""A document longer than this is not parsed as a whole if the function around the cursor is less than half of it."""


def fit(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """The longest part that adds no syntax error, in place of as much behind the cursor as makes it fit.

    One that is part of no error itself comes before one that only leaves their number as it was.
    """
    syntax = cursor.snapshot.syntax
    is_readable = cursor.line_end != b"\r"  # which ends no line for a grammar
    if syntax is None or syntax.tree is None or not suggestion.text.strip() or not is_readable:
        return suggestion
    is_in_token = syntax.token_over(cursor.cursor_byte) is not None
    ground = _baseline(cursor, is_in_token=is_in_token)
    passable, max_bytes, n_tried = None, len(suggestion.text), 0
    for part in _parts(suggestion, cursor, is_in_token=is_in_token):
        if len(part.text) > max_bytes:
            continue
        tried = _try(part, ground)
        if tried is None:
            ground = _whole(cursor, is_in_token=is_in_token)
            tried = _try(part, ground) or _Tried(0, None)
        if not tried.n_errors or tried.n_errors <= ground.n_errors:
            if tried.error_at is None:
                return _without_what_is_there(part, cursor)
            passable = passable or part
        if tried.error_at is not None and tried.error_at > 0:
            max_bytes = tried.error_at
        n_tried += 1
        if n_tried == MAX_PARTS:
            break
    return passable or suggestion.cut(0)


@frozen
class _Baseline:
    """A text in which parts are tried, and the cursor in it: inside a string or a comment, or not."""

    snapshot: Snapshot
    cursor_byte: int
    n_behind_bytes: int
    """What stands behind the cursor on its line."""
    is_in_token: bool

    @property
    def n_errors(self) -> int:
        """Syntax errors of the text without a suggestion."""
        return self.snapshot.syntax.error_count() if self.snapshot.syntax is not None else 0


def _baseline(cursor: CursorContext, *, is_in_token: bool) -> _Baseline:
    """The document, or the function around the cursor in a long one."""
    whole = _whole(cursor, is_in_token=is_in_token)
    data = cursor.snapshot.text.data
    if len(data) <= N_LONG_BYTES or not cursor.scopes:
        return whole
    start = data.rfind(b"\n", 0, cursor.scopes[-1].start_byte) + 1
    end = data.find(b"\n", max(cursor.scopes[-1].end_byte, cursor.cursor_byte))
    if end < 0 or 2 * (end - start) > len(data):
        return whole
    text = Text.from_bytes(data[start : end + 1])
    part = fresh(cursor.snapshot.uri, cursor.snapshot.language_id, cursor.snapshot.version, text)
    return evolve(whole, snapshot=part, cursor_byte=cursor.cursor_byte - start)


def _whole(cursor: CursorContext, *, is_in_token: bool) -> _Baseline:
    return _Baseline(cursor.snapshot, cursor.cursor_byte, len(cursor.line_after), is_in_token)


@frozen
class _Tried:
    """A part in the document: how many errors that has, and at which of its bytes the first begins that touches it.

    Less than 0 for one that begins above.
    """

    n_errors: float
    error_at: int | None


def _try(part: Suggestion, ground: _Baseline) -> _Tried | None:
    """Parse the text with `part` in it. Without a tree in time there is no error: parsing fails no request.

    `None` for a function by itself that is plain text, since its language begins somewhere above in a page of another.
    """
    at, end_byte = ground.cursor_byte, ground.cursor_byte + len(part.text)
    syntax = spliced(ground.snapshot, at, at + part.n_replaced_bytes, part.text).syntax
    if syntax is None or syntax.tree is None:
        return _Tried(0, None)
    if ground.is_in_token:
        token = None
    elif (outer := syntax.token_over(at)) is not None and outer[0] < at and outer[1] > end_byte:
        return None
    else:
        token = syntax.token_over(end_byte)
    line_end = end_byte + ground.n_behind_bytes - part.n_replaced_bytes
    if token is not None and token[0] >= at and token[1] > line_end:
        return _Tried(math.inf, token[0] - at)  # it swallows what stands behind
    n_errors = syntax.error_count()
    error_byte = syntax.first_error_in(at, end_byte) if n_errors else None
    return _Tried(n_errors, None if error_byte is None else error_byte - at)


def _parts(suggestion: Suggestion, cursor: CursorContext, *, is_in_token: bool) -> Iterator[Suggestion]:
    """What may be shown, the longest first: all of it, whole lines, or words of the first line.

    None leaves a bracket or a string open, as far as letters tell; all of it may, where the line below goes on with it.
    """
    text = suggestion.text
    line_ends = [match.start() for match in re.finditer(rb"\n", text)]
    first_line_end = line_ends[0] if line_ends else len(text)
    word_ends = [match.end() for match in END.finditer(text, 0, first_line_end)]
    below = first_line(cursor.below)
    goes_on = indent_width(below) > indent_width(cursor.line_before) or below.lstrip().startswith(CLOSING)
    for end in dict.fromkeys((len(text), *reversed(line_ends), *reversed(word_ends))):
        part = suggestion.cut(end)
        tries = [evolve(part, n_replaced_bytes=n) for n in _replaceable(part.text, cursor)]
        closed = [tried for tried in tries if not _leaves_open(tried, cursor)]
        if closed or is_in_token or (goes_on and end == len(text)):
            yield (closed or tries)[0]


def _leaves_open(part: Suggestion, cursor: CursorContext) -> bool:
    """Whether the cursor's line has more open brackets with `part` than without it, or an unfinished string."""
    line = cursor.line_before + part.text + cursor.line_after[part.n_replaced_bytes :]
    return ends_in_string(line) or len(open_brackets(line)) > len(open_brackets(cursor.line_before + cursor.line_after))


def _replaceable(text: bytes, cursor: CursorContext) -> list[int]:
    """How many closing characters behind the cursor `text` may write anew, the likeliest number first."""
    after = cursor.line_after
    n_closing = min(N_CLOSED_BYTES, len(after) - len(after.lstrip(CLOSERS)))
    written = [n for n in range(n_closing, 0, -1) if is_unopened(after[:n], text, cursor.line_before)]
    return [*written[:1], 0]


def _without_what_is_there(part: Suggestion, cursor: CursorContext) -> Suggestion:
    """What a part writes at its end and replaces is left as it is instead."""
    replaced = cursor.line_after[: part.n_replaced_bytes]
    if replaced and part.text.endswith(replaced):
        return evolve(part, text=part.text[: -len(replaced)], n_replaced_bytes=0)
    return part
