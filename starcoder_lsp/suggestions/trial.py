"""Parse the document with a suggestion in it, and judge whether the suggestion causes an error.

An error on the cursor's line counts against the suggestion, also if the line had it before: the suggestion is to finish
that line. An error elsewhere does not count if it remains without the cursor's line.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from attrs import define, field, frozen

from starcoder_lsp.documents.documents import Snapshot, fresh, spliced
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import Text
from starcoder_lsp.suggestions.balance import leaves_open, mending_lines, needed_openers, scope_span, statements_span
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.excerpt import Excerpt, excerpt
from starcoder_lsp.suggestions.suggestion import Suggestion

N_LONG_BYTES = 3072
"""In a document longer than this, only the function around the cursor is parsed, if that is less than half of it. Of a
long one, an excerpt is."""
N_LINES_BELOW = 2
"""The lines with code below the suggestion whose errors count against it: a header may not fit the lines below."""


@frozen
class Verdict:
    """The verdict on a part: it touches no error, or at least adds none.

    `error_at` is the byte of the part at which the first error that touches it begins; negative if that is above it.
    """

    fits: bool
    is_passable: bool
    error_at: int | None


@define(eq=False)
class TrialText:
    """The text around the cursor in which parts are parsed. All drafts of a request share it."""

    cursor: CursorContext
    snapshot: Snapshot
    cursor_byte: int
    is_in_token: bool
    """True if the cursor is inside a string or a comment."""
    start_byte: int = 0
    """The byte of the document with which the text begins."""
    _judged: dict[tuple[bytes, int], Verdict] = field(factory=dict)

    @classmethod
    def of(cls, cursor: CursorContext) -> TrialText:
        """Return the document, or a part of a long one, if that parses with some line at the cursor.

        Returns the same object for a cursor and for the contexts that `after` made of it.
        """
        trial_text = cursor.memo.get(cls)
        if not isinstance(trial_text, cls):
            usable = (part for part in cls._parts(cursor) if part is not None and part.is_as_sound(cursor.snapshot))
            trial_text = next(usable, None) or cls.whole(cursor)
            cursor.memo[cls] = trial_text
        return trial_text

    @classmethod
    def whole(cls, cursor: CursorContext) -> TrialText:
        """Return the document."""
        return cls(cursor, cursor.snapshot, cursor.cursor_byte, _is_in_token(cursor))

    @classmethod
    def _parts(cls, cursor: CursorContext) -> Iterator[TrialText | None]:
        """Yield parts of the document, the smallest first: excerpts of long scopes, and the innermost scope."""
        if len(cursor.snapshot.text.data) <= N_LONG_BYTES:
            return
        innermost, *outer = *reversed(cursor.scopes), None
        yield cls._excerpt(cursor, innermost)
        yield cls._part(cursor)
        for scope in outer:
            yield cls._excerpt(cursor, scope)

    @classmethod
    def _excerpt(cls, cursor: CursorContext, scope: Scope | None) -> TrialText | None:
        found = excerpt(cursor, scope)
        return (
            None if found is None else cls._of(cursor, found, found.start_byte if scope is None else scope.start_byte)
        )

    @classmethod
    def _part(cls, cursor: CursorContext) -> TrialText | None:
        data = cursor.snapshot.text.data
        if cursor.scopes:
            at = cursor.scopes[-1].start_byte
            start, end = scope_span(cursor, at, cursor.scopes[-1].end_byte)
        else:
            start, end = at, _ = statements_span(cursor)
        if 2 * (end - start) > len(data):
            return None
        return cls._of(cursor, Excerpt(data[start:end], start, cursor.cursor_byte - start), at)

    @classmethod
    def _of(cls, cursor: CursorContext, found: Excerpt, at: int) -> TrialText | None:
        """Return a part of the document that contains the byte `at`; `None` if alone it is in another language."""
        snapshot = cursor.snapshot
        part = fresh(snapshot.uri, snapshot.language_id, snapshot.version, Text.from_bytes(found.data))
        if _is_other_language(cursor, part, found.start_byte, at + 1):
            return None
        return cls(cursor, part, found.cursor_byte, _is_in_token(cursor), found.start_byte)

    def is_as_sound(self, document: Snapshot) -> bool:
        """Return whether some line at the cursor mends this part, or it has the document's errors and no others."""
        if self.snapshot.syntax is None or document.syntax is None:
            return False
        if self.snapshot.syntax.error_count() != document.syntax.error_count():
            return not self.n_excused
        first = document.syntax.first_error_in(0, len(document.text.data))
        return not self.n_excused or (first is not None and first >= self.start_byte)

    def prepare(self) -> None:
        """Parse the text without a suggestion ahead of need, so that each part then costs one incremental parse."""
        syntax = self._mended[0].syntax
        if syntax is not None:
            _ = syntax.tree

    def judge(self, part: Suggestion) -> Verdict:
        """Parse the text with `part` in it. A missed deadline counts as an error: errors make parses slow."""
        key = part.text, part.n_replaced_bytes
        if key not in self._judged:
            self._judged[key] = self._judge(part)
        return self._judged[key]

    def _judge(self, part: Suggestion) -> Verdict:
        at, end_byte = self.cursor_byte, self.cursor_byte + len(part.text)
        is_last = self._line_span[1] == len(self.snapshot.text.data)
        tried = self._with_line(self._line_with(part) + (b"\n" if is_last else b""))  # without one an error in C
        syntax = tried.syntax
        if syntax is None or syntax.tree is None:
            return Verdict(fits=False, is_passable=False, error_at=None)
        line_end = end_byte + self._line_span[1] - self.cursor_byte - part.n_replaced_bytes
        for byte in () if self.is_in_token else (at, end_byte):
            token = syntax.token_over(byte)
            if token is not None and token[1] > line_end and token[0] >= self._line_span[0]:
                return Verdict(fits=False, is_passable=False, error_at=token[0] - at)  # it swallows what stands behind
        n_errors = syntax.error_count()
        if not n_errors:
            accepted = syntax.accepts(at, end_byte)
            return Verdict(accepted, is_passable=accepted, error_at=None)
        error_byte = syntax.first_error_in(at, _behind_lines(tried.text.data, end_byte))
        if error_byte is None:
            fits = self._excuses(n_errors, part) and syntax.accepts(at, end_byte)
            return Verdict(fits, is_passable=fits, error_at=None)
        is_old = error_byte < self._line_span[0] and self._excuses(n_errors, part)
        is_passable = is_old and syntax.accepts(at, end_byte)
        return Verdict(fits=False, is_passable=is_passable, error_at=error_byte - at)

    @property
    def n_excused(self) -> int:
        """The number of errors that remain with each of the lines that may repair the cursor's line."""
        return self._mended[1]

    @cached_property
    def _mended(self) -> tuple[Snapshot, int, int]:
        """Return the text with the fewest errors, their number, and the span of the line in place of the cursor's.

        Parts are parsed from that text's tree: an incremental parse reuses more of a tree with fewer errors.
        """
        start, end = self._line_span
        best = self.snapshot, self.snapshot.syntax.error_count() if self.snapshot.syntax is not None else 0, end - start
        for line in mending_lines(self.cursor):
            if not best[1]:
                break
            tried = spliced(self.snapshot, start, end, line)
            n_errors = tried.syntax.error_count() if tried.syntax is not None else 0
            best = (tried, n_errors, len(line)) if n_errors < best[1] else best
        return best

    def _with_line(self, line: bytes) -> Snapshot:
        """Return the text with another line in place of the cursor's."""
        base, _, n_bytes = self._mended
        return spliced(base, self._line_span[0], self._line_span[0] + n_bytes, line)

    def _line_with(self, part: Suggestion) -> bytes:
        """Return the cursor's line with a part in it; text in other languages is blank."""
        (start, end), data, text = self._line_span, self.snapshot.text.data, self.cursor.embedded.masked(part.text)
        return data[start : self.cursor_byte] + text + data[self.cursor_byte + part.n_replaced_bytes : end]

    def _excuses(self, n_errors: int, part: Suggestion) -> bool:
        """Return whether the part adds none of `n_errors`, and the line opens the brackets that a line below closes."""
        if n_errors > self.n_excused:
            return False
        line = self.cursor.line_before + part.text + self.cursor.line_after[part.n_replaced_bytes :]
        return b"\n" in part.text.strip() or leaves_open(line, self.cursor).endswith(self._needed_openers)

    @cached_property
    def _needed_openers(self) -> bytes:
        return needed_openers(self.cursor)

    @cached_property
    def _line_span(self) -> tuple[int, int]:
        start, end = self.snapshot.text.line_span(self.snapshot.text.line_of(self.cursor_byte))
        return start, max(end, self.cursor_byte)


def _is_in_token(cursor: CursorContext) -> bool:
    """Return whether the cursor is in a string or a comment.

    A string that begins on the cursor's line and goes on below, in a text with errors, does not count: the line must
    end it.
    """
    syntax = cursor.snapshot.syntax
    token = syntax.token_over(cursor.cursor_byte) if syntax is not None else None
    if syntax is None or token is None:
        return False
    line_start = cursor.cursor_byte - len(cursor.line_before)
    is_begun_here = token[0] >= line_start and token[1] > cursor.cursor_byte + len(cursor.line_after)
    return not (is_begun_here and syntax.error_count())


def _is_other_language(cursor: CursorContext, part: Snapshot, start_byte: int, at: int) -> bool:
    """Return whether a part alone parses as another language, since its own begins further up in a mixed page.

    The token around `at`, a byte of the document, then differs from the one there.
    """
    whole = cursor.snapshot.syntax
    if whole is None or part.syntax is None:
        return False
    tokens = whole.token_over(at), part.syntax.token_over(at - start_byte)
    spans = [token if token is None else token[1] - token[0] for token in tokens]
    return spans[0] != spans[1]


def _behind_lines(data: bytes, byte: int) -> int:
    """Return the end of the next lines with code behind the line of a byte."""
    end = data.find(b"\n", byte)
    for _ in range(N_LINES_BELOW):
        while end >= 0 and data[end : end + 1].isspace():
            end += 1
        end = data.find(b"\n", end) if 0 <= end < len(data) else -1
    return len(data) if end < 0 else end
