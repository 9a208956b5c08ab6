"""Recognize a docstring where a function's body is expected, in files whose functions have none.

Models often write prose behind a function's header. It is offered where the file's own functions have docstrings;
elsewhere the model begins the body without one (`forks.py`).
"""

from __future__ import annotations

import re

from starcoder_lsp.suggestions.cursor_context import CursorContext, indent_width

QUOTED = re.compile(rb"\s*(?:[rRuUbBfF]{0,2})(?:\"|')")
N_ABOVE_BYTES = 2048
"""The bytes above the cursor in which a function's header is searched."""
HABIT = "documents its functions"
"""The key of this fact in a request's memo."""
MIN_DOCUMENTED_SHARE = 0.5
"""A docstring is offered if at least this share of the file's other functions has one."""


def docstring_start(text: bytes, cursor: CursorContext, *, only_prepared: bool = False) -> int | None:
    """Return where an answer begins a docstring that the file's functions do not have; `None` if it does not.

    A docstring is the first statement of a body: behind a header at the end of the cursor's line, or on the line below
    a header. If the rest of the body exists already, the user is writing documentation, and it is allowed. A code
    action may write one anywhere. With `only_prepared`, return `None` unless `prepare` has run: nothing is searched.
    """
    if QUOTED.match(text) is None:
        return None
    start = len(text) - len(text.lstrip())
    is_below = b"\n" in text[:start]
    is_first = _begins_body(cursor) and (is_below or not cursor.line_before.strip())
    if not is_first or (only_prepared and HABIT not in cursor.memo):
        return None
    return None if _has_habit(cursor) else start


def prepare(cursor: CursorContext) -> None:
    """Search the file's functions if a docstring may begin at the cursor."""
    if _begins_body(cursor):
        _has_habit(cursor)


def _begins_body(cursor: CursorContext) -> bool:
    """Return whether an answer may begin a body, in which documentation is not requested."""
    if cursor.allows_docstring or cursor.language.doc_below is None:
        return False
    header = cursor.line_before if cursor.line_before.strip() else _line_above(cursor)
    return cursor.opens_body(header) and indent_width(cursor.line_below) <= indent_width(header)


def _line_above(cursor: CursorContext) -> bytes:
    """Return the last line with code above the cursor's."""
    data, at = cursor.snapshot.text.data, cursor.cursor_byte - len(cursor.line_before)
    return data[max(0, at - N_ABOVE_BYTES) : at].rstrip().rpartition(b"\n")[2]


def _has_habit(cursor: CursorContext) -> bool:
    """Return whether enough other functions of the file begin with a string. Searches once a request."""
    if HABIT not in cursor.memo:
        cursor.memo[HABIT] = _search_functions(cursor)
    return cursor.memo[HABIT] is True


def _search_functions(cursor: CursorContext) -> bool:
    syntax, data = cursor.snapshot.syntax, cursor.snapshot.text.data
    at = cursor.cursor_byte
    functions = [
        scope
        for scope in (syntax.definitions() if syntax is not None else ())
        if scope.kind == "function" and not scope.start_byte < at <= scope.end_byte + 1
    ]
    n_documented = sum(QUOTED.match(data, scope.body_start_byte) is not None for scope in functions)
    return bool(functions) and n_documented >= MIN_DOCUMENTED_SHARE * len(functions)
