"""Choose a new window: the text around a cursor that fits a token budget.

Cuts are at line starts, except inside a line that takes most of the room. If the file does not fit, pinned lines
(`pinned.py`) come first, then the lines nearest to the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from starcoder_lsp.context.edges import hop, left_edge, paragraph_end, right_edge
from starcoder_lsp.context.outline import NO_OUTLINE, Outline
from starcoder_lsp.context.pinned import lines_of, pinned, scope_headers, signatures_after, spans_of
from starcoder_lsp.context.window import (
    Budget,
    CrossFileContext,
    Part,
    Segment,
    Segments,
    Window,
    max_tokens,
    part_of,
    segment_text,
)
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.embedded import embedded_at
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.engine.tokens import N_BYTES_PER_TOKEN, Tokenizer, fit_head, fit_tail

MAX_PINNED_SHARE = 0.4
"""Largest share of the tokens before the cursor for pinned lines; the rest is for the nearest lines. Not measured."""
RESERVED_SHARE = 0.125
"""Share of the tokens before the cursor that a cut prefix leaves free for text typed later. Not measured."""
MIN_PREFIX_SHARE = 0.4
"""Start where an earlier window did if the prefix then has at least this share of the tokens before the cursor.

Without this rule 60.8 prompt tokens are evaluated for each edit, with it 47.4: `bench/evaluated.py`.
"""
MAX_SIGNATURES_SHARE = 0.1
"""Largest share of the suffix for signatures of definitions further down. Its gain in quality is not measured.

Without signatures 44.6 prompt tokens are evaluated for each edit, with them 47.4: `bench/evaluated.py`.
"""
MAX_BYTES_PER_TOKEN = 16
"""A text with more bytes than this for each token of room does not fit, and is not tokenized. Not measured."""
MIN_SUFFIX_TOKENS = 64
"""The suffix ends with the first scope or paragraph around the cursor that gives it this many tokens.

The suffix is evaluated again at each new place. With 48 tokens 30.6 to 33.6 are evaluated for each edit, with 64 33.7
to 36.8, with 96 38.6 to 40.0 (2,500 edits, `bench/evaluated.py`). Quality does not differ (`bench/suffix.py`).
"""
MAX_WHOLE_SUFFIX_TOKENS = 128
"""A rest of the file of at most this many tokens is the suffix. Other values: `bench/suffix.py`."""
Chooser = Callable[[int], Iterable[Segment]]
"""Returns the segments for one side of the cursor, given the room in tokens."""


def new_window(  # noqa: PLR0913, PLR0917  # the last three are cached parts of earlier windows of the document
    snapshot: Snapshot,
    cursor_byte: int,
    budget: Budget,
    tokenizer: Tokenizer,
    prefix_starts: Sequence[Segments] = (),
    outline: Outline = NO_OUTLINE,
    cross_file: CrossFileContext | None = None,
) -> Window:
    """Choose a window. The budget limits the ids that are sent.

    The suffix is short, since it is evaluated again at each new place, while places near each other share their prefix.
    The first of `prefix_starts` that suits is used again. Signatures come from `outline`, the definitions of the file.
    """
    n_tokens = max_tokens(budget, cross_file)
    n_suffix = int(n_tokens * budget.suffix_share)
    n_before = n_tokens - n_suffix
    anchor_byte = _anchor(snapshot, cursor_byte, n_before // 2, tokenizer)
    middle = part_of(snapshot, [Segment("middle", anchor_byte, cursor_byte, "the cursor's line up to it")], tokenizer)
    n_middle = len(middle.ids)
    above = Segment("prefix", 0, anchor_byte, "the whole file above the cursor's line")
    below = Segment("suffix", cursor_byte, len(snapshot.text.data), "the whole file below the cursor")

    suffix = _whole_if_it_fits(snapshot, below, min(n_suffix, MAX_WHOLE_SUFFIX_TOKENS), 0, tokenizer)
    if suffix is not None:
        n_before = n_tokens - len(suffix.ids)
    prefix = _whole_if_it_fits(snapshot, above, n_before, n_middle, tokenizer)
    if prefix is not None and suffix is None:
        n_left = min(n_tokens - len(prefix.ids), n_middle + MAX_WHOLE_SUFFIX_TOKENS)
        suffix = _whole_if_it_fits(snapshot, below, n_left, n_middle, tokenizer)
    if prefix is None or suffix is None:
        syntax = embedded_at(snapshot, cursor_byte).snapshot.syntax
        scopes = syntax.enclosing_scopes(cursor_byte) if syntax is not None else ()
        cursor = _Cursor(snapshot, cursor_byte, anchor_byte, tokenizer, scopes, outline)
    if prefix is None:
        n_above = n_before - max(n_middle, int(n_before * RESERVED_SHARE))
        prefix = _reuse_prefix_start(cursor, prefix_starts, n_before - n_middle) or _nearest_above(cursor, n_above)
    if suffix is None:
        suffix = _nearest_below(cursor, n_suffix)
    return Window(snapshot, anchor_byte, cursor_byte, budget, prefix, middle, suffix, cross_file)


def _anchor(snapshot: Snapshot, cursor_byte: int, max_tokens: int, tokenizer: Tokenizer) -> int:
    """Return the start of the cursor's line, or a later place if there would be over `max_tokens` to the cursor."""
    text = snapshot.text
    line_start = text.line_starts[text.line_of(cursor_byte)]
    earliest = cursor_byte - fit_tail(tokenizer, text.data, max_tokens, start=line_start, end=cursor_byte)
    return line_start if earliest <= line_start else hop(text, earliest, cursor_byte, max_tokens)


def _whole_if_it_fits(
    snapshot: Snapshot, segment: Segment, n_tokens: int, n_taken: int, tokenizer: Tokenizer
) -> Part | None:
    """Return the segment as a part if it has at most `n_tokens - n_taken` tokens.

    The fast check counts without `n_taken`, which changes while the user types.
    """
    if segment.end_byte - segment.start_byte > n_tokens * MAX_BYTES_PER_TOKEN:
        return None
    text = segment_text(snapshot, segment)
    if fit_head(tokenizer, text, n_tokens) < len(text):
        return None
    part = part_of(snapshot, [segment], tokenizer)
    return part if len(part.ids) + n_taken <= n_tokens else None


@frozen
class _Cursor:
    """The place of the cursor: `scopes` are those around it, outermost first; `outline` has the file's definitions."""

    snapshot: Snapshot
    cursor_byte: int
    anchor_byte: int
    tokenizer: Tokenizer
    scopes: Sequence[Scope]
    outline: Outline


def _reuse_prefix_start(cursor: _Cursor, prefix_starts: Sequence[Segments], n_tokens: int) -> Part | None:
    """Return a prefix that starts like an earlier one, so that the tokens they share are not evaluated again.

    It must show enough lines before the cursor, and each header of the scopes around it.
    """
    text = cursor.snapshot.text
    needed = [lines_of(text, start, end)[0] for start, end, _ in scope_headers(text, cursor.scopes)]
    for start in prefix_starts:
        pinned, edge = start[:-1], start[-1].start_byte
        if edge >= cursor.anchor_byte or cursor.anchor_byte - edge > n_tokens * 2 * N_BYTES_PER_TOKEN:
            continue
        if any(at < edge and all(at != segment.start_byte for segment in pinned) for at in needed):
            continue
        near = Segment("prefix", edge, cursor.anchor_byte, start[-1].why)
        part = part_of(cursor.snapshot, (*pinned, near), cursor.tokenizer)
        if n_tokens * MIN_PREFIX_SHARE <= len(part.ids) <= n_tokens:
            return part
    return None


def _nearest_above(cursor: _Cursor, n_tokens: int) -> Part:
    """Choose the pinned lines, then the lines that end at the anchor.

    The left edge moves in hops, since the KV cache is useless once the first token changes.
    """
    snapshot, anchor_byte = cursor.snapshot, cursor.anchor_byte
    text, max_kept = snapshot.text, int(n_tokens * MAX_PINNED_SHARE)

    def edge_of(n_room: int) -> int:
        earliest = anchor_byte - fit_tail(cursor.tokenizer, text.data, n_room, end=anchor_byte)
        return left_edge(text, earliest, anchor_byte, n_tokens)

    wanted = pinned(snapshot, cursor.cursor_byte, cursor.scopes, cursor.outline)
    spans = spans_of(snapshot, wanted, edge_of(n_tokens - max_kept), max_kept, cursor.tokenizer)
    n_kept = sum(span.n_tokens for span in spans)

    def choose(n_room: int) -> Iterable[Segment]:
        near_start = edge_of(n_room - n_kept)
        kept = spans
        if near_start >= anchor_byte:  # no room for a line beside them: the nearest lines come first
            near_start, kept = edge_of(n_room), ()
        for span in kept:
            if span.start_byte < near_start:
                yield Segment("prefix", span.start_byte, min(span.end_byte, near_start), span.why)
        yield Segment("prefix", near_start, anchor_byte, "lines before the cursor")

    return _fit(snapshot, n_tokens, cursor.tokenizer, choose)


def _nearest_below(cursor: _Cursor, n_tokens: int) -> Part:
    """Choose the rest of a paragraph or scope, or else the next lines. Behind a scope, add later signatures."""
    snapshot, cursor_byte, text = cursor.snapshot, cursor.cursor_byte, cursor.snapshot.text
    scope_ends = [(lines_of(text, scope.start_byte, scope.end_byte)[1], scope) for scope in reversed(cursor.scopes)]

    def choose(n_room: int) -> Iterable[Segment]:
        latest = cursor_byte + fit_head(cursor.tokenizer, text.data, n_room, start=cursor_byte)
        lines_end = right_edge(text, cursor_byte, latest)
        n_least = fit_head(cursor.tokenizer, text.data, MIN_SUFFIX_TOKENS, start=cursor_byte, end=lines_end)
        least = cursor_byte + n_least
        ends = ((end, scope) for end, scope in scope_ends if least <= end < lines_end)
        end, scope = next(ends, (lines_end, None))
        why = "lines after the cursor" if scope is None else f"to the end of {scope.kind} {scope.name}".strip()
        paragraph = paragraph_end(text, cursor_byte, least, end)
        if paragraph is not None:
            end, scope, why = paragraph, None, "to the end of the paragraph"
        yield Segment("suffix", cursor_byte, end, why)
        if scope is not None and end > cursor_byte:
            max_tokens = int(n_tokens * MAX_SIGNATURES_SHARE)
            for span in spans_of(
                snapshot, signatures_after(cursor.outline, end), len(text.data), max_tokens, cursor.tokenizer
            ):
                yield Segment("suffix", span.start_byte, span.end_byte, span.why)

    return _fit(snapshot, n_tokens, cursor.tokenizer, choose)


def _fit(snapshot: Snapshot, n_tokens: int, tokenizer: Tokenizer, choose: Chooser) -> Part:
    """Return the largest choice that fits. Joined segments may have a few more tokens than one by one."""
    n_room = n_tokens
    while n_room > 0:
        part = part_of(snapshot, choose(n_room), tokenizer)
        if len(part.ids) <= n_tokens:
            return part
        n_room -= len(part.ids) - n_tokens + 8
    return Part()
