"""Find the byte at which a suggestion leaves the cursor's scope, or repeats the text below.

Scopes are found by syntax if the text has a tree, and by indentation otherwise. The stop rule calls these functions
during the generation, and the filters call them once more at its end.
"""

from __future__ import annotations

import re
from functools import cache

from starcoder_lsp.documents.languages import Language
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text
from starcoder_lsp.suggestions.cursor_context import SEPARATORS, CursorContext, indent_width, only_closes
from starcoder_lsp.suggestions.lexing import brackets, ends_in_string

MIN_REPEATED_BYTES = 4
"""A shorter line below, such as `}` or `end`, often repeats by chance; `pass` is just long enough."""
N_ABOVE_BYTES = 2048
"""The bytes above the cursor from which a syntax tree is made, without a known scope and in a long one."""
MAX_SCOPE_BYTES = 16 * 1024
"""A scope that begins further above the cursor is a long one. The stop rule parses the text on the event loop."""


def scope_end(text: bytes, cursor: CursorContext, *, may_go_on: bool = False) -> int | None:
    """Return the byte at which `text` leaves the cursor's scope, or `None`.

    `text` leaves the scope at a line that is indented less than the context's `floor`, or at a line on `floor` after an
    empty one. Closing brackets at the start of such a line stay in, unless the document has them already; so does a
    keyword that closes the scope. A line that begins inside a string or a comment may have any indentation. With
    `may_go_on`, or if the returned byte is the length of `text`, more text may follow.
    """
    at, wrote, after_blank = 0, bool(cursor.line_before.strip()), False
    lines, by_keyword = text.split(b"\n"), _ends_by_keyword(cursor)
    for number, line in enumerate(lines):
        end = at + len(line)
        may_be_more = may_go_on and by_keyword and number == len(lines) - 1
        if not line.strip():
            after_blank = wrote
        else:
            is_judged = number > 0 and not may_be_more and not _goes_on_at(at, text, cursor)
            outside = is_judged and indent_width(line) < cursor.floor
            n_closing = _n_closing(line) if outside and not _is_below(line, cursor) else 0
            if n_closing:
                return at + n_closing
            if outside or (is_judged and wrote and after_blank and indent_width(line) <= cursor.floor):
                tree, start = _tree_of(text[:at] + b"x", cursor)  # the same however much of the line is there
                if tree is None or tree.token_over(start + at) is None:
                    may_close = outside and by_keyword and not _is_below(line, cursor)
                    return end if may_close and _closes_scope(text[:end], cursor) else max(0, at - 1)
            wrote, after_blank = True, False
        at = end + 1
    return None


def _ends_by_keyword(cursor: CursorContext) -> bool:
    """Return whether keywords end blocks in this language, and the scope has a tree that shows them."""
    blocks = cursor.language.blocks
    is_by_keyword = blocks is None or (blocks == "brace" and cursor.language.opens is not None)
    return is_by_keyword and cursor.snapshot.syntax is not None


def _goes_on_at(at: int, text: bytes, cursor: CursorContext) -> bool:
    """Return whether a line that begins at `at` goes on with a string or a comment of `text`."""
    is_in_comment = cursor.has_comments and text.rfind(b"/*", 0, at) > text.rfind(b"*/", 0, at)
    is_in_string = ends_in_string(text[:at], has_comments=cursor.has_comments)
    return is_in_comment or is_in_string or _ends_in_raw_string(text[:at], cursor.language)


def _ends_in_raw_string(text: bytes, language: Language) -> bool:
    """Return whether a string of many lines, such as a here-document, is unfinished at the end of `text`."""
    if language.raw_string is None:
        return False
    return any(match.lastgroup == "unfinished" for match in _raw_strings(*language.raw_string).finditer(text))


@cache
def _raw_strings(begin: str, end: str) -> re.Pattern[bytes]:
    """Return a pattern that finds such strings, whole ones and one that is unfinished."""
    return re.compile(f"(?:{begin}).*?(?:{end})|(?P<unfinished>{begin})".encode(), re.DOTALL | re.MULTILINE)


def unmatched_closer(text: bytes, cursor: CursorContext, *, may_go_on: bool = False) -> int | None:
    """Return the byte at which the first line of `text` closes an earlier line's bracket that the document closes, too.

    Return `None` if it does not. With `may_go_on`, later text may still close a quote or a comment on that line.
    """
    n_open = cursor.n_open_before
    below = (cursor.line_after if cursor.line_after.strip() else cursor.line_below).lstrip()[:1]
    line, newline, _ = text.partition(b"\n")
    for at, bracket in brackets(line, has_comments=cursor.has_comments, may_go_on=may_go_on and not newline):
        n_open += 1 if bracket in b"([{" else -1
        if n_open < 0:
            return at if bracket == below else None
    return None


def repeated_line(text: bytes, cursor: CursorContext) -> int | None:
    """Return the byte at which `text` begins to repeat the first line below the cursor, or `None`.

    The byte is 0 if `text` makes the cursor's line equal to the line below. A short line counts only if it closes a
    bracket that `text` did not open, at the same indentation.
    """
    target = cursor.line_below.strip()
    is_long = len(target) >= MIN_REPEATED_BYTES
    at = 0
    for number, line in enumerate(text.split(b"\n")):
        end = at + len(line)
        begun = line if number > 0 else cursor.line_before + line
        if (
            target
            and target in (begun.strip(), (begun + cursor.line_after).strip())
            and (is_long or (_is_below(line, cursor) and cursor.is_unopened(target.rstrip(SEPARATORS), text[:end])))
        ):
            return max(0, at - 1)
        at = end + 1
    return None


def _tree_of(text: bytes, cursor: CursorContext) -> tuple[Syntax | None, int]:
    """Return the syntax of the scope up to the cursor with `text` behind it, and the byte at which `text` begins.

    The stop rule and the filters share it.
    """
    key = _tree_of, text
    if key not in cursor.memo:
        cursor.memo[key] = _parsed(text, cursor)
    return cursor.memo[key]  # type: ignore[return-value]  # other rules have keys of other types


def _parsed(text: bytes, cursor: CursorContext) -> tuple[Syntax | None, int]:
    if cursor.snapshot.syntax is None:
        return None, 0
    data, cursor_byte = cursor.snapshot.text.data, cursor.cursor_byte
    first_byte = cursor.scopes[-1].start_byte if cursor.scopes else 0
    if not cursor.scopes or cursor_byte - first_byte > MAX_SCOPE_BYTES:
        first_byte = max(0, cursor_byte - N_ABOVE_BYTES)
    above = data[data.rfind(b"\n", 0, first_byte) + 1 : cursor_byte]
    tree = Syntax.parse_fresh(cursor.language, Text.from_bytes(above + cursor.embedded.masked(text)))
    is_blind = tree.token_over(len(above)) is not None and cursor.snapshot.syntax.token_over(cursor_byte) is None
    return None if is_blind else tree, len(above)  # a language that begins somewhere in a page of another


def _closes_scope(text: bytes, cursor: CursorContext) -> bool:
    """Return whether `text` ends the scope around the cursor, or a block that the cursor's line or `text` begins."""
    tree, start = _tree_of(text, cursor)
    if tree is None:
        return False
    end_byte = start + len(text)
    last_line = text.rpartition(b"\n")[2]
    if not tree.begins_with_closer(end_byte - len(last_line.lstrip())):
        return False
    closed = tree.closed_by(end_byte)
    if closed is not None and closed >= start - len(cursor.line_before):
        return True
    scopes = tree.enclosing_scopes(end_byte - 1) if cursor.scopes else ()
    return any(scope.end_byte == end_byte for scope in scopes[:1])


def _n_closing(line: bytes) -> int:
    """Return the number of bytes of `line` that only close: all of it, or the brackets at its start."""
    if only_closes(line):
        return len(line)
    n_blank = len(line) - len(line.lstrip())
    n_brackets = len(line) - n_blank - len(line.lstrip().lstrip(b")]}"))
    return n_blank + n_brackets if n_brackets else 0


def _is_below(line: bytes, cursor: CursorContext) -> bool:
    """Return whether the first line below the cursor equals `line`, at the same indentation."""
    below = cursor.line_below
    closing = line[: _n_closing(line)].strip().rstrip(SEPARATORS) or line.strip()
    return indent_width(below) == indent_width(line) and below.strip().startswith(closing)
