"""Measure how much of accepted suggestions remains in the document after some time. On the event loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import define, field

from starcoder_lsp.stats.events import CHECKS_S, Checked
from starcoder_lsp.stats.tracked import MIN_MOVED_BYTES, Remains, Splice, TrackedText

MAX_FOLLOWED = 64
"""The most suggestions followed in one document; the oldest beyond that are given up and count as unknown."""


@define(eq=False)
class Followed:
    """One suggestion, of which one or several parts were accepted from `since_s` on (monotonic seconds)."""

    number: int
    since_s: float
    parts: list[TrackedText]
    n_checked: int = 0

    @property
    def due_s(self) -> float:
        """The monotonic time of the next check, in seconds."""
        return self.since_s + CHECKS_S[self.n_checked]

    @property
    def is_over(self) -> bool:
        """Return whether no check is left."""
        return self.n_checked == len(CHECKS_S)

    def check(self, data: bytes | None) -> Checked:
        """Return the result of the due check in the document `data`; `None` for `data` means that it was closed."""
        after_s = CHECKS_S[self.n_checked]
        self.n_checked += 1
        found = [None if data is None else part.remains(data) for part in self.parts]
        known = [standing for standing in found if standing is not None]
        if len(known) < len(found):
            return Checked(self.number, after_s, None, None)
        n_chars = [len(part.text.decode("utf-8", "surrogateescape")) for part in self.parts]
        share = sum(n * one.share for n, one in zip(n_chars, known, strict=True)) / max(1, sum(n_chars))
        return Checked(self.number, after_s, share, _mean_distance(known, n_chars))


def _mean_distance(found: Sequence[Remains], n_chars: Sequence[int]) -> float | None:
    distances = [one.distance for one in found if one.distance is not None]
    if len(distances) < len(found):
        return None
    return sum(n * distance for n, distance in zip(n_chars, distances, strict=True)) / max(1, sum(n_chars))


@define(eq=False)
class Gap:
    """A range of a document around the last edits, and the bytes by which these moved the texts behind it.

    Edits in it can change only the texts `within`, so a keystroke costs the same however many texts are followed.
    """

    low_byte: int
    high_byte: float
    within: list[TrackedText]
    behind: list[TrackedText]
    is_whole: bool
    """False if a text was cut out: an insertion anywhere may bring it back."""
    shift: int = 0

    @classmethod
    def around(cls, splice: Splice, parts: Sequence[TrackedText]) -> Gap:
        """Return the gap around an edit that has not been applied to `parts` yet."""
        low, high = -1, float("inf")
        within, behind = [], []
        for part in parts:
            first, last = part.reach
            if last < splice.start_byte:
                low = max(low, last)
            elif first > splice.end_byte:
                high = min(high, first + splice.shift)
                behind.append(part)
            else:
                within.append(part)
        return cls(low, high, within, behind, is_whole=not any(part.is_gone for part in parts))

    def is_certain(self, splice: Splice) -> bool:
        """Return whether an edit cannot bring back a text outside of the gap."""
        return self.is_whole or len(splice.inserted) < MIN_MOVED_BYTES

    def take(self, splice: Splice) -> bool:
        """Return whether an edit is in the gap, and extend the gap by it if so."""
        is_inside = self.low_byte < splice.start_byte and splice.end_byte < self.high_byte
        if not is_inside or not self.is_certain(splice):
            return False
        self.shift += splice.shift
        self.high_byte += splice.shift
        return True


@define(eq=False)
class Follower:
    """The accepted suggestions of one document, the oldest first."""

    followed: dict[int, Followed] = field(factory=dict)
    _due_s: float = float("-inf")
    """No check is due before this time. It saves a pass over all suggestions at each keystroke."""
    _gap: Gap | None = None
    """The range around the last edits. Edits in it only move the texts behind it."""

    def accept(self, number: int, since_s: float, start_byte: int, text: bytes) -> Iterator[Checked]:
        """Follow an accepted text, or one more part of a suggestion; yield the checks that are given up for it."""
        self._settle()
        part = TrackedText(text, start_byte)
        self._due_s = float("-inf")
        if number in self.followed:
            self.followed[number].parts.append(part)
            return
        if len(self.followed) >= MAX_FOLLOWED:
            yield from _given_up(self.followed.pop(next(iter(self.followed))))
        self.followed[number] = Followed(number, since_s, [part])

    def due(self, now_s: float, data: bytes) -> Iterator[Checked]:
        """Yield the checks that are due, with the document as it has been since the last edit."""
        if now_s < self._due_s:
            return
        self._settle()
        for each in list(self.followed.values()):
            while not each.is_over and each.due_s <= now_s:
                yield each.check(data)
            if each.is_over:
                del self.followed[each.number]
        self._due_s = min((each.due_s for each in self.followed.values()), default=float("inf"))

    def edited(self, splices: Sequence[Splice], before: bytes, data: bytes, *, is_whole: bool) -> None:
        """Follow the edits of one change, which made `data` of the document `before`."""
        only = splices[0] if len(splices) == 1 else None
        if only is not None and self._gap is not None and self._gap.take(only):
            touched = self._gap.within
        else:
            self._settle()
            touched = [part for each in self.followed.values() for part in each.parts]
            gap = Gap.around(only, touched) if only is not None else None
            self._gap = gap if gap is not None and only is not None and gap.is_certain(only) else None
        for part in touched:
            part.apply(splices, before, data, is_whole=is_whole)

    def _settle(self) -> None:
        """Move the texts behind the gap along with the edits in it."""
        gap, self._gap = self._gap, None
        if gap is not None and gap.shift:
            for part in gap.behind:
                part.move(gap.shift)

    def closed(self) -> Iterator[Checked]:
        """Yield the remaining checks as unknown: the document was closed."""
        for each in self.followed.values():
            yield from _given_up(each)
        self.followed.clear()


def _given_up(followed: Followed) -> Iterator[Checked]:
    while not followed.is_over:
        yield followed.check(None)
