"""Follow accepted text through the edits of its document, by a range that moves along, without a search.

The range holds pieces, each a run of accepted bytes that remains. An edit moves, shortens or splits pieces. Deleted
text counts again if it is certainly the same: if an undo inserts it, if the same text fills its gap, or if the whole
range was cut and is pasted elsewhere, as when lines are moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, evolve, field, frozen

MIN_MOVED_BYTES = 4
"""A shorter text that was cut is not recognized where it is pasted: it may be equal by chance. Not measured."""
MAX_UNDONE = 32
"""The most deletions in one text that an undo can bring back, the newest ones. Not measured."""
MAX_COMPARED_CHARS = 4000
"""Longer accepted texts have no edit distance. Not measured."""


@frozen
class Splice:
    """One edit of a document: `inserted` in place of the bytes from `start_byte` to `end_byte`."""

    start_byte: int
    end_byte: int
    inserted: bytes

    @property
    def shift(self) -> int:
        """The bytes by which the text behind it moves."""
        return len(self.inserted) - (self.end_byte - self.start_byte)


@frozen
class Piece:
    """`n_bytes` of the accepted text from `offset_byte` on, which are `at_byte` behind the range's start."""

    at_byte: int
    offset_byte: int
    n_bytes: int


@frozen
class _State:
    """Pieces and length of a range, and the distance of its start from an edit."""

    pieces: tuple[Piece, ...]
    n_bytes: int
    behind_edit_byte: int


@frozen
class _Done:
    """An edit that deleted text. Its undo leads from the state `after` back to `before`."""

    deleted: bytes
    n_inserted: int
    before: _State
    after: _State


@frozen
class Remains:
    """The remaining `share` of an accepted text's characters, and its edit distance divided by their number.

    The distance is that to the text between the range's ends now. It is at most 1, and `None` for a very long text.
    """

    share: float
    distance: float | None


@define(eq=False)
class TrackedText:
    """An accepted text in a document. Typing inside its range widens it; typing at its ends does not."""

    text: bytes
    start_byte: int
    end_byte: int = field(init=False)
    is_known: bool = field(default=True, init=False)
    """False once a replacement of the whole document covered the range, so that the text's place is unknown."""
    _pieces: list[Piece] = field(init=False)
    _now: bytes = field(init=False)
    """The range's text after the last change."""
    _cut: tuple[bytes, list[Piece]] | None = field(default=None, init=False)
    """Text and pieces of the range when it was deleted whole."""
    _done: list[_Done] = field(factory=list, init=False)
    _n_missing: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with one piece, the whole text."""
        self.end_byte = self.start_byte + len(self.text)
        self._pieces = [Piece(0, 0, len(self.text))]
        self._now = self.text

    @property
    def is_gone(self) -> bool:
        """Return whether nothing of the text remains."""
        return not self._pieces

    @property
    def reach(self) -> tuple[int, int]:
        """Return the bytes of the document between which an edit may change the text: its range and its gaps."""
        return self.start_byte - self._n_missing, self.end_byte + self._n_missing

    def move(self, shift: int) -> None:
        """Move along with edits before its reach."""
        self.start_byte += shift
        self.end_byte += shift

    def apply(self, splices: Sequence[Splice], before: bytes, data: bytes, *, is_whole: bool = False) -> None:
        """Follow the edits of one change, in order. `before` is the document before them, `data` the one after them.

        `is_whole` says that the client sent the whole document, so that a splice is only the difference.
        """
        if len(splices) == 1 and self._is_far(splices[0]):
            return
        is_touched = is_near = is_undone = False
        old = self._state(splices[0].start_byte)
        n_missing = self._n_missing
        for splice in splices:
            if splice.start_byte > self.end_byte:
                is_near = is_near or splice.start_byte <= self.end_byte + n_missing
            elif splice.end_byte < self.start_byte:
                is_near = is_near or splice.end_byte >= self.start_byte - n_missing
                self.start_byte += splice.shift
                self.end_byte += splice.shift
            elif self._undo(splice):
                is_touched = is_undone = True
            else:
                self._splice(splice, is_plain=not is_touched, is_whole=is_whole)
                is_touched = True
        if is_touched or is_near or not self._pieces:
            self._mend(splices, data)
            self._now = data[self.start_byte : self.end_byte]
            self._n_missing = len(self.text) - sum(piece.n_bytes for piece in self._pieces)
        if is_touched and not is_undone and len(splices) == 1:
            self._remember(splices[0], before, old)

    def _is_far(self, splice: Splice) -> bool:
        """Return whether an edit is too far away to matter, and move along with it. Most edits are."""
        if not self._pieces and len(splice.inserted) >= MIN_MOVED_BYTES:
            return False
        low, high = self.reach
        if splice.start_byte > high:
            return True
        if splice.end_byte < low:
            self.move(splice.shift)
            return True
        return False

    def _remember(self, splice: Splice, before: bytes, old: _State) -> None:
        """Remember an edit that deleted something, for its undo."""
        deleted = before[splice.start_byte : splice.end_byte]
        if deleted:
            done = _Done(deleted, len(splice.inserted), old, self._state(splice.start_byte))
            self._done = [*self._done[-MAX_UNDONE + 1 :], done]

    def _state(self, at_byte: int) -> _State:
        return _State(tuple(self._pieces), self.end_byte - self.start_byte, self.start_byte - at_byte)

    def _undo(self, splice: Splice) -> bool:
        """If an edit undoes an earlier one and nothing has changed since, restore that state and return true."""
        at, n_deleted = splice.start_byte, splice.end_byte - splice.start_byte
        now = self._state(at)
        for number in range(len(self._done) - 1, -1, -1):
            done = self._done[number]
            if done.deleted == splice.inserted and done.n_inserted == n_deleted and done.after == now:
                del self._done[number:]
                self._pieces = list(done.before.pieces)
                self.start_byte = at + done.before.behind_edit_byte
                self.end_byte = self.start_byte + done.before.n_bytes
                return True
        return False

    def _splice(self, splice: Splice, *, is_plain: bool, is_whole: bool) -> None:
        start, end, n_new = splice.start_byte, splice.end_byte, len(splice.inserted)
        if start <= self.start_byte < self.end_byte <= end and self._pieces:
            self.is_known = self.is_known and not (is_whole and n_new)
            self._cut = (self._now, self._pieces) if is_plain else None
        pieces = []
        for piece in self._pieces:
            at = self.start_byte + piece.at_byte
            n_left = min(piece.n_bytes, max(0, start - at))
            n_right = min(piece.n_bytes, max(0, at + piece.n_bytes - end))
            if start == end and 0 < n_left < piece.n_bytes:  # typed inside: nothing of it is gone
                n_right = piece.n_bytes - n_left
            if n_left:
                pieces.append((at, piece.offset_byte, n_left))
            if n_right and n_left < piece.n_bytes:
                skipped = piece.n_bytes - n_right
                pieces.append((at + skipped + splice.shift, piece.offset_byte + skipped, n_right))
        old_start, old_end = self.start_byte, self.end_byte
        if old_start == old_end:
            self.start_byte = self.end_byte = min(old_start, start)
        else:
            self.start_byte = _moved_start(old_start, splice)
            self.end_byte = max(self.start_byte, _moved_end(old_end, splice))
        if start < old_start <= old_end <= end or start <= old_start <= old_end < end:
            self.start_byte = self.end_byte = start
        self._pieces = _joined(Piece(at - self.start_byte, offset, n) for at, offset, n in pieces)

    def _mend(self, splices: Sequence[Splice], data: bytes) -> None:
        """Count deleted text again that fills its gap, or that was cut and is pasted elsewhere."""
        if not self._pieces and self._cut is not None:
            self._paste(splices, data)
        if not self._pieces:
            if data.startswith(self.text, self.start_byte):
                self._pieces, self.end_byte = [Piece(0, 0, len(self.text))], self.start_byte + len(self.text)
            return
        mended: list[Piece] = []
        offset, at = 0, self.start_byte + self._pieces[0].at_byte - self._pieces[0].offset_byte
        for piece in (*self._pieces, Piece(-1, len(self.text), 0)):
            gap = self.text[offset : piece.offset_byte]
            here = self.start_byte + piece.at_byte
            is_filled = gap and at >= 0 and data.startswith(gap, at) and (not piece.n_bytes or at + len(gap) == here)
            if is_filled:
                mended.append(Piece(at - self.start_byte, offset, len(gap)))
            if piece.n_bytes:
                mended.append(piece)
                offset, at = piece.offset_byte + piece.n_bytes, here + piece.n_bytes
        first, last = mended[0], mended[-1]
        n_before = min(0, first.at_byte)
        self.end_byte = max(self.end_byte, self.start_byte + last.at_byte + last.n_bytes)
        self.start_byte += n_before
        self._pieces = _joined(evolve(piece, at_byte=piece.at_byte - n_before) for piece in mended)

    def _paste(self, splices: Sequence[Splice], data: bytes) -> None:
        """Move the range, if it was cut as a whole, to the place where one of the edits inserted it."""
        text, pieces = self._cut or (b"", [])
        if len(text.strip()) < MIN_MOVED_BYTES:
            return
        for number, splice in enumerate(splices):
            at = splice.inserted.find(text)
            if at < 0:
                continue
            at += splice.start_byte
            for later in splices[number + 1 :]:
                at += later.shift if later.end_byte <= at else 0
            if data.startswith(text, at):
                self._pieces, self._cut = pieces, None
                self.start_byte, self.end_byte = at, at + len(text)
                return

    def remains(self, data: bytes) -> Remains | None:
        """Return the remainder of the text in the document `data`; `None` if it is unknown."""
        if not self.is_known:
            return None
        if not self._pieces:
            return Remains(0.0, 1.0)
        kept = b"".join(self.text[piece.offset_byte : piece.offset_byte + piece.n_bytes] for piece in self._pieces)
        accepted, now = _decoded(self.text), _decoded(data[self.start_byte : self.end_byte])
        share = len(_decoded(kept)) / len(accepted) if accepted else 1.0
        if len(accepted) > MAX_COMPARED_CHARS:
            return Remains(share, None)
        from rapidfuzz.distance import Levenshtein  # 15 ms that no start-up should pay

        nearest = now[: 2 * len(accepted)]  # a longer one is at a distance of all of it anyway
        distance = Levenshtein.distance(accepted, nearest) if len(now) <= 2 * len(accepted) else len(accepted)
        return Remains(share, min(1.0, distance / max(1, len(accepted))))

    def survivors(self) -> list[tuple[int, int]]:
        """Return `(byte of the document, byte of the text)` of each remaining byte."""
        return [(self.start_byte + p.at_byte + i, p.offset_byte + i) for p in self._pieces for i in range(p.n_bytes)]


def _joined(pieces: Iterable[Piece]) -> list[Piece]:
    """Join adjacent pieces."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        gap = None if last is None else (piece.at_byte - last.at_byte, piece.offset_byte - last.offset_byte)
        if last is not None and gap == (last.n_bytes, last.n_bytes):
            joined[-1] = evolve(last, n_bytes=last.n_bytes + piece.n_bytes)
        else:
            joined.append(piece)
    return joined


def _moved_start(byte: int, splice: Splice) -> int:
    """Return a range's start after an edit; text that is inserted there stays outside."""
    if splice.end_byte <= byte:
        return byte + splice.shift
    return byte if byte <= splice.start_byte else splice.start_byte + len(splice.inserted)


def _moved_end(byte: int, splice: Splice) -> int:
    """Return a range's end after an edit; text that is inserted there stays outside."""
    is_at_end = splice.start_byte == splice.end_byte == byte
    if splice.end_byte <= byte and not is_at_end:
        return byte + splice.shift
    return min(byte, splice.start_byte)


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
