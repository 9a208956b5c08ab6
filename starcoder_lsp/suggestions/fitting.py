"""Cut a suggestion to its longest leading part that adds no syntax error to the document.

The document is parsed with the suggestion in it. If that has more errors, shorter parts are tried, which end with a
line or a word and leave no bracket open. Without a tree nothing is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import evolve

from starcoder_lsp.suggestions.cursor_context import CLOSERS, N_CLOSED_BYTES, CursorContext, first_line, indent_width
from starcoder_lsp.suggestions.lexing import ends_in_string, open_brackets
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
    for part in _parts(suggestion, cursor, is_in_token=trial_text.is_in_token):
        if only_whole and part.text != suggestion.text and passable is None:
            break
        if len(part.text) > max_bytes:
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


def _parts(suggestion: Suggestion, cursor: CursorContext, *, is_in_token: bool) -> Iterator[Suggestion]:
    """Yield the parts that may be shown, the longest first: the whole, whole lines, and words of the first line.

    No part leaves a bracket or a string open, judged without a parser. The whole may, if the line below goes on.
    """
    text = suggestion.text
    line_ends = [match.start() for match in re.finditer(rb"\n", text)]
    first_line_end = line_ends[0] if line_ends else len(text)
    word_ends = [match.end() for match in END.finditer(text, 0, first_line_end)]
    below = first_line(cursor.below)
    goes_on = indent_width(below) > indent_width(cursor.line_before) or below.lstrip().startswith(CLOSING)
    for end in dict.fromkeys((len(text), *reversed(line_ends), *reversed(word_ends))):
        part = suggestion if end == len(text) else without_moved_tail(suggestion.cut(end), cursor)
        tries = [evolve(part, n_replaced_bytes=n) for n in _replaceable(part, cursor)]
        closed = [tried for tried in tries if not _leaves_open(tried, cursor)]
        if (closed or is_in_token or (goes_on and end == len(text))) and not glues((closed or tries)[0], cursor):
            yield (closed or tries)[0]


def _leaves_open(part: Suggestion, cursor: CursorContext) -> bool:
    """Return whether the cursor's line has more open brackets with `part` than without it, or an unfinished string."""
    line = cursor.line_before + part.text + cursor.line_after[part.n_replaced_bytes :]
    has_comments = cursor.has_comments
    n_open = cursor.n_open_on_line
    n_left_open = len(open_brackets(line, has_comments=has_comments))
    return n_left_open > n_open or ends_in_string(line, has_comments=has_comments)


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
        return evolve(part, text=part.text[: -len(replaced)], n_replaced_bytes=n_word)
    return part
