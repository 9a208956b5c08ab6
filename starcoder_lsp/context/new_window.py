"""Choose a new window: the text around a cursor that fits a token budget.

Cuts at line starts, except inside a line that takes most of the room. Where the file does not fit, the headers of the
scopes around the cursor and the imports come first, then the lines nearest to the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from starcoder_lsp.context.edges import hop, left_edge, right_edge
from starcoder_lsp.context.pinned import following, headers, lines_of, pinned, spans_of
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
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.engine.tokens import N_BYTES_PER_TOKEN, Tokenizer, fit_head, fit_tail

KEPT_SHARE = 0.4
"""Share of the tokens before the cursor that headers and imports may take from the nearest lines."""
MIDDLE_SHARE = 0.125
"""Share of the tokens before the cursor that is left for what will be written there, where text has to be cut."""

MIN_PREFIX_SHARE = 0.4
"""Share of the tokens before the cursor that is enough to begin where an earlier window began."""
SIGNATURES_SHARE = 0.1
"""Share of the suffix that signatures of what follows may take."""
MAX_BYTES_PER_TOKEN = 16
"""A text of more than this for each token is not measured to find out that it does not fit as a whole."""
MIN_SUFFIX_SHARE = 0.125
"""Share of the text that would fit behind the cursor which is enough to end with the scope around it.

The suffix is evaluated anew at each new place, and what follows the cursor's function says little about what is missing
in it: `bench/RESULTS.md`.
"""
Chooser = Callable[[int], Iterable[Segment]]
"""Segments for one side of the cursor, given the room in tokens."""


def new_window(
    snapshot: Snapshot,
    cursor_byte: int,
    budget: Budget,
    tokenizer: Tokenizer,
    starts: Sequence[Segments] = (),
    outline: Sequence[Scope] = (),
    head: CrossFileContext | None = None,
) -> Window:
    """Choose what the model sees. The budget is counted on the ids that are sent.

    What the suffix leaves of its share goes to the text before the cursor. The suffix takes more than its share only
    where the whole file fits: it is evaluated anew at each new place, while places near each other share their prefix.
    `starts` are the prefixes' segments of earlier windows, in this text, of which the first that serves is gone on
    with. `outline` are the definitions of the file, of which signatures are taken.
    """
    n_tokens = max_tokens(budget, head)
    n_suffix = int(n_tokens * budget.suffix_share)
    n_before = n_tokens - n_suffix
    anchor_byte = _anchor(snapshot, cursor_byte, n_before // 2, tokenizer)
    middle = part_of(snapshot, [Segment("middle", anchor_byte, cursor_byte, "the cursor's line up to it")], tokenizer)
    n_middle = len(middle.ids)
    above = Segment("prefix", 0, anchor_byte, "the whole file above the cursor's line")
    below = Segment("suffix", cursor_byte, len(snapshot.text.data), "the whole file below the cursor")

    suffix = _whole_if_it_fits(snapshot, below, n_suffix, 0, tokenizer)
    if suffix is not None:
        n_before = n_tokens - len(suffix.ids)
    prefix = _whole_if_it_fits(snapshot, above, n_before, n_middle, tokenizer)
    if prefix is not None and suffix is None:
        suffix = _whole_if_it_fits(snapshot, below, n_tokens - len(prefix.ids), n_middle, tokenizer)
    if prefix is None or suffix is None:
        scopes = snapshot.syntax.enclosing_scopes(cursor_byte) if snapshot.syntax is not None else ()
        place = _Place(snapshot, cursor_byte, anchor_byte, tokenizer, scopes, outline)
    if prefix is None:
        n_above = n_before - max(n_middle, int(n_before * MIDDLE_SHARE))
        prefix = _gone_on_with(place, starts, n_before - n_middle) or _nearest_above(place, n_above)
    if suffix is None:
        suffix = _nearest_below(place, n_suffix)
    return Window(snapshot, anchor_byte, cursor_byte, budget, prefix, middle, suffix, head)


def _anchor(snapshot: Snapshot, cursor_byte: int, max_tokens: int, tokenizer: Tokenizer) -> int:
    """The start of the cursor's line, or a place inside it where at most `max_tokens` tokens are left to the cursor."""
    text = snapshot.text
    line_start = text.line_starts[text.line_of(cursor_byte)]
    earliest = cursor_byte - fit_tail(tokenizer, text.data[line_start:cursor_byte], max_tokens)
    return line_start if earliest <= line_start else hop(text, earliest, cursor_byte, max_tokens)


def _whole_if_it_fits(
    snapshot: Snapshot, segment: Segment, n_tokens: int, n_taken: int, tokenizer: Tokenizer
) -> Part | None:
    """The segment if it takes at most `n_tokens - n_taken`. `n_tokens` is what typing does not change."""
    if segment.end_byte - segment.start_byte > n_tokens * MAX_BYTES_PER_TOKEN:
        return None
    text = segment_text(snapshot, segment)
    if fit_head(tokenizer, text, n_tokens) < len(text):
        return None
    part = part_of(snapshot, [segment], tokenizer)
    return part if len(part.ids) + n_taken <= n_tokens else None


@frozen
class _Place:
    """What the choice of either side looks at."""

    snapshot: Snapshot
    cursor_byte: int
    anchor_byte: int
    tokenizer: Tokenizer
    scopes: Sequence[Scope]
    """Those around the cursor, outermost first."""
    outline: Sequence[Scope]


def _gone_on_with(place: _Place, starts: Sequence[Segments], n_tokens: int) -> Part | None:
    """A prefix that begins as an earlier one did: what the two share need not be evaluated again.

    It must have enough lines before the cursor, and each header of the scopes around it.
    """
    text = place.snapshot.text
    needed = [lines_of(text, start, end)[0] for start, end, _ in headers(text, place.scopes)]
    for start in starts:
        pinned, edge = start[:-1], start[-1].start_byte
        if edge >= place.anchor_byte or place.anchor_byte - edge > n_tokens * 2 * N_BYTES_PER_TOKEN:
            continue
        if any(at < edge and all(at != segment.start_byte for segment in pinned) for at in needed):
            continue
        near = Segment("prefix", edge, place.anchor_byte, start[-1].why)
        part = part_of(place.snapshot, (*pinned, near), place.tokenizer)
        if n_tokens * MIN_PREFIX_SHARE <= len(part.ids) <= n_tokens:
            return part
    return None


def _nearest_above(place: _Place, n_tokens: int) -> Part:
    """Headers, imports and signatures, then the lines that end at the anchor.

    The left edge moves in hops: a prefix that begins elsewhere changes the first token, and then nothing in the KV
    cache is of use.
    """
    snapshot, anchor_byte = place.snapshot, place.anchor_byte
    text, max_kept = snapshot.text, int(n_tokens * KEPT_SHARE)

    def edge_of(n_room: int) -> int:
        earliest = anchor_byte - fit_tail(place.tokenizer, text.data[:anchor_byte], n_room)
        return left_edge(text, earliest, anchor_byte, n_tokens)

    wanted = pinned(snapshot, place.cursor_byte, place.scopes, place.outline)
    spans = spans_of(snapshot, wanted, edge_of(n_tokens - max_kept), max_kept, place.tokenizer)
    n_kept = sum(span.n_tokens for span in spans)

    def choose(n_room: int) -> Iterable[Segment]:
        near_start = edge_of(n_room - n_kept)
        for span in spans:
            if span.start_byte < near_start:
                yield Segment("prefix", span.start_byte, min(span.end_byte, near_start), span.why)
        yield Segment("prefix", near_start, anchor_byte, "lines before the cursor")

    return _fit(snapshot, n_tokens, place.tokenizer, choose)


def _nearest_below(place: _Place, n_tokens: int) -> Part:
    """The rest of the scope around the cursor, if that is enough, and signatures of what follows; or else lines."""
    snapshot, cursor_byte, text = place.snapshot, place.cursor_byte, place.snapshot.text
    ends = [(lines_of(text, scope.start_byte, scope.end_byte)[1], scope) for scope in reversed(place.scopes)]

    def choose(n_room: int) -> Iterable[Segment]:
        latest = cursor_byte + fit_head(place.tokenizer, text.data[cursor_byte:], n_room)
        lines_end = right_edge(text, cursor_byte, latest)
        least = cursor_byte + int((lines_end - cursor_byte) * MIN_SUFFIX_SHARE)
        end, scope = next(((end, scope) for end, scope in ends if least <= end < lines_end), (lines_end, None))
        why = "lines after the cursor" if scope is None else f"to the end of {scope.kind} {scope.name}".strip()
        yield Segment("suffix", cursor_byte, end, why)
        if scope is not None and end > cursor_byte:
            max_tokens = int(n_tokens * SIGNATURES_SHARE)
            for span in spans_of(snapshot, following(place.outline, end), len(text.data), max_tokens, place.tokenizer):
                yield Segment("suffix", span.start_byte, span.end_byte, span.why)

    return _fit(snapshot, n_tokens, place.tokenizer, choose)


def _fit(snapshot: Snapshot, n_tokens: int, tokenizer: Tokenizer, choose: Chooser) -> Part:
    """The largest choice that fits. Parts that fit one by one may take a few tokens more once they are joined."""
    n_room = n_tokens
    while n_room > 0:
        part = part_of(snapshot, choose(n_room), tokenizer)
        if len(part.ids) <= n_tokens:
            return part
        n_room -= len(part.ids) - n_tokens + 8
    return Part()
