"""The window: which text before and after the cursor the model sees, under a token budget, by syntax.

Whole lines only, except inside a line that takes most of the room. Where the file does not fit, the headers of the
scopes around the cursor and the imports come first, then the lines nearest to the cursor.

The text before the cursor is split at an anchor, the start of the cursor's line: what is above it is the prefix, what
is behind it is the known part of the middle, so that typing only appends to the prompt. How long a window serves is
decided in `anchor.py`; here it is given room to grow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from starcoder_lsp.context.edges import hop, left_edge, right_edge
from starcoder_lsp.context.kept import kept_spans
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.text import Text
from starcoder_lsp.engine.tokens import Tokenizer, fit_head, fit_tail

KEPT_SHARE = 0.35
"""Share of the tokens before the cursor that headers and imports may take from the nearest lines."""
MIDDLE_SHARE = 0.125
"""Share of the tokens before the cursor that is left for what will be written there, where text has to be cut."""

LEAST_PREFIX_SHARE = 0.4
"""Share of the lines that would fit before the cursor which are enough to begin where an earlier window began."""
LEAST_SUFFIX_SHARE = 0.125
"""Share of the text that would fit behind the cursor which is enough to end with the scope around it.

The suffix is evaluated anew at each new place. What follows the cursor's function says little about what is missing in
it, for the demonstrator less than nothing: `bench/RESULTS.md`, "The suffix".
"""


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
    """One part of the prompt: its segments in order, none of them empty, their text as sent, and its token ids."""

    segments: tuple[Segment, ...] = ()
    text: bytes = b""
    ids: tuple[int, ...] = ()


@frozen
class Window:
    """What the model sees of the cursor's file; `n_tokens` is at most `budget.n_tokens`.

    `prefix` ends at the anchor, `middle` goes from there to the cursor, `suffix` begins at the cursor.
    """

    snapshot: Snapshot
    anchor_byte: int
    cursor_byte: int
    budget: Budget
    prefix: Part
    middle: Part
    suffix: Part

    @property
    def n_tokens(self) -> int:
        """Tokens of all three parts."""
        return len(self.prefix.ids) + len(self.middle.ids) + len(self.suffix.ids)


def choose_window(
    snapshot: Snapshot, cursor_byte: int, budget: Budget, tokenizer: Tokenizer, edges: Sequence[int] = ()
) -> Window:
    """Choose what the model sees. The budget is counted on the ids that are sent.

    What the suffix leaves of its share goes to the text before the cursor. The suffix takes more than its share only
    where the whole file fits: it is evaluated anew at each new place, while places near each other share their prefix.
    `edges` are line starts at which the lines before the cursor would rather begin.
    """
    n_suffix = int(budget.n_tokens * budget.suffix_share)
    n_before = budget.n_tokens - n_suffix
    anchor_byte = _anchor(snapshot, cursor_byte, n_before // 2, tokenizer)
    middle = part_of(snapshot, [Segment("middle", anchor_byte, cursor_byte, "the cursor's line up to it")], tokenizer)
    n_middle = len(middle.ids)
    above = Segment("prefix", 0, anchor_byte, "the whole file above the cursor's line")
    below = Segment("suffix", cursor_byte, len(snapshot.text.data), "the whole file below the cursor")

    suffix = _whole_if_it_fits(snapshot, below, n_suffix, 0, tokenizer)
    if suffix is not None:
        n_before = budget.n_tokens - len(suffix.ids)
    prefix = _whole_if_it_fits(snapshot, above, n_before, n_middle, tokenizer)
    if prefix is None:
        prefix = _nearest_above(snapshot, anchor_byte, cursor_byte, (n_before, n_middle), tokenizer, edges)
    elif suffix is None:
        suffix = _whole_if_it_fits(snapshot, below, budget.n_tokens - len(prefix.ids), n_middle, tokenizer)
    if suffix is None:
        suffix = _nearest_below(snapshot, cursor_byte, n_suffix, tokenizer)
    return Window(snapshot, anchor_byte, cursor_byte, budget, prefix, middle, suffix)


def normalized(text: bytes) -> bytes:
    r"""`text` with `\n` line ends, as in the training data."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text


def segment_text(snapshot: Snapshot, segment: Segment) -> bytes:
    """A segment's text as the model gets it."""
    return normalized(snapshot.text.data[segment.start_byte : segment.end_byte])


def part_of(snapshot: Snapshot, segments: Iterable[Segment], tokenizer: Tokenizer) -> Part:
    """Join what is not empty of `segments`."""
    chosen = tuple(segment for segment in segments if segment.start_byte < segment.end_byte)
    text = b"".join(segment_text(snapshot, segment) for segment in chosen)
    return Part(chosen, text, tokenizer.encode(text))


def _anchor(snapshot: Snapshot, cursor_byte: int, n_most: int, tokenizer: Tokenizer) -> int:
    """The start of the cursor's line, or a place inside it where at most `n_most` tokens are left to the cursor."""
    text = snapshot.text
    line_start = text.line_starts[text.line_of(cursor_byte)]
    earliest = cursor_byte - fit_tail(tokenizer, text.data[line_start:cursor_byte], n_most)
    return line_start if earliest <= line_start else hop(text, earliest, cursor_byte, n_most)


def _whole_if_it_fits(
    snapshot: Snapshot, segment: Segment, n_tokens: int, n_taken: int, tokenizer: Tokenizer
) -> Part | None:
    """The segment if it takes at most `n_tokens - n_taken`. `n_tokens` is what typing does not change."""
    text = segment_text(snapshot, segment)
    if fit_head(tokenizer, text, n_tokens) < len(text):
        return None
    part = part_of(snapshot, [segment], tokenizer)
    return part if len(part.ids) + n_taken <= n_tokens else None


def _nearest_above(
    snapshot: Snapshot,
    anchor_byte: int,
    cursor_byte: int,
    room: tuple[int, int],
    tokenizer: Tokenizer,
    edges: Sequence[int],
) -> Part:
    """Headers and imports, then the lines that end at the anchor. `room`: tokens up to the cursor, those of the middle.

    The left edge moves in hops: a prefix that begins elsewhere changes the first token, and then nothing in the KV
    cache is of use.
    """
    n_before, n_middle = room
    text = snapshot.text
    spans = kept_spans(snapshot, cursor_byte, int(n_before * KEPT_SHARE), tokenizer)
    n_kept = sum(span.n_tokens for span in spans)

    def choose(n_room: int) -> Iterable[Segment]:
        earliest = anchor_byte - fit_tail(tokenizer, text.data[:anchor_byte], n_room - n_kept)
        latest = anchor_byte - int((anchor_byte - earliest) * LEAST_PREFIX_SHARE)
        known = (edge for edge in edges if earliest <= edge <= latest)
        near_start = next(known, None) or left_edge(text, earliest, anchor_byte, n_before)
        for span in spans:
            if span.start_byte < near_start:
                yield Segment("prefix", span.start_byte, min(span.end_byte, near_start), span.why)
        yield Segment("prefix", near_start, anchor_byte, "lines before the cursor")

    return _fit(snapshot, n_before - max(n_middle, int(n_before * MIDDLE_SHARE)), tokenizer, choose)


def _nearest_below(snapshot: Snapshot, cursor_byte: int, n_tokens: int, tokenizer: Tokenizer) -> Part:
    text = snapshot.text
    scopes = snapshot.syntax.enclosing_scopes(cursor_byte) if snapshot.syntax else ()

    def choose(n_room: int) -> Iterable[Segment]:
        latest = cursor_byte + fit_head(tokenizer, text.data[cursor_byte:], n_room)
        end = right_edge(text, cursor_byte, latest)
        least = cursor_byte + int((end - cursor_byte) * LEAST_SUFFIX_SHARE)
        scope = next((scope for scope in reversed(scopes) if least <= _line_end(text, scope.end_byte) < end), None)
        if scope is None:
            yield Segment("suffix", cursor_byte, end, "lines after the cursor")
        else:
            name = f"{scope.kind} {scope.name}".strip()
            yield Segment("suffix", cursor_byte, _line_end(text, scope.end_byte), f"to the end of {name}")

    return _fit(snapshot, n_tokens, tokenizer, choose)


def _line_end(text: Text, byte: int) -> int:
    """The end of the line that the text before `byte` ends in, its line ending included."""
    line = text.line_of(max(0, byte - 1))
    return text.line_starts[line + 1] if line + 1 < text.n_lines else len(text.data)


def _fit(snapshot: Snapshot, n_tokens: int, tokenizer: Tokenizer, choose: Chooser) -> Part:
    """The largest choice that fits. Parts that fit one by one may take a few tokens more once they are joined."""
    n_room = n_tokens
    while n_room > 0:
        part = part_of(snapshot, choose(n_room), tokenizer)
        if len(part.ids) <= n_tokens:
            return part
        n_room -= len(part.ids) - n_tokens + 8
    return Part()
