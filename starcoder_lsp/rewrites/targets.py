"""Where a person wants something written: a function's body, some lines, a docstring, a test. Found by syntax alone.

A hole is what is hidden from the model and written anew. What is around it stays as it is, to the byte.
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
"""More lines than this are not hidden: the model would not write nearly as many."""
N_HINT_LINES, N_HINT_CHARACTERS = 24, 160
"""What a comment in the prompt may have; of a longer one the beginning and the end are there, where errors say most."""
N_NAME_CHARACTERS = 60
NO_NAME = "this function"
INDENTATION = re.compile(rb"^(?:\t| {2,8})(?=[^\s*])", re.MULTILINE)
"""What a line begins with that is indented once, and is not inside a block comment."""
BLANK_LINE = re.compile(rb"\r?\n[ \t]+(?=[\r\n]|\Z)")
STRING_LINES = re.compile(rb"[rRuU]?(?:\"{3}.*?\"{3}|'{3}.*?'{3}|\"[^\"\n]*\"|'[^'\n]*')[ \t]*(?=[\r\n]|\Z)", re.DOTALL)
"""A string with nothing behind it on its last line: a docstring, if it is the first of a body."""


@frozen
class Asked:
    """Where something is asked for: `start_byte` to `end_byte`, which may be one place.

    `message` is that of a diagnostic, if it is about one.
    """

    snapshot: Snapshot
    start_byte: int
    end_byte: int
    message: str = ""


@frozen
class Hole:
    """What is written anew: `start_byte` to `end_byte`, between `lead` and `trail`, which are inserted with it.

    `hint` stands before the lead in the prompt and nowhere else. A later line that is indented by less than `floor`
    columns is outside, see `CursorContext`. The text ends where `end` is found in it. `name` is what it is about.
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
        """How many lines are hidden, all of them or in part."""
        return self.snapshot.text.data.count(b"\n", self.start_byte, self.end_byte) + 1


def fill_body(asked: Asked) -> Hole | None:
    """The body of the function around a place, but for its docstring."""
    text, scope = asked.snapshot.text, _function_at(asked)
    body = _body_of(asked.snapshot, scope) if scope is not None else None
    if scope is None or body is None:
        return None
    outer, line_end = _indent_at(text, scope.start_byte), line_end_of(text)
    lead = line_end + _body_indent(text, scope, body[1])
    trail = b"" if ends_line(text, body[1]) else line_end + outer
    return Hole(asked.snapshot, *body, indent_width(outer) + 1, lead=lead, trail=trail, name=scope.name or NO_NAME)


def rewrite_selection(asked: Asked) -> Hole | None:
    """The lines that are selected."""
    return _lines_of(asked) if asked.start_byte < asked.end_byte else None


def rewrite_diagnostic(asked: Asked) -> Hole | None:
    """The lines of a diagnostic, with its message as a comment above them in the prompt."""
    hole, comment = _lines_of(asked), comment_of(asked.snapshot, asked.message)
    if hole is None or not comment:
        return None
    text = asked.snapshot.text
    line_end = line_end_of(text) + _indent_at(text, hole.start_byte)
    name = next(line.strip() for line in asked.message.splitlines() if line.strip())
    name = name if len(name) <= N_NAME_CHARACTERS else name[: N_NAME_CHARACTERS - 1] + "…"
    return evolve(hole, hint=b"".join(line + line_end for line in comment), name=name)


def write_docstring(asked: Asked) -> Hole | None:
    """What documents the function around a place, above its header or below it, where it has nothing of the kind."""
    scope, language = _function_at(asked), language_of(asked.snapshot)
    if scope is None:
        return None
    if language.doc_below is not None:
        return _docstring_below(asked.snapshot, scope, language.doc_below)
    return _comment_above(asked.snapshot, scope, language.doc_above) if language.doc_above is not None else None


def write_test(asked: Asked) -> Hole | None:
    """A test for the function around a place. It still has to find its place: here it begins below the function.

    Its name is that of the function and of what it is in, with dots.
    """
    scope, testing = _function_at(asked), language_of(asked.snapshot).test
    uri = asked.snapshot.uri
    if scope is None or testing is None or not uri.startswith("file:") or is_test_file(path_of(uri), testing):
        return None
    names = [around.name for around in _scopes_at(asked) if around.start_byte <= scope.start_byte and around.name]
    code = asked.snapshot.text.data[scope.start_byte : scope.end_byte].decode("utf-8", "replace")
    line_end = line_end_of(asked.snapshot.text)
    hint = b"".join(line + line_end for line in comment_of(asked.snapshot, code))
    hole = Hole(asked.snapshot, scope.end_byte, scope.end_byte, 1, hint, name=".".join(names))
    return hole if scope.name else None


def comment_of(snapshot: Snapshot, text: str) -> list[bytes]:
    """The lines of a comment that says `text`, of a long one the first and the last; none where there is no comment."""
    marker = language_of(snapshot).line_comment
    lines = [line.rstrip(" \t\\")[:N_HINT_CHARACTERS] for line in text.splitlines() if line.strip(" \t\\")]
    if len(lines) > N_HINT_LINES:
        lines = [*lines[: N_HINT_LINES // 2], *lines[-N_HINT_LINES // 2 :]]
    return [f"{marker} {line}".encode("utf-8", "replace") for line in lines] if marker else []


def line_end_of(text: Text) -> bytes:
    r"""The line end of a text's first line; `\n` if it has no other."""
    return text.data[text.line_span(0)[1] : text.line_starts[1]] if text.n_lines > 1 else b"\n"


def ends_line(text: Text, byte: int) -> bool:
    """Whether a line ends there."""
    return text.data[byte : byte + 1] in (b"", b"\n", b"\r")


def _lines_of(asked: Asked) -> Hole | None:
    """Whole lines, without blank ones around them."""
    text = asked.snapshot.text
    first, last = text.line_of(asked.start_byte), text.line_of(asked.end_byte)
    if last > first and asked.end_byte == text.line_starts[last]:
        last -= 1
    filled = [line for line in range(first, last + 1) if text.line_text(line).strip()]
    if not filled:
        return None
    has_paragraphs = filled[-1] - filled[0] >= len(filled)
    floor = min(indent_width(text.line_text(line)) for line in filled) - has_paragraphs  # a new one is outside
    start = text.line_starts[filled[0]] + len(_indent(text.line_text(filled[0])))
    return Hole(asked.snapshot, start, text.line_span(filled[-1])[1], floor)


def _docstring_below(snapshot: Snapshot, scope: Scope, form: str) -> Hole | None:
    text, body = snapshot.text, _body_of(snapshot, scope)
    if body is None or body[0] != scope.header_end_byte:  # one is there, or the body is on the header's line
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
    above = text.line_text(line - 1).strip() if line else b""
    is_documented = above.startswith(marker.split()[0]) or (closer and above.endswith(closer))
    if start + len(indent) != scope.start_byte or is_documented:
        return None
    other_line = rb"\n(?![ \t]*" + re.escape(marker) + rb")[^\n]*\n"
    end = re.compile(re.escape(closer) or other_line)
    return Hole(snapshot, start, start, -1, b"", indent + lead, trail + line_end, end, scope.name or NO_NAME)


def _scopes_at(asked: Asked) -> tuple[Scope, ...]:
    """The scopes around a place, or that which begins on its line, if that is deeper."""
    snapshot, at = asked.snapshot, asked.start_byte
    if snapshot.syntax is None:
        return ()
    line = snapshot.text.line_of(at)
    code_byte = snapshot.text.line_starts[line] + len(_indent(snapshot.text.line_text(line))) + 1
    around = snapshot.syntax.enclosing_scopes(at)
    begun = snapshot.syntax.enclosing_scopes(code_byte) if snapshot.text.line_text(line).strip() else ()
    return max(around, begun, key=len)


def _function_at(asked: Asked) -> Scope | None:
    """The innermost function around a place."""
    return next((scope for scope in reversed(_scopes_at(asked)) if scope.kind == "function"), None)


def _body_of(snapshot: Snapshot, scope: Scope) -> tuple[int, int] | None:
    """Where a body begins and ends: from the end of its header's line or of its docstring to that of its last line.

    Without line ends where it is on one line with the header; `None` where it cannot be told.
    """
    text, data, blocks = snapshot.text, snapshot.text.data, language_of(snapshot).blocks
    start, end = scope.header_end_byte, scope.end_byte
    header_line = text.line_of(scope.start_byte)
    if blocks == "brace":
        end = data.rfind(b"}", scope.body_start_byte, end)
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
            end = text.line_starts[last]  # of the word that closes
    docstring = STRING_LINES.match(data, scope.body_start_byte, end) if language_of(snapshot).doc_below else None
    start = docstring.end() if docstring is not None and scope.body_start_byte >= start else start
    last_end = start + len(data[start:end].rstrip())
    if blocks == "indent" and last_end == start and (blank := BLANK_LINE.match(data, start)):
        last_end = blank.end()  # somebody is about to write there
    return start, last_end if b"\n" in data[last_end:end] or blocks != "brace" else end


def _body_indent(text: Text, scope: Scope, end_byte: int) -> bytes:
    """What the first line of a body is indented by, or what it would be."""
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
