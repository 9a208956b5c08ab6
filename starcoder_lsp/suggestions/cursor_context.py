"""Describe the cursor for the rules about suggestions: its line, the lines below, its scopes, the lines to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, cached_property

from attrs import evolve, field, frozen

from starcoder_lsp.documents.documents import Snapshot, language_of
from starcoder_lsp.documents.embedded import Embedded, embedded_at
from starcoder_lsp.documents.languages import Language
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.suggestions.indentation import Indentation, indentation_of
from starcoder_lsp.suggestions.lexing import is_unopened, open_brackets

N_BELOW_BYTES = 4096
"""Text below the cursor's line that the rules look at."""
TAB_WIDTH = 8
CLOSERS = b")]}>\"'`"
N_LINE_BYTES = 2048
"""The cursor's line counts this far before the cursor and behind it: a line of a minified file may have megabytes."""
N_CLOSED_BYTES = 4
"""The most closing brackets and quotes that an editor may have inserted behind the cursor."""
SEPARATORS = b",;:"
BODY_OPENERS = {"indent": (b":", b"{"), "brace": (b"{",)}
"""Characters at the end of a line that open a body."""
CLOSING_TAG = re.compile(rb"</[\w.:-]*\s*>[)};,\s]*")
"""A closing tag that an editor inserts behind an opening one, and closing brackets behind that."""
LIST_OPENERS = (b"(", b"[")
"""Characters at the end of a line that open a list on the lines below."""


@frozen
class CursorContext:
    r"""The place of a suggestion. All text has `\n` line ends."""

    embedded: Embedded
    cursor_byte: int
    line_before: bytes
    line_after: bytes
    below: bytes
    below_byte: int
    """The byte of the document with which the line below begins; its end if there is none."""
    one_line: bool
    """True if the suggestion ends with the line."""
    may_open: bool
    """True if a suggestion of one line may go on with a block that its line opens."""
    floor: int
    """Columns: a later line that is indented less than this is outside the scope that is being written."""
    line_end: bytes
    """The document's own line end, which the inserted text gets."""
    indentation: Callable[[], Indentation | None]
    """Returns the file's indentation here, computed once; `None` if no unit is visible, or no block can begin."""
    allows_docstring: bool = False
    """True if the user requested a whole body or new lines by a code action: documentation is allowed in any file."""
    scopes: tuple[Scope, ...] = ()
    """The functions, classes and modules around the cursor, outermost first."""
    memo: dict[object, object] = field(factory=dict, eq=False, repr=False)
    """Values that rules compute once for a request; shared with the contexts that `after` returns."""

    @property
    def snapshot(self) -> Snapshot:
        """Return the document, as the language at the cursor has it: text in other languages is blank."""
        return self.embedded.snapshot

    @cached_property
    def language(self) -> Language:
        """The language at the cursor."""
        return language_of(self.snapshot)

    @property
    def has_comments(self) -> bool:
        """Return whether the language has comments between `/*` and `*/`."""
        return self.language.has_slash_star

    @cached_property
    def indent_columns(self) -> int:
        """The columns of white space at the start of the cursor's line."""
        return indent_width(self.line_before)

    @cached_property
    def line_below(self) -> bytes:
        """The first line below the cursor's that is not blank, or an empty text."""
        return first_line(self.below)

    @cached_property
    def n_open_before(self) -> int:
        """The number of brackets that the cursor's line has open before the cursor."""
        return len(open_brackets(self.line_before, has_comments=self.has_comments))

    @cached_property
    def n_open_on_line(self) -> int:
        """Return the number of brackets that the cursor's line opens and does not close."""
        return len(open_brackets(self.line_before + self.line_after, has_comments=self.has_comments))

    def is_unopened(self, closers: bytes, text: bytes) -> bool:
        """Return whether `closers` are closing brackets and quotes of the suggestion `text` that it has not opened."""
        return is_unopened(closers, text, self.line_before, has_comments=self.has_comments)

    def opens_body(self, line: bytes) -> bool:
        """Return whether a line opens a block, and not only a list that goes on below."""
        return _opens_body(line, self.language)

    def after(self, first_line: bytes) -> CursorContext:
        """Return the context once the first line of the suggestion is known, which may open a block."""
        line = self.line_before + first_line
        if self.one_line and self.may_open and opens_block(line, self.line_after, self.language):
            return evolve(self, one_line=False, floor=indent_width(line) + 1)
        return self


def indent_width(line: bytes) -> int:
    """Return the columns of white space at the start of `line`."""
    blank = line[: len(line) - len(line.lstrip(b" \t"))]
    return len(blank.expandtabs(TAB_WIDTH))


def first_line(text: bytes) -> bytes:
    """Return the first line that is not blank, or an empty text."""
    return next((line for line in text.split(b"\n") if line.strip()), b"")


def only_closes(text: bytes) -> bool:
    """Return whether `text`, the rest of a line, is nothing but closing brackets, quotes and separators."""
    return not text.strip().strip(CLOSERS + SEPARATORS)


def describe_cursor(snapshot: Snapshot, cursor_byte: int, multiline: str) -> CursorContext:
    """Return the context of a cursor.

    `multiline` is `"auto"`, `"never"` or `"always"`. `"auto"` allows a block on an empty line where a statement begins,
    and behind a line that opens an empty body. Elsewhere it allows the rest of the line, and a block that this opens.
    """
    text, embedded = snapshot.text, embedded_at(snapshot, cursor_byte)
    language, syntax = language_of(embedded.snapshot), embedded.snapshot.syntax
    line = text.line_of(cursor_byte)
    line_start, line_end = text.line_span(line)
    before = text.data[max(line_start, cursor_byte - N_LINE_BYTES) : cursor_byte]
    after = text.data[cursor_byte : max(cursor_byte, min(line_end, cursor_byte + N_LINE_BYTES))]
    next_start = text.start_below(line)
    below = text.data[next_start : next_start + N_BELOW_BYTES].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    indent = indent_width(before)
    has_body = indent_width(first_line(below)) > indent
    opener = language_of(snapshot) if embedded.begins_at(cursor_byte) else language  # a tag is the page's
    is_element = CLOSING_TAG.fullmatch(after.strip()) is not None  # its content may be a text on the same line
    is_opened = not has_body and not is_element and opens_block(before, after, opener)
    starts_line = not before.strip() and not after.strip()
    above = text.data[text.line_span(line - 1)[1] : line_start] if line else b""
    return CursorContext(
        embedded=embedded,
        cursor_byte=cursor_byte,
        line_before=before,
        line_after=after,
        below=below,
        below_byte=next_start,
        one_line=multiline == "never" or (multiline == "auto" and not (starts_line or is_opened)),
        may_open=multiline == "auto" and not has_body,
        floor=indent + 1 if is_opened else indent,
        line_end=text.data[line_end:next_start] or above or b"\n",  # the last line has none of its own
        indentation=cache(lambda: _indentation(embedded.snapshot, cursor_byte, before)),
        scopes=syntax.enclosing_scopes(cursor_byte) if syntax is not None else (),
    )


def opens_block(line: bytes, after: bytes, language: Language) -> bool:
    """Return whether a block begins between `line` and `after`, the parts of a line before and behind the cursor."""
    code = line.strip()
    if language.line_comment and code.startswith(language.line_comment.encode()):
        return False
    if code.endswith(BODY_OPENERS.get(language.blocks or "", ())) and only_closes(after):
        return True
    is_last = not after.strip() or CLOSING_TAG.fullmatch(after.strip()) is not None
    if language.opens is not None and is_last and _opening(language.opens).search(code) is not None:
        return True
    return (language.blocks or language.opens) is not None and code.endswith(LIST_OPENERS) and not after.strip()


def _opens_body(line: bytes, language: Language) -> bool:
    openers_of_values = (*LIST_OPENERS, b"{") if language.blocks == "indent" else LIST_OPENERS
    return opens_block(line, b"", language) and not line.rstrip().endswith(openers_of_values)


def _indentation(snapshot: Snapshot, cursor_byte: int, line_before: bytes) -> Indentation | None:
    language = language_of(snapshot)
    if language.blocks is None and language.opens is None:
        return None
    return indentation_of(snapshot.text.data, cursor_byte, line_before, lambda line: _opens_body(line, language))


@cache
def _opening(pattern: str) -> re.Pattern[bytes]:
    return re.compile(pattern.encode())
