"""Where the places of an earlier text are in a later one, so that what is known of them need not be found out again."""

from __future__ import annotations

from attrs import evolve, frozen

from starcoder_lsp.context.window import Segment, Segments
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import splice_between


@frozen
class TextChange:
    """Where the places of an earlier text are in a later one: one stretch was replaced, what is behind it has moved."""

    start_byte: int
    end_byte: int
    shift: int

    @classmethod
    def between(cls, before: bytes, now: bytes) -> TextChange:
        """The smallest move that explains a text by an earlier one."""
        start_byte, end_byte, _ = splice_between(before, now)
        return cls(start_byte, end_byte, len(now) - len(before))

    def place(self, byte: int) -> int | None:
        """Where `byte` is now; `None` inside what was replaced."""
        if byte <= self.start_byte:
            return byte
        return byte + self.shift if byte >= self.end_byte else None

    def segment(self, segment: Segment) -> Segment | None:
        """The segment with the same text now; `None` if its text was touched.

        One that begins with the file is touched by what is inserted there.
        """
        if segment.end_byte <= self.start_byte:
            return segment
        if segment.start_byte < max(self.end_byte, 1):
            return None
        return evolve(segment, start_byte=segment.start_byte + self.shift, end_byte=segment.end_byte + self.shift)

    def start(self, segments: Segments) -> Segments:
        """How a window began, now: what it kept, untouched, and where its lines begin; empty if that is gone."""
        *pinned, near = segments
        moved = [self.segment(segment) for segment in pinned]
        edge = self.place(near.start_byte)
        if edge is None or None in moved:
            return ()
        return (*(segment for segment in moved if segment is not None), evolve(near, start_byte=edge, end_byte=edge))

    def scope(self, scope: Scope) -> Scope | None:
        """A definition where it is now; `None` if its header was touched."""
        if scope.end_byte <= self.start_byte or (not self.shift and scope.start_byte >= self.end_byte):
            return scope
        if scope.start_byte >= self.end_byte:
            start, header_end = scope.start_byte + self.shift, scope.header_end_byte + self.shift
            body_start, end = scope.body_start_byte + self.shift, scope.end_byte + self.shift
            return Scope(scope.kind, scope.name, start, header_end, body_start, end)
        if scope.start_byte < self.end_byte and scope.header_end_byte >= self.start_byte:
            return None
        start, header_end, body_start, end = (
            byte if byte <= self.start_byte else max(self.start_byte, byte + self.shift)
            for byte in (scope.start_byte, scope.header_end_byte, scope.body_start_byte, scope.end_byte)
        )
        return Scope(scope.kind, scope.name, start, header_end, body_start, end)
