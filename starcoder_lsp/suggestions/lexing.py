"""Find brackets and strings without a parser, in unfinished text of any language.

`fitting.py` parses whole documents. Every function here takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

CLOSER_OF = {b"(": b")", b"[": b"]", b"{": b"}"}
OPENER_OF = {closer: opener for opener, closer in CLOSER_OF.items()}
QUOTES = b"\"'`"
SIGN = re.compile(rb"\"\"\"|'''|[\"'`()\[\]{}]|/\*")
REST = {
    b'"""': re.compile(rb'(?:\\.|[^\\"]|"(?!""))*+', re.DOTALL),
    b"'''": re.compile(rb"(?:\\.|[^\\']|'(?!''))*+", re.DOTALL),
    b"`": re.compile(rb"(?:\\.|[^`\\])*+", re.DOTALL),
    b'"': re.compile(rb'(?:\\.|[^"\\\n])*+', re.DOTALL),
    b"'": re.compile(rb"(?:\\.|[^'\\\n])*+", re.DOTALL),
}
"""Patterns of a string's text behind its opening quotes. One in single or double quotes ends with its line."""


def scan(text: bytes, *, has_comments: bool = False, may_go_on: bool = False) -> Iterator[tuple[int, int, bytes]]:
    """Yield `(start_byte, end_byte, sign)` of brackets, strings and comments; brackets inside the latter do not count.

    `sign` is the bracket, or the opening quotes or comment sign. An unfinished string or comment comes last, with -1 as
    its end. A string in double quotes is unfinished if the text ends on its line; a lone single quote is an apostrophe
    or a lifetime. With `has_comments`, the language has comments between `/*` and `*/`. With `may_go_on`, more text may
    follow, so a lone single quote or comment sign also counts as unfinished.
    """
    at, letters_until = 0, {b"'": 0, b'"': 0}
    while (match := SIGN.search(text, at)) is not None:
        start, at, sign = *match.span(), match.group()
        if sign == b"/*":
            end = text.find(b"*/", at) if has_comments else -1
            if has_comments and end < 0 and may_go_on:
                yield start, -1, sign
                return
            has_comments = end >= 0  # without one here there is none behind
            if has_comments:
                at = end + 2
                yield start, at, sign
        elif sign not in REST:
            yield start, at, sign
        elif start >= letters_until.get(sign, 0):
            end = REST[sign].match(text, at).end()  # type: ignore[union-attr]  # it matches nothing too
            if text.startswith(sign, end):
                at = end + len(sign)
                yield start, at, sign
            elif sign in letters_until and (b"\n" in text[end:] or (sign == b"'" and not may_go_on)):
                letters_until[sign] = end
            else:
                yield start, -1, sign
                return


def brackets(text: bytes, *, has_comments: bool = False, may_go_on: bool = False) -> Iterator[tuple[int, bytes]]:
    """Return the offsets and signs of the brackets of `text` that are in no string.

    `may_go_on` is that of `scan`.
    """
    return _brackets_of(text, scan(text, has_comments=has_comments, may_go_on=may_go_on))


def _brackets_of(text: bytes, signs: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[int, bytes]]:
    string_end = -1
    for start, end, sign in signs:
        if sign in CLOSER_OF or sign in OPENER_OF:
            if start == string_end or text[start - 1 : start] != b"'":
                yield start, sign
        else:
            string_end = end


def open_brackets(text: bytes, *, has_comments: bool = False) -> list[int]:
    """Return the offsets of brackets that `text` opens and does not close. A closer of another kind closes nothing."""
    return _unclosed(text, brackets(text, has_comments=has_comments))


def end_state(text: bytes, *, has_comments: bool = False) -> tuple[int, bytes]:
    """Return the number of `open_brackets`, and the result of `open_quote`, by one scan."""
    signs = list(scan(text, has_comments=has_comments))
    quote = signs[-1][2] if signs and signs[-1][1] < 0 else b""
    return len(_unclosed(text, _brackets_of(text, signs))), quote


def _unclosed(text: bytes, found: Iterable[tuple[int, bytes]]) -> list[int]:
    opened: list[int] = []
    for at, bracket in found:
        if bracket in CLOSER_OF:
            opened.append(at)
        elif opened and text[opened[-1] : opened[-1] + 1] == OPENER_OF[bracket]:
            opened.pop()
    return opened


def open_quote(text: bytes, *, has_comments: bool = False) -> bytes:
    """Return the opening of the string that is unfinished at the end of `text`; empty if there is none."""
    return next((sign for _, end, sign in scan(text, has_comments=has_comments) if end < 0), b"")


def ends_in_string(text: bytes, *, has_comments: bool = False) -> bool:
    """Return whether a string that `text` begins is unfinished at its end."""
    return bool(open_quote(text, has_comments=has_comments))


def is_unopened(closers: bytes, text: bytes, before: bytes, *, has_comments: bool = False) -> bool:
    """Return whether `text` contains the closing brackets and quotes `closers` without having opened them.

    `before` is the text before it on its line, where a string may have begun.
    """
    found = [bracket for at, bracket in brackets(before + text, has_comments=has_comments) if at >= len(before)]
    return bool(closers) and all(_is_unopened(bytes([closer]), closers, text, found) for closer in closers)


def _is_unopened(closer: bytes, closers: bytes, text: bytes, found: list[bytes]) -> bool:
    if closer in OPENER_OF:
        return found.count(closer) - found.count(OPENER_OF[closer]) >= closers.count(closer)
    if closer == b">":
        return text.count(b">") - text.count(b"<") >= closers.count(b">")
    return closer in QUOTES and text.count(closer) % 2 == 1
