"""A suggestion tried in the document: one parse says whether it fits, and whose fault an error is.

An error of the line that is being written is the suggestion's: an unfinished line excuses nothing, since it is what the
suggestion is to finish. Errors elsewhere excuse themselves: they are there without the line too.
"""

from __future__ import annotations

from functools import cached_property

from attrs import field, frozen

from starcoder_lsp.documents.documents import Snapshot, fresh, spliced
from starcoder_lsp.documents.text import Text
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.lexing import open_brackets
from starcoder_lsp.suggestions.suggestion import Suggestion

N_LONG_BYTES = 8192
"""A document longer than this is not parsed as a whole if the function around the cursor is less than half of it."""
N_LINES_BELOW = 2
"""Lines with code below the suggestion whose errors count as its own: a header that does not fit what follows."""
MENDING = (b"{", b")", b"]", b"(", b"[", b"({", b"))", b",")
"""Return what the cursor's line may close or open for the lines around it. A brace is closed on its own line."""


@frozen
class Verdict:
    """Whether a part fits, or at least breaks nothing that is not broken anyhow.

    `error_at` is the byte of the part at which the first error begins that touches it; less than 0 above it.
    """

    fits: bool
    is_passable: bool
    error_at: int | None


@frozen
class Ground:
    """A text in which parts are tried, and the cursor in it: inside a string or a comment, or not."""

    snapshot: Snapshot
    cursor_byte: int
    n_behind_bytes: int
    """Return the text behind the cursor on its line."""
    is_in_token: bool
    _known: dict[bytes, int] = field(factory=dict, eq=False)
    """Errors of the text with another line in place of the cursor's."""

    @classmethod
    def whole(cls, cursor: CursorContext, *, is_in_token: bool) -> Ground:
        """Return the document."""
        return cls(cursor.snapshot, cursor.cursor_byte, len(cursor.line_after), is_in_token)

    @classmethod
    def of(cls, cursor: CursorContext, *, is_in_token: bool) -> Ground:
        """Return the document, or the function around the cursor in a long one."""
        whole = cls.whole(cursor, is_in_token=is_in_token)
        data = cursor.snapshot.text.data
        if len(data) <= N_LONG_BYTES or not cursor.scopes:
            return whole
        start = data.rfind(b"\n", 0, cursor.scopes[-1].start_byte) + 1
        end = data.find(b"\n", max(cursor.scopes[-1].end_byte, cursor.cursor_byte))
        if end < 0 or 2 * (end - start) > len(data):
            return whole
        text = Text.from_bytes(data[start : end + 1])
        part = fresh(cursor.snapshot.uri, cursor.snapshot.language_id, cursor.snapshot.version, text)
        return cls(part, cursor.cursor_byte - start, whole.n_behind_bytes, is_in_token)

    def judge(self, part: Suggestion) -> Verdict | None:
        """Parse the text with `part` in it. Without a tree in time it does not fit: slow parses are those of errors.

        `None` for a function by itself that is plain text, since its language begins somewhere above in a page of
        another.
        """
        data, at, end_byte = self.snapshot.text.data, self.cursor_byte, self.cursor_byte + len(part.text)
        is_last = at + part.n_replaced_bytes == len(data)
        line_end = b"\n" if is_last else b""  # without one the last line is an error in C
        tried = spliced(self.snapshot, at, at + part.n_replaced_bytes, part.text + line_end)
        syntax = tried.syntax
        if syntax is None or syntax.tree is None:
            return Verdict(fits=False, is_passable=False, error_at=None)
        token = None
        if not self.is_in_token:
            outer = syntax.token_over(at)
            if outer is not None and outer[0] < at and outer[1] > end_byte:
                return None
            token = syntax.token_over(end_byte)
        if token is not None and token[0] >= at and token[1] > end_byte + self.n_behind_bytes - part.n_replaced_bytes:
            return Verdict(fits=False, is_passable=False, error_at=token[0] - at)  # it swallows what stands behind
        n_errors = syntax.error_count()
        if not n_errors:
            accepted = syntax.accepts(at, end_byte)
            return Verdict(accepted, is_passable=accepted, error_at=None)
        error_byte = syntax.first_error_in(at, _behind_lines(tried.text.data, end_byte))
        if error_byte is None:
            fits = self.excuses(n_errors) and syntax.accepts(at, end_byte)
            return Verdict(fits, is_passable=fits, error_at=None)
        is_old = error_byte < self._line_span[0] and self.excuses(n_errors)
        is_passable = is_old and syntax.accepts(at, end_byte)
        return Verdict(fits=False, is_passable=is_passable, error_at=error_byte - at)

    def excuses(self, n_errors: int) -> bool:
        """Return whether so many errors are there without the cursor's line too, and no bracket on that line mends one.

        The line may have other errors than its brackets; so it does not excuse less than this says.
        """
        if self.snapshot.syntax is None or self.snapshot.syntax.error_count() < n_errors:
            return False
        return all(self._n_errors_with(line) >= n_errors for line in (self._opened, *MENDING))

    @cached_property
    def _line_span(self) -> tuple[int, int]:
        start, end = self.snapshot.text.line_span(self.snapshot.text.line_of(self.cursor_byte))
        return start, max(end, self.cursor_byte)

    @cached_property
    def _opened(self) -> bytes:
        """Brackets that the line opens behind the cursor: a block goes on below."""
        behind = self.snapshot.text.data[self.cursor_byte : self.cursor_byte + self.n_behind_bytes]
        return bytes(behind[at] for at in open_brackets(behind))

    def _n_errors_with(self, line: bytes) -> int:
        """Errors of the text with another text in place of the cursor's line."""
        if line not in self._known:
            syntax = spliced(self.snapshot, *self._line_span, line).syntax
            self._known[line] = syntax.error_count() if syntax is not None else 0
        return self._known[line]


def _behind_lines(data: bytes, byte: int) -> int:
    """Return the end of the next lines with code behind the line of a byte."""
    end = data.find(b"\n", byte)
    for _ in range(N_LINES_BELOW):
        while end >= 0 and data[end : end + 1].isspace():
            end += 1
        end = data.find(b"\n", end) if 0 <= end < len(data) else -1
    return len(data) if end < 0 else end
