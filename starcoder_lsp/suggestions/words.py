"""Prevent that a suggestion repeats the rest of the word or line behind the cursor.

Inside a word, a suggestion must write the word's rest again and replace it; otherwise it is dropped.
"""

from __future__ import annotations

import re

from starcoder_lsp.suggestions.cursor_context import CLOSERS, SEPARATORS, CursorContext
from starcoder_lsp.suggestions.suggestion import Suggestion

HEAD = re.compile(rb"[\w\x80-\xff]*")
TAIL = re.compile(rb"[\w\x80-\xff]+\Z")
MIN_TAIL_BYTES = 4
"""A repeated rest of the line counts from this length on, or if it begins with an unopened bracket."""
MIN_BEGUN_BYTES = 3
"""A shorter beginning of the rest of the line may be repeated by chance."""


def rest_of_word(cursor: CursorContext) -> bytes:
    """Return the rest of the word around the cursor, or an empty text."""
    is_inside = TAIL.search(cursor.line_before[-1:]) is not None
    return _head(cursor.line_after) if is_inside else b""


def glues(suggestion: Suggestion, cursor: CursorContext) -> bool:
    """Return whether the last word of a suggestion would join a word behind the cursor."""
    behind = cursor.line_after[suggestion.n_replaced_bytes :]
    return bool(_head(behind)) and TAIL.search(suggestion.text) is not None


def without_tail(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Return the suggestion without the rest of the line, or that rest's closing brackets, at its end.

    If that end stands on a line of its own, behind a block, it stays and replaces the text behind the cursor.
    """
    behind, kept = cursor.line_after[suggestion.n_replaced_bytes :], suggestion.text.rstrip()
    after = behind.strip()
    n_words = len(after.rstrip(CLOSERS + SEPARATORS))
    for n in range(min(len(after), len(kept)), 0, -1):
        tail = kept[-n:]
        if after.startswith(tail):
            closers = tail.translate(None, SEPARATORS)
            is_tail = n >= max(1, n_words) and (n >= MIN_TAIL_BYTES or cursor.is_unopened(tail[:1], kept))
            if is_tail or not closers or cursor.is_unopened(closers, kept):
                if _is_own_line(kept, n):
                    n_replaced_bytes = suggestion.n_replaced_bytes + len(behind) - len(behind.lstrip()) + n
                    return Suggestion(kept, suggestion.stop_reason, n_replaced_bytes)
                return suggestion.cut(len(kept) - n)
    return suggestion


def without_moved_tail(part: Suggestion, cursor: CursorContext) -> Suggestion:
    """Return a shorter part of a suggestion, which replaces the rest of a word at most: it lacks the replacing end."""
    rest = rest_of_word(cursor)
    n_replaced_bytes = len(rest) if rest and part.text.startswith(rest) else 0
    return part.replacing(min(part.n_replaced_bytes, n_replaced_bytes))


def _is_own_line(text: bytes, n_bytes: int) -> bool:
    """Return whether the last bytes of a text stand alone on a line below its first."""
    head, newline, blank = text[: len(text) - n_bytes].rpartition(b"\n")
    return bool(newline) and bool(head.strip()) and not blank.strip()


def join(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """Drop a suggestion that repeats the text behind the cursor; cut a last word that would join the word there.

    Inside a word, keep only a suggestion that writes the word's rest again, and make it replace that rest.
    """
    text, after, rest = suggestion.text, cursor.line_after, rest_of_word(cursor)
    bare = text.strip()
    if not bare:
        return suggestion
    is_begun = len(bare) >= MIN_BEGUN_BYTES and bool(_head(bare.lstrip(b" \t,.(["))) and after.strip().startswith(bare)
    if is_begun or after.startswith(text.rstrip()):
        return suggestion.cut(0)
    if rest:
        goes_on = text[len(rest) : len(rest) + 1]
        is_anew = _head(text) == rest and goes_on != after[len(rest) : len(rest) + 1]
        anew = suggestion.replacing(len(rest)) if is_anew else suggestion.cut(0)
        return without_tail(anew, cursor)
    last = TAIL.search(text)
    return suggestion.cut(last.start()) if last is not None and glues(suggestion, cursor) else suggestion


def _head(text: bytes) -> bytes:
    """Return the word at the start of a text, or an empty text."""
    match = HEAD.match(text)
    return match.group() if match is not None else b""
