"""Cut a suggestion to its longest leading part that adds no syntax error to the document.

The document is parsed with the suggestion in it. If that has more errors, shorter parts are tried, which end with a
line or a word and leave no bracket open. Without a tree nothing is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from starcoder_lsp.suggestions.cursor_context import CLOSERS, N_CLOSED_BYTES, CursorContext, indent_width
from starcoder_lsp.suggestions.lexing import end_state
from starcoder_lsp.suggestions.suggestion import Suggestion
from starcoder_lsp.suggestions.trial import TrialText
from starcoder_lsp.suggestions.words import glues, without_moved_tail

MAX_PARTS = 5
"""The most parts that are tried. A parse takes some tenths of a millisecond in a file of usual length."""
CLOSING = (b")", b"]", b"}")
END = re.compile(rb"\w+|[)\]};]|([\"'`])(?!\1)")
"""The end that a part may have: a word, a closing bracket, or a single quote character."""


def fit(suggestion: Suggestion, cursor: CursorContext, *, only_whole: bool = False) -> Suggestion:
    """Return the longest part that adds no syntax error, and as many replaced bytes behind the cursor as that needs.

    A part that touches no error is preferred to one that only leaves the number of errors as it was. With `only_whole`,
    return nothing if the whole suggestion does not fit.
    """
    syntax = cursor.snapshot.syntax
    is_readable = cursor.line_end != b"\r"  # which ends no line for a grammar
    if syntax is None or syntax.tree is None or not suggestion.text.strip() or not is_readable:
        return suggestion
    trial_text = TrialText.of(cursor)
    passable, max_bytes, n_tried = None, len(suggestion.text), 0
    for end in _ends(suggestion.text):  # the whole comes first
        if only_whole and end < len(suggestion.text) and passable is None:
            break
        part = _part(suggestion, end, cursor, is_in_token=trial_text.is_in_token) if end <= max_bytes else None
        if part is None:
            continue
        verdict = trial_text.judge(part)
        if verdict.fits:
            return _without_repeated_tail(part, cursor, suggestion.n_replaced_bytes)
        passable = passable or (part if verdict.is_passable else None)
        if verdict.error_at is not None and verdict.error_at > 0:
            max_bytes = verdict.error_at
        n_tried += 1
        if n_tried == MAX_PARTS:
            break
    return passable or suggestion.cut(0)


def _ends(text: bytes) -> Iterator[int]:
    """Yield the ends that parts may have, the last first: those of the text, of lines and of the first line's words."""
    end = len(text)
    yield end
    while (line_end := text.rfind(b"\n", 0, end)) >= 0:
        end = line_end
        yield end
    words = (match.end() for match in reversed([*END.finditer(text, 0, end)]))
    yield from (word_end for word_end in words if word_end < end)


def _part(suggestion: Suggestion, end: int, cursor: CursorContext, *, is_in_token: bool) -> Suggestion | None:
    """Return the part of a suggestion up to a byte, with the bytes that it replaces; `None` if it may not be shown.

    No part leaves a bracket or a string open, judged without a parser. The whole may, if the line below goes on.
    """
    is_whole = end == len(suggestion.text)
    below = cursor.line_below
    goes_on = is_whole and (indent_width(below) > cursor.indent_columns or below.lstrip().startswith(CLOSING))
    part = suggestion if is_whole else without_moved_tail(suggestion.cut(end), cursor)
    tries = [part.replacing(n) for n in _replaceable(part, cursor)]
    closed = next((tried for tried in tries if not _leaves_open(tried, cursor)), None)
    if closed is None and not is_in_token and not goes_on:
        return None
    found = tries[0] if closed is None else closed
    return None if glues(found, cursor) else found


def _leaves_open(part: Suggestion, cursor: CursorContext) -> bool:
    """Return whether the cursor's line has more open brackets with `part` than without it, or an unfinished string."""
    line = cursor.line_before + part.text + cursor.line_after[part.n_replaced_bytes :]
    n_left_open, quote = end_state(line, has_comments=cursor.has_comments)
    return n_left_open > cursor.n_open_on_line or bool(quote)


def _replaceable(part: Suggestion, cursor: CursorContext) -> list[int]:
    """Return the numbers of bytes behind the cursor that a part may replace, the likeliest first.

    These are the bytes that the suggestion replaces already, with or without closing characters behind them.
    """
    n_word = part.n_replaced_bytes
    after = cursor.line_after[n_word:]
    n_closing = min(N_CLOSED_BYTES, len(after) - len(after.lstrip(CLOSERS)))
    written = [n for n in range(n_closing, 0, -1) if cursor.is_unopened(after[:n], part.text)]
    return [*(n_word + n for n in written[:1]), n_word]


def _without_repeated_tail(part: Suggestion, cursor: CursorContext, n_word: int) -> Suggestion:
    """Cut the end of a part that would replace text behind the cursor's word by the same text."""
    replaced = cursor.line_after[n_word : part.n_replaced_bytes]
    if replaced and part.text.endswith(replaced):
        return Suggestion(part.text[: -len(replaced)], part.stop_reason, n_word)
    return part
