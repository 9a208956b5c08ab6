"""Move a cached window to a later text and extend it to the cursor, or find that a new window is needed.

The suffix is sticky: an editor that closes a bracket inserts a character after the cursor. The prefilled suffix is kept
while its first line differs in a few characters at its start; the suggestion is fitted to the real line.
"""

from __future__ import annotations

from attrs import evolve

from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.context.window import Segment, Segments, Window, normalized, part_of
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.tokens import Tokenizer

CLOSERS = b")]}>\"'`"
"""Brackets and quotes that an editor inserts after the cursor, and that the user types over."""
MAX_STICKY_BYTES = 4
"""Characters that the suffix's first line may have gained or lost: the closers of two brackets and two quotes.

With 0 bytes 51.2 prompt tokens are evaluated for each edit, with 4 of them 47.4: `bench/evaluated.py`.
"""


def extend_in_later_text(window: Window, snapshot: Snapshot, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """Return a window moved to a later text and extended to the cursor; `None` if a new one is needed."""
    change = TextChange.between(window.snapshot.text.data, snapshot.text.data)
    moved = move_window(window, snapshot, change)
    return extend(moved, cursor_byte, tokenizer) if moved is not None else None


def move_window(window: Window, snapshot: Snapshot, change: TextChange) -> Window | None:
    """Return a window moved to a later text; `None` if its text was edited elsewhere than at the cursor."""
    if window.snapshot is snapshot:
        return window
    last_byte = max(window.anchor_byte, window.cursor_byte, *(s.end_byte for s in window.suffix.segments[1:]))
    if last_byte <= change.start_byte:
        return evolve(window, snapshot=snapshot)
    anchor_byte = change.place(window.anchor_byte)
    moved = (change.segment(segment) for segment in window.prefix.segments)
    segments = tuple(segment for segment in moved if segment is not None)
    signatures = tuple(change.segment(segment) for segment in window.suffix.segments[1:])
    if anchor_byte is None or len(segments) < len(window.prefix.segments) or None in signatures:
        return None
    cursor_byte = max(anchor_byte, change.place(window.cursor_byte) or change.start_byte)
    return evolve(
        window,
        snapshot=snapshot,
        anchor_byte=anchor_byte,
        cursor_byte=cursor_byte,
        prefix=evolve(window.prefix, segments=segments),
        suffix=evolve(
            window.suffix,
            segments=(*_first_suffix_segment(window, cursor_byte, snapshot), *filter(None, signatures)),
        ),
    )


def extend(window: Window, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """Return a window extended to another cursor in the same text; `None` if a new one is needed."""
    data = window.snapshot.text.data
    if cursor_byte < window.anchor_byte or not _still_fits(window.text_after_cursor, data, cursor_byte):
        return None
    middle = Segment("middle", window.anchor_byte, cursor_byte, "text typed since the prefix was evaluated")
    extended = evolve(
        window,
        cursor_byte=cursor_byte,
        middle=part_of(window.snapshot, [middle], tokenizer),
        suffix=evolve(
            window.suffix,
            segments=(
                *_first_suffix_segment(window, cursor_byte, window.snapshot),
                *window.suffix.segments[1:],
            ),
        ),
    )
    return extended if extended.n_tokens <= extended.max_tokens else None


def _still_fits(prefilled: bytes, data: bytes, cursor_byte: int) -> bool:
    """Return whether the prefilled suffix equals the text after the cursor, except for closers at its start."""
    line, newline, rest = prefilled.partition(b"\n")
    text = normalized(data[cursor_byte : cursor_byte + 2 * len(prefilled) + MAX_STICKY_BYTES + 1])
    line_now, newline_now, rest_now = text.partition(b"\n")
    if newline != newline_now or not rest_now.startswith(rest):
        return False
    if not line_now.strip():  # nothing is left after the cursor, so the model may see nothing there
        return line == line_now
    shorter, longer = sorted((line, line_now), key=len)
    extra = longer[: len(longer) - len(shorter)]
    return longer.endswith(shorter) and len(extra) <= MAX_STICKY_BYTES and not extra.strip(CLOSERS)


def _first_suffix_segment(window: Window, cursor_byte: int, snapshot: Snapshot) -> Segments:
    """Return the suffix's first segment moved to the cursor, or nothing. Its end may be off by the sticky bytes."""
    return tuple(
        evolve(
            segment,
            start_byte=cursor_byte,
            end_byte=min(len(snapshot.text.data), segment.end_byte + cursor_byte - segment.start_byte),
        )
        for segment in window.suffix.segments[:1]
    )
