"""The longest leading part of a suggestion that fits the document's syntax, closing brackets and quotes included.

One parse of the document with the suggestion in it says whether it fits; where it does not, shorter parts are tried at
the ends of lines and of words at which no bracket is open. Without a tree nothing is known, and nothing is cut.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import islice

from attrs import evolve, frozen

from starcoder_lsp.documents.documents import spliced
from starcoder_lsp.suggestions.lines import open_brackets
from starcoder_lsp.suggestions.site import CLOSERS, Site
from starcoder_lsp.suggestions.suggestion import Suggestion

N_MOST_PARTS = 12
"""Parts that are tried; each parse takes some tenths of a millisecond in a file of usual length."""
N_CLOSED_BYTES = 4
"""Brackets and quotes that an editor may have closed by itself behind the cursor."""
WORD = re.compile(rb"\w+|[^\w\s]")


def fit(suggestion: Suggestion, site: Site) -> Suggestion:
    """The longest part that adds no syntax error, in place of as much behind the cursor as makes it fit.

    One that is part of no error itself comes before one that only leaves their number as it was.
    """
    syntax = site.snapshot.syntax
    is_readable = site.line_end != b"\r"  # which ends no line for a grammar
    if syntax is None or syntax.tree is None or not suggestion.text.strip() or not is_readable:
        return suggestion
    n_errors_before = syntax.error_count()
    passable = None
    for part in islice(_parts(suggestion), N_MOST_PARTS):
        tried = min(_tries(part, site), key=lambda each: (each.n_errors, each.is_broken))
        if tried.n_errors > n_errors_before:
            continue
        if not tried.is_broken:
            return _without_what_is_there(tried.part, site)
        passable = passable or tried.part
    return passable or suggestion.cut(0)


@frozen
class _Tried:
    """A part in the document: how many errors that has, and whether one of them touches the part."""

    part: Suggestion
    n_errors: float
    is_broken: bool


def _tries(part: Suggestion, site: Site) -> Iterator[_Tried]:
    """A part in place of as many closing characters as it may replace; none after one without any error."""
    for n_replaced in _replaceable(part.text, site):
        tried = _try(evolve(part, n_replaced_bytes=n_replaced), site)
        yield tried
        if not tried.n_errors:
            return


def _try(part: Suggestion, site: Site) -> _Tried:
    """Parse the document with `part` in it. Without a tree in time there is no error: parsing fails no request."""
    at, end_byte = site.cursor_byte, site.cursor_byte + len(part.text)
    syntax = spliced(site.snapshot, at, at + part.n_replaced_bytes, part.text).syntax
    if syntax is None or syntax.tree is None:
        return _Tried(part, 0, is_broken=False)
    token = syntax.token_over(end_byte)
    behind = site.line_after[part.n_replaced_bytes :][:1]
    if token is not None and token[0] >= at and not behind.isalnum():  # it swallows what stands behind
        return _Tried(part, math.inf, is_broken=True)
    n_errors = syntax.error_count()
    return _Tried(part, n_errors, is_broken=n_errors > 0 and syntax.has_error_in(at, end_byte))


def _parts(suggestion: Suggestion) -> Iterator[Suggestion]:
    """What may be shown, the longest first."""
    text = suggestion.text
    line_ends = [match.start() for match in re.finditer(rb"\n", text)]
    first_line = text[: line_ends[0]] if line_ends else text
    word_ends = [match.end() for match in WORD.finditer(first_line)]
    for end in dict.fromkeys((len(text), *reversed(line_ends), *reversed(word_ends))):
        part = suggestion.cut(end)
        if end == len(text) or not open_brackets(part.text):
            yield part


def _replaceable(text: bytes, site: Site) -> list[int]:
    """How many closing characters behind the cursor `text` may write anew, the likeliest number first."""
    after = site.line_after
    n_closing = min(N_CLOSED_BYTES, len(after) - len(after.lstrip(CLOSERS)))
    written = [n for n in range(n_closing, 0, -1) if _writes(text, after[:n])]
    return [*written[:1], 0, *written[1:]]


def _writes(text: bytes, closers: bytes) -> bool:
    """Whether `text` has `closers` in the same order."""
    at = -1
    for closer in closers:
        at = text.find(closer, at + 1)
        if at < 0:
            return False
    return True


def _without_what_is_there(part: Suggestion, site: Site) -> Suggestion:
    """What a part writes at its end and replaces is left as it is instead."""
    replaced = site.line_after[: part.n_replaced_bytes]
    if replaced and part.text.endswith(replaced):
        return evolve(part, text=part.text[: -len(replaced)], n_replaced_bytes=0)
    return part
