"""Map offsets of an earlier text to a later one, so that windows and outlines need not be computed again."""

from __future__ import annotations

from attrs import frozen

from starcoder_lsp.context.window import Segment, Segments
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import splice_between


@frozen
class TextChange:
    """One replaced range between an earlier text and a later one; the text after `end_byte` has moved by `shift`."""

    start_byte: int
    end_byte: int
    shift: int

    @classmethod
    def between(cls, before: bytes, now: bytes) -> TextChange:
        """Return the smallest change from one text to another."""
        return _last.between(before, now)

    def place(self, byte: int) -> int | None:
        """Return the offset of `byte` in the later text; `None` inside the replaced range."""
        if byte <= self.start_byte:
            return byte
        return byte + self.shift if byte >= self.end_byte else None

    def nearest_place(self, byte: int) -> int:
        """Return where `byte` is in the later text, inside the replaced range the nearest place."""
        return byte if byte <= self.start_byte else max(self.start_byte, byte + self.shift)

    def segment(self, segment: Segment) -> Segment | None:
        """Return the segment in the later text; `None` if its text changed.

        An insertion at byte 0 changes a segment that starts there.
        """
        if segment.end_byte <= self.start_byte:
            return segment
        if segment.start_byte < max(self.end_byte, 1):
            return None
        if not self.shift:
            return segment
        # Not `evolve`, which takes five times as long: a jump moves some hundred segments of earlier windows.
        return Segment(segment.kind, segment.start_byte + self.shift, segment.end_byte + self.shift, segment.why)

    def prefix_start(self, segments: Segments) -> Segments:
        """Return the start of a prefix in the later text; empty if its text changed.

        A prefix start is the pinned segments, then an empty segment at the start of the lines before the cursor.
        """
        *pinned, near = segments
        moved = [self.segment(segment) for segment in pinned]
        edge = self.place(near.start_byte)
        if edge is None or None in moved:
            return ()
        return (*(segment for segment in moved if segment is not None), Segment(near.kind, edge, edge, near.why))

    def scope(self, scope: Scope) -> Scope | None:
        """Return a definition in the later text; `None` if its header changed."""
        if scope.end_byte <= self.start_byte or (not self.shift and scope.start_byte >= self.end_byte):
            return scope
        if scope.start_byte >= self.end_byte:
            start, header_end = scope.start_byte + self.shift, scope.header_end_byte + self.shift
            body_start, end = scope.body_start_byte + self.shift, scope.end_byte + self.shift
            return Scope(scope.kind, scope.name, start, header_end, body_start, end)
        if scope.start_byte < self.end_byte and scope.header_end_byte >= self.start_byte:
            return None
        start, header_end, body_start, end = (
            self.nearest_place(byte)
            for byte in (scope.start_byte, scope.header_end_byte, scope.body_start_byte, scope.end_byte)
        )
        return Scope(scope.kind, scope.name, start, header_end, body_start, end)


class _LastChange:
    """The change that was looked for last: a request asks twice for the same one, and a search takes 0.3 ms."""

    def __init__(self) -> None:
        self._found: tuple[bytes, bytes, TextChange] | None = None

    def between(self, before: bytes, now: bytes) -> TextChange:
        """Return the smallest change from one text to another."""
        found = self._found
        if found is None or found[0] is not before or found[1] is not now:
            start_byte, end_byte, _ = splice_between(before, now)
            found = self._found = before, now, TextChange(start_byte, end_byte, len(now) - len(before))
        return found[2]


_last = _LastChange()
