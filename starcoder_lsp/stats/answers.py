"""The suggestions that were sent for a place, and the effects of later edits on them: accepted, typed, or abandoned."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from attrs import define, field, frozen

from starcoder_lsp.stats.tracked import Splice

CLOSERS = b")]}>\"'`"
MAX_CLOSED_BYTES = 4
"""Brackets and quotes that an editor may have closed by itself behind the cursor."""


@frozen
class Region:
    """The smallest stretch that holds all edits of a change: `start_byte` to `old_end_byte`, now `new_end_byte`."""

    start_byte: int
    old_end_byte: int
    new_end_byte: int

    @classmethod
    def of(cls, splices: Sequence[Splice]) -> Region:
        """Return the stretch of at least one splice, applied in order."""
        first = splices[0]
        start, old_end, new_end = first.start_byte, first.end_byte, first.start_byte + len(first.inserted)
        for splice in splices[1:]:
            start = min(start, splice.start_byte)
            if splice.end_byte > new_end:
                old_end += splice.end_byte - new_end
                new_end = splice.end_byte
            new_end += splice.shift
        return cls(start, old_end, new_end)


@frozen
class Change:
    """One change of a document: its text before and after, and where they differ."""

    before: bytes
    after: bytes
    region: Region

    @property
    def shift(self) -> int:
        """The bytes by which the text behind the edits moved."""
        return len(self.after) - len(self.before)


class EditEffect(Enum):
    """The effects of an edit on an open answer."""

    OPEN = auto()
    PART = auto()
    """It inserted several bytes of the rest."""
    INSERTED = auto()
    """It inserted the whole rest."""
    TYPED = auto()
    """It typed the last byte of the rest."""
    LEFT = auto()
    """It was another edit: the answer is abandoned."""


@frozen
class Verdict:
    """The effect of an edit: it inserted `text`, a part of `suggestion`, at `start_byte`."""

    effect: EditEffect
    suggestion: Suggestion | None = None
    start_byte: int = 0
    text: bytes = b""

    @property
    def ends_line(self) -> bool:
        """Return whether the inserted text has the end of a line of the suggestion."""
        whole = self.suggestion.text if self.suggestion is not None else b""
        behind = whole[whole.find(self.text) + len(self.text) :]
        return b"\n" in self.text or not behind or behind.startswith((b"\n", b"\r"))


OPEN, LEFT = Verdict(EditEffect.OPEN), Verdict(EditEffect.LEFT)


@define(eq=False)
class Suggestion:
    """One alternative of an answer: `text` replaces `n_replaced_bytes` behind the cursor of the request."""

    number: int
    name: str
    text: bytes
    n_replaced_bytes: int = 0
    n_accepted_chars: int = 0
    is_reported: bool = False
    """True if the client reported that it was accepted."""
    is_ended: bool = False


@define(eq=False)
class Answer:
    """The suggestions for a place: `n_typed` bytes from `start_byte` on are already in the document."""

    uri: str
    start_byte: int
    suggestions: list[Suggestion]
    is_rewrite: bool = False
    n_typed: int = 0
    n_closed: int = 0
    """The closing characters that the editor inserted behind the cursor since; negative if it removed some."""
    expects_part: bool = False
    """True if the client reported an accepted part whose edit has not come yet."""
    part: Verdict | None = field(default=None)
    """The last edit, if it inserted several bytes and may still be reported as an accepted part."""

    @property
    def cursor_byte(self) -> int:
        """The byte at which the rest begins."""
        return self.start_byte + self.n_typed

    def continues(self, start_byte: int, text: bytes) -> Suggestion | None:
        """Return the suggestion of which `text` at `start_byte` is the rest."""
        if start_byte != self.cursor_byte:
            return None
        return next((each for each in self.suggestions if each.text[self.n_typed :] == text), None)

    def edit(self, change: Change) -> Verdict:
        """Apply a change of the document; return its effect. `LEFT`, `INSERTED` and `TYPED` end the answer."""
        region, cursor = change.region, self.cursor_byte
        self.part = None
        whole = self._whole(change)
        if whole is not None:
            return whole
        if region.start_byte < self.start_byte and region.old_end_byte <= self.start_byte:
            self.start_byte += change.shift
            return OPEN
        if region.start_byte > cursor + max(each.n_replaced_bytes for each in self.suggestions) + self.n_closed:
            return OPEN
        if self.start_byte <= region.start_byte == region.new_end_byte < region.old_end_byte == cursor:
            self.n_typed = region.start_byte - self.start_byte  # deleted back into it
            return OPEN
        return self._advance(change)

    def _whole(self, change: Change) -> Verdict | None:
        """Return the verdict if the document now equals the one after the acceptance of a suggestion.

        Clients compute edits from differences: `ab` inserted behind `ab` looks like `ab` inserted before it.
        """
        region, cursor = change.region, self.cursor_byte
        head = slice(region.start_byte, self.start_byte)
        for each in self.suggestions:
            n_left = len(each.text) - self.n_typed
            end = self.start_byte + len(each.text)
            is_long = change.shift == n_left - max(0, each.n_replaced_bytes + self.n_closed)
            is_there = is_long and change.after.startswith(each.text, self.start_byte)
            is_near = region.new_end_byte >= self.start_byte and region.new_end_byte <= end + n_left
            if is_there and is_near and change.before[head] == change.after[head]:
                effect = EditEffect.INSERTED if n_left > 1 else EditEffect.TYPED
                return Verdict(effect, each, cursor, each.text[self.n_typed :])
        return None

    def _advance(self, change: Change) -> Verdict:
        region, cursor = change.region, self.cursor_byte
        inserted = change.after[cursor : region.new_end_byte]
        deleted = change.before[cursor : region.old_end_byte]
        if region.start_byte != cursor or not inserted or deleted.strip(CLOSERS):
            return LEFT
        fits = [(_n_shared(inserted, each.text[self.n_typed :]), each) for each in self.suggestions]
        n_new = max(n for n, _ in fits)
        behind = inserted[n_new:]
        if not n_new or behind.strip(CLOSERS) or len(behind) > MAX_CLOSED_BYTES:
            return LEFT
        left = [each for n, each in fits if n == n_new]
        whole = next((each for each in left if len(each.text) == self.n_typed + n_new), None)
        effect = EditEffect.OPEN if n_new == 1 else EditEffect.PART
        if whole is not None:
            effect = EditEffect.TYPED if n_new == 1 else EditEffect.INSERTED
        self.n_typed += n_new
        self.n_closed += len(behind) - len(deleted)
        verdict = Verdict(effect, whole or left[0], cursor, inserted[:n_new])
        self.part = verdict if effect is EditEffect.PART else None
        return verdict


def _n_shared(one: bytes, other: bytes) -> int:
    n_most = min(len(one), len(other))
    return next((n for n in range(n_most) if one[n] != other[n]), n_most)
