"""The anchor policy: when the window of an earlier request serves the next one, so that typing only appends to it.

An anchor is a line start. The text above it (the prefix) and the text behind the cursor (the suffix) stay as they were
evaluated; what was written since stands behind them as the known part of the middle. That is the layout the model was
trained on. The window is chosen anew when the text of its prefix or suffix really changes, when the cursor goes
elsewhere, or when the middle has outgrown the room that was left for it.

The suffix is sticky: an editor that closes a bracket puts a character behind the cursor. The evaluated suffix is kept
while its first line only has gained or lost a few characters at its start; what is shown is made to fit the real line.

Edits elsewhere move windows along. A new window begins, where that gives it enough to see, as an earlier one began:
then the cells of what they share above the cursor serve both.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen

from starcoder_lsp.context.new_window import new_window
from starcoder_lsp.context.text_change import TextChange
from starcoder_lsp.context.window import (
    Budget,
    CrossFileContext,
    Segment,
    Segments,
    Window,
    normalized,
    part_of,
)
from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.engine.tokens import Tokenizer

N_ANCHORS = 16
"""Windows that are remembered for each document: people return to where they were."""
N_DOCUMENTS = 16
"""Documents whose windows are remembered; each remembers a text and its tree."""
MAX_STICKY_BYTES = 4
"""Characters that the suffix's first line may have gained or lost: the closers of two brackets and two quotes."""

HeadChooser = Callable[[int], CrossFileContext | None]
"""What is to be shown of other files in so many tokens."""


def no_head(_n_tokens: int) -> None:
    """Nothing of other files."""


@frozen
class Places:
    """What is remembered of one document: its outline, and newest first its windows and how windows began.

    The outline is that of an earlier text, moved along: what was edited is not on it until it is made anew, which is
    done when nobody waits.
    """

    snapshot: Snapshot
    windows: tuple[Window, ...] = ()
    starts: tuple[Segments, ...] = ()
    outline: tuple[Scope, ...] = ()
    head: CrossFileContext | None = None
    n_head_tokens: int = 0
    """The room for which `head` was chosen; 0 before that."""

    @classmethod
    def of(cls, snapshot: Snapshot) -> Places:
        """What is known of a document that is seen for the first time."""
        return cls(snapshot, outline=_outline(snapshot))

    def carried_to(self, snapshot: Snapshot) -> Places:
        """The same in a later text; a window whose prefix was touched is left behind."""
        if snapshot.text is self.snapshot.text:
            return self
        move = TextChange.between(self.snapshot.text.data, snapshot.text.data)
        windows = (carried(window, snapshot, move) for window in self.windows)
        return evolve(
            self,
            snapshot=snapshot,
            windows=tuple(window for window in windows if window is not None),
            starts=tuple(start for start in map(move.start, self.starts) if start),
            outline=tuple(scope for scope in map(move.scope, self.outline) if scope is not None),
        )

    def with_head(self, head: CrossFileContext | None, n_tokens: int) -> Places:
        """With what is to be seen of other files. It stands before everything, so nothing begins as it did before."""
        if head == self.head:
            return evolve(self, n_head_tokens=n_tokens)
        return evolve(self, head=head, n_head_tokens=n_tokens, windows=(), starts=())

    def with_window(self, window: Window) -> Places:
        """A window whose prompt is sent comes first; it replaces the one that it grew from."""
        place = window.anchor_byte, window.suffix.text
        others = (other for other in self.windows if (other.anchor_byte, other.suffix.text) != place)
        start, starts = window.prefix.segments, self.starts
        if start:
            starts = (start, *(other for other in starts if _beginning(other) != _beginning(start)))
        return evolve(self, snapshot=window.snapshot, windows=(window, *others)[:N_ANCHORS], starts=starts[:N_ANCHORS])


class Anchors:
    """Where the last requests were, by document. Used on the background thread only."""

    def __init__(self) -> None:
        self._places: dict[str, Places] = {}

    def copy(self) -> Anchors:
        """The same windows, which go ways of their own from here on: for a text that nobody wrote yet."""
        copied = Anchors()
        copied._places.update(self._places)
        return copied

    def window(
        self,
        snapshot: Snapshot,
        cursor_byte: int,
        whole: Budget,
        cold: Budget,
        tokenizer: Tokenizer,
        choose_head: HeadChooser = no_head,
    ) -> Window:
        """The window for a request: one that is remembered, grown to the cursor, or else a new one.

        A remembered one may have any size up to `whole`; a new one has the budget `cold`, which is what can be
        evaluated while somebody waits. Other files are looked at once for a document. Afterwards their cells are there,
        and do not count as cold.
        """
        newest = self._newest(snapshot.uri)
        if newest is not None and _is_within(newest.budget, whole):
            grown = followed(newest, snapshot, cursor_byte, tokenizer)
            if grown is not None:
                return grown
        places = self._carry(snapshot)
        for window in places.windows:
            grown = grow(window, cursor_byte, tokenizer) if _is_within(window.budget, whole) else None
            if grown is not None:
                return grown
        head = places.head
        if places.n_head_tokens:
            cold = evolve(cold, n_room=whole.n_room)
        elif cold.n_head_tokens:
            head = choose_head(cold.n_head_tokens)
        return new_window(snapshot, cursor_byte, cold, tokenizer, places.starts, places.outline, head)

    def whole_window(
        self,
        snapshot: Snapshot,
        cursor_byte: int,
        whole: Budget,
        tokenizer: Tokenizer,
        choose_head: HeadChooser = no_head,
        *,
        renew: bool = False,
    ) -> Window:
        """The window of the whole budget at a place, remembered or new. For when nobody waits.

        Other files are looked at again with `renew`, or if there is more room for them than there was. What is found
        counts for requests once the window is remembered.
        """
        places = self._carry(snapshot)
        head = places.head
        if renew or whole.n_head_tokens > places.n_head_tokens:
            head = choose_head(whole.n_head_tokens)
        for window in places.windows:
            grown = grow(window, cursor_byte, tokenizer) if (window.budget, window.head) == (whole, head) else None
            if grown is not None:
                return grown
        places = self._keep(evolve(places, outline=_outline(snapshot)))  # some 10 ms in a long file
        starts = places.starts if head == places.head else ()
        return new_window(snapshot, cursor_byte, whole, tokenizer, starts, places.outline, head)

    def remember(self, window: Window) -> None:
        """Keep a window whose prompt is sent."""
        uri, newest = window.snapshot.uri, self._newest(window.snapshot.uri)
        if newest is not None and newest.prefix.ids is window.prefix.ids and newest.suffix.ids is window.suffix.ids:
            places = self._places[uri]
            self._keep(evolve(places, windows=(window, *places.windows[1:])))
            return
        places = self._carry(window.snapshot)
        if window.head != places.head or window.budget.n_head_tokens > places.n_head_tokens:
            places = places.with_head(window.head, window.budget.n_head_tokens)
        self._keep(places.with_window(window))

    def _newest(self, uri: str) -> Window | None:
        places = self._places.get(uri)
        return places.windows[0] if places is not None and places.windows else None

    def _carry(self, snapshot: Snapshot) -> Places:
        """Move all that is remembered along to this text, by way of the one of the last request.

        Not at every keystroke: the edits between two jumps are in one place, so one move tells of them all.
        """
        places = self._places.get(snapshot.uri)
        if places is None:
            places = Places.of(snapshot)
        elif places.windows:
            places = places.carried_to(places.windows[0].snapshot)
        return self._keep(places.carried_to(snapshot))

    def _keep(self, places: Places) -> Places:
        """Remember the places of a document as the newest; the oldest document's are let go."""
        self._places.pop(places.snapshot.uri, None)
        self._places[places.snapshot.uri] = places
        if len(self._places) > N_DOCUMENTS:
            del self._places[next(iter(self._places))]
        return places


def _outline(snapshot: Snapshot) -> tuple[Scope, ...]:
    return snapshot.syntax.definitions() if snapshot.syntax is not None else ()


def _beginning(start: Segments) -> tuple[int, ...]:
    return (*(segment.start_byte for segment in start[:-1]), start[-1].start_byte)


def _is_within(given: Budget, whole: Budget) -> bool:
    """Whether a window that was made under the budget `given` is no larger than one may be now."""
    return given.suffix_share == whole.suffix_share and given.n_tokens <= whole.n_tokens


def followed(window: Window, snapshot: Snapshot, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """A window grown to a cursor in a later text; `None` where it does not serve."""
    move = TextChange.between(window.snapshot.text.data, snapshot.text.data)
    now = carried(window, snapshot, move)
    return grow(now, cursor_byte, tokenizer) if now is not None else None


def carried(window: Window, snapshot: Snapshot, move: TextChange) -> Window | None:
    """A window in a later text; `None` if text of it was touched that is not at the cursor."""
    if window.snapshot is snapshot:
        return window
    last_byte = max(window.anchor_byte, window.cursor_byte, *(s.end_byte for s in window.suffix.segments[1:]))
    if last_byte <= move.start_byte:
        return evolve(window, snapshot=snapshot)
    anchor_byte = move.place(window.anchor_byte)
    moved = (move.segment(segment) for segment in window.prefix.segments)
    segments = tuple(segment for segment in moved if segment is not None)
    further = tuple(move.segment(segment) for segment in window.suffix.segments[1:])
    if anchor_byte is None or len(segments) < len(window.prefix.segments) or None in further:
        return None
    cursor_byte = max(anchor_byte, move.place(window.cursor_byte) or move.start_byte)
    return evolve(
        window,
        snapshot=snapshot,
        anchor_byte=anchor_byte,
        cursor_byte=cursor_byte,
        prefix=evolve(window.prefix, segments=segments),
        suffix=evolve(window.suffix, segments=(*_behind(window, cursor_byte, snapshot), *filter(None, further))),
    )


def grow(window: Window, cursor_byte: int, tokenizer: Tokenizer) -> Window | None:
    """The window of an earlier request, grown to this cursor in its text; `None` where a new one must be chosen."""
    data = window.snapshot.text.data
    if cursor_byte < window.anchor_byte or not _still_fits(window.behind, data, cursor_byte):
        return None
    middle = Segment("middle", window.anchor_byte, cursor_byte, "what was written since the text above was evaluated")
    grown = evolve(
        window,
        cursor_byte=cursor_byte,
        middle=part_of(window.snapshot, [middle], tokenizer),
        suffix=evolve(
            window.suffix,
            segments=(*_behind(window, cursor_byte, window.snapshot), *window.suffix.segments[1:]),
        ),
    )
    return grown if grown.n_tokens <= grown.max_tokens else None


def _still_fits(evaluated: bytes, data: bytes, cursor_byte: int) -> bool:
    """Whether the evaluated suffix is what stands behind the cursor, but for a few characters of the first line."""
    line, newline, rest = evaluated.partition(b"\n")
    text = normalized(data[cursor_byte : cursor_byte + 2 * len(evaluated) + MAX_STICKY_BYTES + 1])
    line_now, newline_now, rest_now = text.partition(b"\n")
    if newline != newline_now or not rest_now.startswith(rest):
        return False
    shorter, longer = sorted((line, line_now), key=len)
    return longer.endswith(shorter) and len(longer) - len(shorter) <= MAX_STICKY_BYTES


def _behind(window: Window, cursor_byte: int, snapshot: Snapshot) -> Segments:
    """The suffix's first segment where its text is now, to within the first line's few characters."""
    return tuple(
        evolve(
            segment,
            start_byte=cursor_byte,
            end_byte=min(len(snapshot.text.data), segment.end_byte + cursor_byte - segment.start_byte),
        )
        for segment in window.suffix.segments[:1]
    )
