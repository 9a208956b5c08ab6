"""The window: which text before and after the cursor the model sees, under a token budget, by syntax.

Whole lines only, except inside a line that is longer than the budget. Where the file does not fit, the imports and
the headers of the scopes around the cursor come first, then the lines nearest to the cursor. The left edge moves in
hops: an edge that moved with each keystroke would change the first token, and the KV cache would hold nothing.

The text before the cursor is split at an anchor, the start of the cursor's line: what is above it is the prefix, what
is behind it is the known part of the middle, so that typing only appends to the prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from attrs import frozen

from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.tokens import Tokenizer, fit_head, fit_tail

KEPT_SHARE = 0.35
"""Share of the prefix's budget that imports and headers may take from the lines near the cursor."""
HOP_BYTES = 1024
"""The left edge is looked for at multiples of this: about 300 tokens, so a hop every 30 lines or so."""
SUFFIX_STEP_TOKENS = 128
"""What a short prefix leaves over goes to the suffix in steps of this, so that typing does not move its end."""


@frozen
class Budget:
    """Tokens for prefix and suffix together, and the suffix's share of them."""

    n_tokens: int
    suffix_share: float


@frozen
class Segment:
    """A part of the file that the model sees: `start_byte` to `end_byte`, as `"prefix"`, `"suffix"` or `"middle"`."""

    kind: str
    start_byte: int
    end_byte: int
    why: str


Chooser = Callable[[int], Iterable[Segment]]
"""Segments for one side of the cursor, given the room in tokens."""


@frozen
class Part:
    """One part of the prompt: its segments in order, and the token ids of their text."""

    segments: tuple[Segment, ...]
    ids: tuple[int, ...]


@frozen
class Window:
    """What the model sees of the cursor's file; `n_tokens` is at most `budget.n_tokens`.

    `prefix` ends at the anchor, `middle` goes from there to the cursor, `suffix` begins at the cursor.
    """

    snapshot: Snapshot
    cursor_byte: int
    budget: Budget
    prefix: Part
    middle: Part
    suffix: Part

    @property
    def n_tokens(self) -> int:
        """Tokens of all three parts."""
        return len(self.prefix.ids) + len(self.middle.ids) + len(self.suffix.ids)


def choose_window(snapshot: Snapshot, cursor_byte: int, budget: Budget, tokenizer: Tokenizer) -> Window:
    """Choose what the model sees. The budget is counted on the ids that are sent."""
    n_suffix = int(budget.n_tokens * budget.suffix_share)
    n_before = budget.n_tokens - n_suffix
    anchor_byte = _anchor(snapshot, cursor_byte, n_before // 2, tokenizer)
    middle = _part(snapshot, _middle_segments(anchor_byte, cursor_byte), tokenizer)
    n_prefix = n_before - len(middle.ids)
    prefix = _fit(snapshot, n_prefix, tokenizer, lambda room: _prefix_segments(snapshot, anchor_byte, room, tokenizer))
    n_left = n_prefix - len(prefix.ids)
    n_suffix += n_left - n_left % SUFFIX_STEP_TOKENS
    suffix = _fit(snapshot, n_suffix, tokenizer, lambda room: _suffix_segments(snapshot, cursor_byte, room, tokenizer))
    return Window(snapshot, cursor_byte, budget, prefix, middle, suffix)


def normalized(text: bytes) -> bytes:
    r"""`text` with `\n` line ends, as in the training data."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def segment_text(snapshot: Snapshot, segment: Segment) -> bytes:
    """A segment's text as the model gets it."""
    return normalized(snapshot.text.data[segment.start_byte : segment.end_byte])


def _fit(snapshot: Snapshot, n_tokens: int, tokenizer: Tokenizer, choose: Chooser) -> Part:
    """The largest choice that fits. Parts that fit one by one may take a few tokens more once they are joined."""
    room = n_tokens
    while room > 0:
        part = _part(snapshot, choose(room), tokenizer)
        if len(part.ids) <= n_tokens:
            return part
        room -= len(part.ids) - n_tokens + 8
    return Part((), ())


def _part(snapshot: Snapshot, segments: Iterable[Segment], tokenizer: Tokenizer) -> Part:
    chosen = tuple(segments)
    return Part(chosen, tokenizer.encode(b"".join(segment_text(snapshot, segment) for segment in chosen)))


def _anchor(snapshot: Snapshot, cursor_byte: int, n_most: int, tokenizer: Tokenizer) -> int:
    """The start of the cursor's line, or a place inside it where less than `n_most` tokens are left to the cursor."""
    text = snapshot.text
    line_start = text.line_starts[text.line_of(cursor_byte)]
    earliest = cursor_byte - fit_tail(tokenizer, text.data[line_start:cursor_byte], n_most)
    return line_start if earliest <= line_start else _hop(earliest, cursor_byte)


def _middle_segments(anchor_byte: int, cursor_byte: int) -> Iterator[Segment]:
    if anchor_byte < cursor_byte:
        yield Segment("middle", anchor_byte, cursor_byte, "the cursor's line before the cursor")


def _prefix_segments(snapshot: Snapshot, anchor_byte: int, room: int, tokenizer: Tokenizer) -> Iterator[Segment]:
    before = snapshot.text.data[:anchor_byte]
    if not before:
        return
    if fit_tail(tokenizer, before, room) == anchor_byte:
        yield Segment("prefix", 0, anchor_byte, "the whole file above the cursor's line")
        return
    kept, n_kept = [], 0
    for segment in _kept_segments(snapshot, anchor_byte):
        n = len(tokenizer.encode(segment_text(snapshot, segment)))
        if n_kept + n <= room * KEPT_SHARE:
            kept.append(segment)
            n_kept += n
    near_start = _left_edge(snapshot, anchor_byte - fit_tail(tokenizer, before, room - n_kept), anchor_byte)
    yield from sorted({s for s in kept if s.end_byte <= near_start}, key=lambda s: s.start_byte)
    yield Segment("prefix", near_start, anchor_byte, "lines before the cursor")


def _kept_segments(snapshot: Snapshot, cursor_byte: int) -> Iterable[Segment]:
    """Headers of the scopes around the cursor, innermost first, then imports: what is kept if the file is too long."""
    if snapshot.syntax is None:
        return ()
    scopes = snapshot.syntax.enclosing_scopes(cursor_byte)
    headers = (
        Segment(
            "prefix", *_whole_lines(snapshot, s.start_byte, s.header_end_byte), f"header of {s.kind} {s.name}".strip()
        )
        for s in reversed(scopes)
        if s.header_end_byte <= cursor_byte
    )
    imports = (
        Segment("prefix", *_whole_lines(snapshot, start, end), "import")
        for start, end in snapshot.syntax.imports()
        if end <= cursor_byte
    )
    return chain(headers, imports)


def _suffix_segments(snapshot: Snapshot, cursor_byte: int, room: int, tokenizer: Tokenizer) -> Iterator[Segment]:
    text = snapshot.text
    end = cursor_byte + fit_head(tokenizer, text.data[cursor_byte:], room)
    if end == len(text.data):
        yield Segment("suffix", cursor_byte, end, "the whole file below the cursor")
    elif end > cursor_byte:
        line_start = text.line_starts[text.line_of(end)]
        yield Segment("suffix", cursor_byte, line_start if line_start > cursor_byte else end, "lines after the cursor")


def _left_edge(snapshot: Snapshot, earliest: int, cursor_byte: int) -> int:
    """The first line start at or after a multiple of the hop that is at or after `earliest`."""
    edge = _hop(earliest, cursor_byte)
    text = snapshot.text
    line = text.line_of(edge)
    if text.line_starts[line] < edge:
        line += 1
    if line < text.n_lines and text.line_starts[line] <= cursor_byte:
        return text.line_starts[line]
    return edge  # inside a line that is longer than the budget


def _hop(earliest: int, cursor_byte: int) -> int:
    """The first multiple of the hop at or after `earliest`; the hop is at most a quarter of the way to the cursor."""
    hop = HOP_BYTES
    while hop > max(1, (cursor_byte - earliest) // 4):
        hop //= 2
    return -(-earliest // hop) * hop


def _whole_lines(snapshot: Snapshot, start_byte: int, end_byte: int) -> tuple[int, int]:
    """The span from the start of its first line to the start of the line behind its last one."""
    text = snapshot.text
    last = text.line_of(max(start_byte, end_byte - 1))
    end = text.line_starts[last + 1] if last + 1 < text.n_lines else len(text.data)
    return text.line_starts[text.line_of(start_byte)], end
