"""The rest of a word or a line behind the cursor: it is never written twice.

Inside a word a suggestion writes the word's rest anew and goes on, in place of that rest, or there is none.
"""

from __future__ import annotations

import re

from attrs import evolve

from starcoder_lsp.suggestions.cursor_context import CLOSERS, SEPARATORS, CursorContext
from starcoder_lsp.suggestions.suggestion import Suggestion

HEAD = re.compile(rb"[\w\x80-\xff]*")
TAIL = re.compile(rb"[\w\x80-\xff]+\Z")
MIN_TAIL_BYTES = 4
"""The whole rest of the line counts as repeated from this length on, or if it begins with an unopened bracket."""
MIN_BEGUN_BYTES = 3
"""A shorter beginning of the rest of the line is written by chance."""


def rest_of_word(cursor: CursorContext) -> bytes:
    """The rest of the word that the cursor is inside of, or nothing."""
    is_inside = TAIL.search(cursor.line_before[-1:]) is not None
    return _head(cursor.line_after) if is_inside else b""


def glues(suggestion: Suggestion, cursor: CursorContext) -> bool:
    """Return whether the last word of a suggestion and a word behind it become one."""
    behind = cursor.line_after[suggestion.n_replaced_bytes :]
    return bool(_head(behind)) and TAIL.search(suggestion.text) is not None


def without_tail(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """The suggestion without the rest of the line, or the closing brackets at its start, at its own end."""
    after, kept = cursor.line_after[suggestion.n_replaced_bytes :].strip(), suggestion.text.rstrip()
    n_words = len(after.rstrip(CLOSERS + SEPARATORS))
    for n in range(min(len(after), len(kept)), 0, -1):
        tail = kept[-n:]
        if after.startswith(tail):
            closers = tail.translate(None, SEPARATORS)
            is_tail = n >= max(1, n_words) and (n >= MIN_TAIL_BYTES or cursor.is_unopened(tail[:1], kept))
            if is_tail or not closers or cursor.is_unopened(closers, kept):
                return suggestion.cut(len(kept) - n)
    return suggestion


def join(suggestion: Suggestion, cursor: CursorContext) -> Suggestion:
    """The suggestion without what stands behind the cursor already, in place of the rest of the word that it is in."""
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
        anew = evolve(suggestion, n_replaced_bytes=len(rest)) if is_anew else suggestion.cut(0)
        return without_tail(anew, cursor)
    last = TAIL.search(text)
    return suggestion.cut(last.start()) if last is not None and glues(suggestion, cursor) else suggestion


def _head(text: bytes) -> bytes:
    """The word that a text begins with, or nothing."""
    match = HEAD.match(text)
    return match.group() if match is not None else b""
