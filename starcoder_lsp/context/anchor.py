"""The anchor policy: when the window of the last request serves the next one, so that typing only appends to a prompt.

An anchor is a line start. The text above it (the prefix) and the text behind the cursor (the suffix) stay as they were
evaluated; what was written since stands behind them as the known part of the middle. That is the layout the model was
trained on. The window is chosen anew when the text above the anchor or behind the cursor really changes, or when the
middle has outgrown the room that was left for it.

The suffix is sticky: an editor that closes a bracket puts a character behind the cursor. The evaluated suffix is kept
while its first line only has gained or lost a few characters at its start; what is shown is made to fit the real line.
"""

from __future__ import annotations

from attrs import evolve

from starcoder_lsp.context.window import Budget, Segment, Window, choose_window, normalized, part_of
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.engine.tokens import Tokenizer

N_ANCHORS = 4
"""Windows that are remembered for each document: people return to where they were."""
N_DOCUMENTS = 16
"""Documents whose windows are remembered; each window holds a text and its tree."""
MAX_STICKY_BYTES = 4
"""Characters that the suffix's first line may have gained or lost: the closers of two brackets and two quotes."""


def follow(previous: Window, snapshot: Snapshot, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """The window of an earlier request, grown to this cursor; `None` where a new one must be chosen."""
    anchor_byte = previous.anchor_byte
    data, before = snapshot.text.data, previous.snapshot.text.data
    if previous.snapshot.uri != snapshot.uri or cursor_byte < anchor_byte:
        return None
    if data[:anchor_byte] != before[:anchor_byte] or not _still_fits(previous.suffix.text, data[cursor_byte:]):
        return None
    middle = Segment("middle", anchor_byte, cursor_byte, "what was written since the text above was evaluated")
    grown = evolve(
        previous,
        snapshot=snapshot,
        cursor_byte=cursor_byte,
        middle=part_of(snapshot, [middle] if anchor_byte < cursor_byte else [], tokenizer),
        suffix=evolve(previous.suffix, segments=_moved(previous, cursor_byte, len(data))),
    )
    return grown if grown.n_tokens <= grown.budget.n_tokens else None


def _still_fits(evaluated: bytes, behind: bytes) -> bool:
    """Whether the evaluated suffix is what stands behind the cursor, but for a few characters of the first line."""
    line, newline, rest = evaluated.partition(b"\n")
    text = normalized(behind[: 2 * len(evaluated) + MAX_STICKY_BYTES + 1])
    line_now, newline_now, rest_now = text.partition(b"\n")
    if newline != newline_now or not rest_now.startswith(rest):
        return False
    shorter, longer = sorted((line, line_now), key=len)
    return longer.endswith(shorter) and len(longer) - len(shorter) <= MAX_STICKY_BYTES


def _moved(previous: Window, cursor_byte: int, n_bytes: int) -> tuple[Segment, ...]:
    """The suffix's segments where the text that they name is now, to within the first line's few characters."""
    shift = cursor_byte - previous.cursor_byte
    return tuple(
        evolve(
            segment,
            start_byte=cursor_byte if segment.start_byte == previous.cursor_byte else segment.start_byte + shift,
            end_byte=min(n_bytes, segment.end_byte + shift),
        )
        for segment in previous.suffix.segments
    )


class Anchors:
    """The windows of the last requests, newest first, by document. Used on the model thread only."""

    def __init__(self) -> None:
        self._windows: dict[str, tuple[Window, ...]] = {}

    def window(self, snapshot: Snapshot, cursor_byte: int, budget: Budget, tokenizer: Tokenizer) -> Window:
        """The window for a request: one that is remembered, grown to the cursor, or else a new one."""
        for window in self._windows.get(snapshot.uri, ()):
            grown = follow(window, snapshot, cursor_byte, tokenizer) if window.budget == budget else None
            if grown is not None:
                return grown
        return choose_window(snapshot, cursor_byte, budget, tokenizer)

    def remember(self, window: Window) -> None:
        """Keep a window whose prompt is sent; it replaces the one that it grew from."""
        uri = window.snapshot.uri
        others = [
            other
            for other in self._windows.pop(uri, ())
            if (other.anchor_byte, other.suffix.text) != (window.anchor_byte, window.suffix.text)
        ]
        self._windows[uri] = (window, *others)[:N_ANCHORS]
        if len(self._windows) > N_DOCUMENTS:
            del self._windows[next(iter(self._windows))]
