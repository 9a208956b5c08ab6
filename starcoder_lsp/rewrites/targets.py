"""The holes of code actions, found by syntax alone: a function's body, selected lines, a docstring, a test.

A hole is a range of text that the model does not see and writes anew. The text around it does not change by a byte.
"""

from __future__ import annotations

import re

from attrs import evolve, frozen

from starcoder_lsp.documents.documents import Snapshot, language_of
from starcoder_lsp.documents.scopes import Scope
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.rewrites.test_files import is_test_file
from starcoder_lsp.suggestions.cursor_context import indent_width

MAX_LINES = 64
"""The most lines for which an action is offered: an answer is much shorter. Not measured."""
MAX_HINT_LINES, MAX_HINT_CHARACTERS = 24, 160
"""Limits on the lines of a hint, and on each line. The first and last lines of a longer hint stay: those of an error
message are the most useful. Not measured."""
MAX_NAME_CHARACTERS = 60
NO_NAME = "this function"
INDENTATION = re.compile(rb"^(?:\t| {2,8})(?=[^\s*])", re.MULTILINE)
"""One level of indentation, outside of block comments."""
BLANK_LINE = re.compile(rb"\r?\n[ \t]+(?=[\r\n]|\Z)")


@frozen
class ActionRequest:
    """The place of a code action: the cursor, a selection, or a diagnostic with its `message`."""

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    message: str = ""


@frozen
class Hole:
    """The range that the model writes anew, `start_byte` to `end_byte`.

    `lead` and `trail` are inserted before and after the answer. `hint` comes before the lead, in the prompt only. The
    answer ends before a line indented by less than `floor` columns (see `CursorContext`), or where `end` matches.
    `name` is for the action's title.
    """

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    floor: int
    hint: bytes = b""
    lead: bytes = b""
    trail: bytes = b""
    end: re.Pattern[bytes] | None = None
    name: str = ""
    is_new_file: bool = False

    @property
    def n_lines(self) -> int:
        """Return the number of lines that the hole touches."""
        return self.snapshot.text.data.count(b"\n", self.start_byte, self.end_byte) + 1


def fill_body(request: ActionRequest) -> Hole | None:
    """Return the body of the function around a place, without its docstring."""
    text, scope = request.snapshot.text, _function_at(request)
    body = _body_of(request.snapshot, scope) if scope is not None else None
    if scope is None or body is None:
        return None
    outer, line_end = _indent_at(text, scope.start_byte), line_end_of(text)
    lead = line_end + _body_indent(text, scope, body[1])
    trail = b"" if ends_line(text, body[1]) else line_end + outer
    return Hole(request.snapshot, *body, indent_width(outer) + 1, lead=lead, trail=trail, name=scope.name or NO_NAME)


def rewrite_selection(request: ActionRequest) -> Hole | None:
    """Return the selected lines."""
    return _lines_of(request) if request.start_byte < request.end_byte else None


def rewrite_diagnostic(request: ActionRequest) -> Hole | None:
    """Return the lines of a diagnostic, with its message as a comment above them in the prompt."""
    hole, comment = _lines_of(request), comment_of(request.snapshot, request.message)
    if hole is None or not comment:
        return None
    text = request.snapshot.text
    line_end = line_end_of(text) + _indent_at(text, hole.start_byte)
    name = _filled_lines(request.message)[0].strip()
    name = name if len(name) <= MAX_NAME_CHARACTERS else name[: MAX_NAME_CHARACTERS - 1] + "…"
    return evolve(hole, hint=b"".join(line + line_end for line in comment), name=name)


def write_docstring(request: ActionRequest) -> Hole | None:
    """Return the place for a docstring of the function around a place; `None` if it has one."""
    scope, language = _function_at(request), language_of(request.snapshot)
    if scope is None:
        return None
    if language.doc_below is not None:
        return _docstring_below(request.snapshot, scope, language.doc_below)
    return _comment_above(request.snapshot, scope, language.doc_above) if language.doc_above is not None else None


def write_test(request: ActionRequest) -> Hole | None:
    """Return a hole for a test of the function around a place, right below it; `move_to_test_file` moves it.

    Of nested functions it is the outermost, since other files can reach no other. The hole's name is that of the
    function after those of its enclosing scopes, joined by dots.
    """
    scope = next((scope for scope in _scopes_at(request) if scope.kind == "function"), None)
    testing = language_of(request.snapshot).test
    uri = request.snapshot.uri
    if scope is None or testing is None or not uri.startswith("file:") or is_test_file(path_of(uri), testing):
        return None
    names = [around.name for around in _scopes_at(request) if around.start_byte <= scope.start_byte and around.name]
    code = request.snapshot.text.data[scope.start_byte : scope.end_byte].decode("utf-8", "replace")
    line_end = line_end_of(request.snapshot.text)
    hint = b"".join(line + line_end for line in comment_of(request.snapshot, code))
    hole = Hole(request.snapshot, scope.end_byte, scope.end_byte, 1, hint, name=".".join(names))
    return hole if scope.name else None


def comment_of(snapshot: Snapshot, text: str) -> list[bytes]:
    """Return `text` as lines of comments, cut to the limits; none if the language has no line comments."""
    marker = language_of(snapshot).line_comment
    lines = [line.rstrip(" \t\\")[:MAX_HINT_CHARACTERS] for line in _filled_lines(text)]
    if len(lines) > MAX_HINT_LINES:
        lines = [*lines[: MAX_HINT_LINES // 2], *lines[-MAX_HINT_LINES // 2 :]]
    return [f"{marker} {line}".encode("utf-8", "replace") for line in lines] if marker else []


def _filled_lines(text: str) -> list[str]:
    """Return the lines that have more than white space and backslashes."""
    return [line for line in text.splitlines() if line.replace("\\", "").strip()]


def line_end_of(text: Text) -> bytes:
    r"""Return the line end of a text's first line; `\n` if it has one line only."""
    return text.data[text.line_span(0)[1] : text.line_starts[1]] if text.n_lines > 1 else b"\n"


def ends_line(text: Text, byte: int) -> bool:
    """Return whether a line ends at `byte`."""
    return text.data[byte : byte + 1] in (b"", b"\n", b"\r")


def _lines_of(request: ActionRequest) -> Hole | None:
    """Return the hole of whole lines, without blank ones at both ends."""
    text = request.snapshot.text
    first, last = text.line_of(request.start_byte), text.line_of(request.end_byte)
    if last > first and request.end_byte == text.line_starts[last]:
        last -= 1
    filled = [line for line in range(first, last + 1) if text.line_text(line).strip()]
    if not filled:
        return None
    has_paragraphs = filled[-1] - filled[0] >= len(filled)  # if not, a new paragraph on the floor ends the answer
    floor = min(indent_width(text.line_text(line)) for line in filled) - has_paragraphs
    start = text.line_starts[filled[0]] + len(_indent(text.line_text(filled[0])))
    return Hole(request.snapshot, start, text.line_span(filled[-1])[1], floor)


def _docstring_below(snapshot: Snapshot, scope: Scope, form: str) -> Hole | None:
    text, body = snapshot.text, _body_of(snapshot, scope)
    if body is None or body[0] != scope.header_end_byte:  # it has a docstring, or its body is on the header's line
        return None
    lead, _, trail = form.encode().partition(b"{}")
    lead = line_end_of(text) + _body_indent(text, scope, body[1]) + lead
    end = re.compile(re.escape(trail))
    return Hole(snapshot, body[0], body[0], -1, b"", lead, trail, end, scope.name or NO_NAME)


def _comment_above(snapshot: Snapshot, scope: Scope, form: str) -> Hole | None:
    text, line = snapshot.text, snapshot.text.line_of(scope.start_byte)
    start, indent, line_end = text.line_starts[line], _indent(text.line_text(line)), line_end_of(text)
    lead, _, trail = form.encode().replace(b"\n", line_end + indent).partition(b"{}")
    marker, closer = lead.strip(), trail.strip()
    if start + len(indent) != scope.start_byte or _has_comment_above(snapshot, line, marker.split()[0]):
        return None
    other_line = rb"\n(?![ \t]*" + re.escape(marker) + rb")[^\n]*\n"
    end = re.compile(re.escape(closer) or other_line)
    return Hole(snapshot, start, start, -1, b"", indent + lead, trail + line_end, end, scope.name or NO_NAME)


def _has_comment_above(snapshot: Snapshot, line: int, marker: bytes) -> bool:
    """Return whether the line above ends documentation: a comment that begins with `marker`, or a block comment.

    A block comment counts if it stands alone on its lines.
    """
    text, at = snapshot.text, snapshot.text.line_starts[line]
    above = text.line_text(line - 1) if line else b""
    if above.strip().startswith(marker) and not above.startswith(b"#!"):
        return True
    comment = snapshot.syntax.comment_before(at) if snapshot.syntax is not None else None
    if comment is None or text.line_of(comment[1]) != line - 1:
        return False
    first_line, one_line = text.line_of(comment[0]), (language_of(snapshot).line_comment or "\n").encode()
    is_alone = not text.data[text.line_starts[first_line] : comment[0]].strip()
    return is_alone and not text.data.startswith(one_line, comment[0])


def _scopes_at(request: ActionRequest) -> tuple[Scope, ...]:
    """Return the scopes around a place, or around the first code on its line, if those are deeper.

    A decorator or modifier counts as a part of what it stands before.
    """
    snapshot, at = request.snapshot, request.start_byte
    if snapshot.syntax is None:
        return ()
    line = snapshot.text.line_of(at)
    around = snapshot.syntax.enclosing_scopes(at)
    if not snapshot.text.line_text(line).strip():
        return around
    code_byte = snapshot.text.line_starts[line] + len(_indent(snapshot.text.line_text(line)))
    begun = snapshot.syntax.enclosing_scopes(snapshot.syntax.behind_leads(code_byte) + 1)
    return max(around, begun, key=len)


def _function_at(request: ActionRequest) -> Scope | None:
    """Return the innermost function around a place."""
    return next((scope for scope in reversed(_scopes_at(request)) if scope.kind == "function"), None)


def _body_of(snapshot: Snapshot, scope: Scope) -> tuple[int, int] | None:
    """Return the range of a body: from the end of its header's line, or of its docstring, to the end of its last line.

    If the body is on the header's line, the range has no line ends. Return `None` if the range is unclear.
    """
    text, data, blocks = snapshot.text, snapshot.text.data, language_of(snapshot).blocks
    start, end = scope.header_end_byte, scope.end_byte
    header_line = text.line_of(scope.start_byte)
    if blocks == "brace":
        closing = snapshot.syntax.closing_brace(scope.body_start_byte) if snapshot.syntax is not None else None
        end = closing if closing is not None else data.rfind(b"}", scope.body_start_byte, end)
        if end < 0 or not data.startswith(b"{", scope.body_start_byte):
            return None
        start = start if start <= end else scope.body_start_byte + 1
    elif blocks == "indent" and scope.body_start_byte < start:
        line_start = text.line_starts[text.line_of(scope.body_start_byte)]
        start = line_start + len(data[line_start : scope.body_start_byte].rstrip())
    elif blocks is None:
        last = text.line_of(end - 1)
        if last == header_line:
            return None
        if indent_width(text.line_text(last)) <= indent_width(text.line_text(header_line)):
            end = text.line_starts[last]  # before the closing keyword
    docstring_end = _docstring_end(snapshot, scope)
    if docstring_end is not None:
        if scope.body_start_byte < scope.header_end_byte:
            return None  # the docstring is on the header's line, so nothing can be written below
        start = docstring_end
    last_end = start + len(data[start:end].rstrip())
    if blocks == "indent" and last_end == start and (blank := BLANK_LINE.match(data, start)):
        last_end = blank.end()  # the user is about to write there
    return start, last_end if b"\n" in data[last_end:end] or blocks != "brace" else end


def _docstring_end(snapshot: Snapshot, scope: Scope) -> int | None:
    """Return the end of a body's docstring, with a comment behind it; `None` if it has none."""
    text, language = snapshot.text, language_of(snapshot)
    if snapshot.syntax is None or language.doc_below is None:
        return None
    end = snapshot.syntax.string_statement_end(scope.body_start_byte)
    if end is None:
        return None
    line_end = text.line_span(text.line_of(end))[1]
    is_commented = text.data[end:line_end].lstrip().startswith((language.line_comment or "\n").encode())
    return line_end if is_commented else end


def _body_indent(text: Text, scope: Scope, end_byte: int) -> bytes:
    """Return the indentation of a body's first line, or a guess if it has none."""
    below = text.data[scope.header_end_byte : end_byte].splitlines()[1:]
    own = next((line for line in below if line.strip()), None)
    if own is not None:
        return _indent(own)
    unit = INDENTATION.search(text.data)
    return _indent_at(text, scope.start_byte) + (unit.group() if unit else b"    ")


def _indent(line: bytes) -> bytes:
    return line[: len(line) - len(line.lstrip(b" \t"))]


def _indent_at(text: Text, byte: int) -> bytes:
    return _indent(text.line_text(text.line_of(byte)))
