"""The anchor policy: when the window of an earlier request serves the next one, so that typing only appends to it.

An anchor is a line start. The text above it (the prefix) and the text behind the cursor (the suffix) stay as they were
evaluated; what was written since stands behind them as the known part of the middle. That is the layout the model was
trained on. The window is chosen anew when the text of its prefix or suffix really changes, when the cursor goes
elsewhere, or when the middle has outgrown the room that was left for it.

The suffix is sticky: an editor that closes a bracket puts a character behind the cursor. The evaluated suffix is kept
while its first line only has gained or lost a few characters at its start; what is shown is made to fit the real line.

Edits elsewhere move windows along. A new window begins, where that gives it enough to see, at the line where an earlier
one began: then the cells of what they share above the cursor serve both.
"""

from __future__ import annotations

from attrs import evolve, frozen

from starcoder_lsp.context.window import Budget, Segment, Window, choose_window, normalized, part_of
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.text import splice_between
from starcoder_lsp.engine.tokens import Tokenizer

N_ANCHORS = 16
"""Windows that are remembered for each document: people return to where they were."""
N_DOCUMENTS = 16
"""Documents whose windows are remembered; each remembers a text and its tree."""
MAX_STICKY_BYTES = 4
"""Characters that the suffix's first line may have gained or lost: the closers of two brackets and two quotes."""


@frozen
class Move:
    """Where the places of an earlier text are in a later one: one stretch was replaced, what is behind it has moved."""

    start_byte: int
    end_byte: int
    shift: int

    @classmethod
    def between(cls, before: bytes, now: bytes) -> Move:
        """The smallest move that explains a text by an earlier one."""
        start_byte, end_byte, _ = splice_between(before, now)
        return cls(start_byte, end_byte, len(now) - len(before))

    def place(self, byte: int) -> int | None:
        """Where `byte` is now; `None` inside what was replaced."""
        if byte <= self.start_byte:
            return byte
        return byte + self.shift if byte >= self.end_byte else None

    def segment(self, segment: Segment) -> Segment | None:
        """The segment with the same text now; `None` if its text was touched."""
        if segment.end_byte <= self.start_byte:
            return segment
        if segment.start_byte < self.end_byte:
            return None
        return evolve(segment, start_byte=segment.start_byte + self.shift, end_byte=segment.end_byte + self.shift)


@frozen
class Places:
    """What is remembered of one document, newest first: windows, and the line starts at which windows began."""

    snapshot: Snapshot
    windows: tuple[Window, ...] = ()
    edges: tuple[int, ...] = ()

    def carried_to(self, snapshot: Snapshot) -> Places:
        """The same in a later text; a window whose prefix was touched is left behind."""
        if snapshot.text is self.snapshot.text:
            return self
        move = Move.between(self.snapshot.text.data, snapshot.text.data)
        windows = (carried(window, snapshot, move) for window in self.windows)
        edges = (move.place(edge) for edge in self.edges)
        return Places(snapshot, tuple(w for w in windows if w is not None), tuple(e for e in edges if e is not None))

    def with_window(self, window: Window) -> Places:
        """A window whose prompt is sent comes first; it replaces the one that it grew from."""
        place = window.anchor_byte, window.suffix.text
        others = (other for other in self.windows if (other.anchor_byte, other.suffix.text) != place)
        edge = window.prefix.segments[-1].start_byte if window.prefix.segments else 0
        edges = (edge, *(other for other in self.edges if other != edge))
        return Places(window.snapshot, (window, *others)[:N_ANCHORS], edges[:N_ANCHORS])


class Anchors:
    """Where the last requests were, by document. Used on the model thread only."""

    def __init__(self) -> None:
        self._places: dict[str, Places] = {}

    def window(
        self, snapshot: Snapshot, cursor_byte: int, budget: Budget, tokenizer: Tokenizer, cold: Budget | None = None
    ) -> Window:
        """The window for a request: one that is remembered, grown to the cursor, or else a new one.

        A new one has the budget `cold`, if that is given: what can be evaluated while somebody waits. Then a
        remembered one of any size serves; without it, one of the whole `budget` only.
        """
        places = self._places_of(snapshot)
        for window in places.windows:
            grown = grow(window, cursor_byte, tokenizer) if _serves(window.budget, budget, cold) else None
            if grown is not None:
                return grown
        return choose_window(snapshot, cursor_byte, cold or budget, tokenizer, places.edges)

    def remember(self, window: Window) -> None:
        """Keep a window whose prompt is sent."""
        uri = window.snapshot.uri
        places = self._places_of(window.snapshot)
        self._places.pop(uri, None)
        self._places[uri] = places.with_window(window)
        if len(self._places) > N_DOCUMENTS:
            del self._places[next(iter(self._places))]

    def _places_of(self, snapshot: Snapshot) -> Places:
        places = self._places.get(snapshot.uri, Places(snapshot)).carried_to(snapshot)
        if snapshot.uri in self._places:
            self._places[snapshot.uri] = places
        return places


def _serves(given: Budget, wanted: Budget, cold: Budget | None) -> bool:
    """Whether a window that was made under the budget `given` is neither too large nor too small."""
    if cold is None:
        return given == wanted
    return given.suffix_share == wanted.suffix_share and given.n_tokens <= wanted.n_tokens


def carried(window: Window, snapshot: Snapshot, move: Move) -> Window | None:
    """A window in a later text; `None` if the text of its prefix was touched, or the place of its anchor."""
    if max(window.anchor_byte, window.cursor_byte) <= move.start_byte:  # as of every keystroke's own window
        return evolve(window, snapshot=snapshot)
    anchor_byte = move.place(window.anchor_byte)
    moved = (move.segment(segment) for segment in window.prefix.segments)
    segments = tuple(segment for segment in moved if segment is not None)
    if anchor_byte is None or len(segments) < len(window.prefix.segments):
        return None
    cursor_byte = max(anchor_byte, move.place(window.cursor_byte) or move.start_byte)
    return evolve(
        window,
        snapshot=snapshot,
        anchor_byte=anchor_byte,
        cursor_byte=cursor_byte,
        prefix=evolve(window.prefix, segments=segments),
        suffix=evolve(window.suffix, segments=_shifted(window, cursor_byte)),
    )


def grow(window: Window, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """The window of an earlier request, grown to this cursor in its text; `None` where a new one must be chosen."""
    data = window.snapshot.text.data
    if cursor_byte < window.anchor_byte or not _still_fits(window.suffix.text, data, cursor_byte):
        return None
    middle = Segment("middle", window.anchor_byte, cursor_byte, "what was written since the text above was evaluated")
    grown = evolve(
        window,
        cursor_byte=cursor_byte,
        middle=part_of(window.snapshot, [middle], tokenizer),
        suffix=evolve(window.suffix, segments=_shifted(window, cursor_byte)),
    )
    return grown if grown.n_tokens <= grown.budget.n_tokens else None


def _still_fits(evaluated: bytes, data: bytes, cursor_byte: int) -> bool:
    """Whether the evaluated suffix is what stands behind the cursor, but for a few characters of the first line."""
    line, newline, rest = evaluated.partition(b"\n")
    text = normalized(data[cursor_byte : cursor_byte + 2 * len(evaluated) + MAX_STICKY_BYTES + 1])
    line_now, newline_now, rest_now = text.partition(b"\n")
    if newline != newline_now or not rest_now.startswith(rest):
        return False
    shorter, longer = sorted((line, line_now), key=len)
    return longer.endswith(shorter) and len(longer) - len(shorter) <= MAX_STICKY_BYTES


def _shifted(window: Window, cursor_byte: int) -> tuple[Segment, ...]:
    """The suffix's segments where the text that they name is now, to within the first line's few characters."""
    shift, n_bytes = cursor_byte - window.cursor_byte, len(window.snapshot.text.data)
    return tuple(
        evolve(
            segment,
            start_byte=cursor_byte if segment.start_byte == window.cursor_byte else segment.start_byte + shift,
            end_byte=min(n_bytes, segment.end_byte + shift),
        )
        for segment in window.suffix.segments
    )
