"""Brackets and strings, told by their letters alone: for texts that are unfinished, in any language.

A parser says more, and says it of whole documents; see `fitting.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

CLOSER_OF = {b"(": b")", b"[": b"]", b"{": b"}"}
OPENER_OF = {closer: opener for opener, closer in CLOSER_OF.items()}
QUOTES = b"\"'`"
TOKEN = re.compile(
    rb"(?P<string>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|/\*.*?\*/|`(?:\\.|[^`\\])*`)"
    rb"|(?P<unfinished>\"\"\"|'''|`)"
    rb"|(?P<line>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    rb"|(?P<last>\"(?=[^\n]*\Z))"
    rb"|(?P<bracket>[()\[\]{}])",
    re.DOTALL,
)
"""A string in the quotes of most languages or a comment, in which brackets are letters; where an unfinished one begins,
which in double quotes is one of the last line; or a bracket. A single quote alone is an apostrophe or a lifetime.
"""


def brackets(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The brackets of `text` that are in no string, and where they stand.

    One right behind a lone single quote may be the beginning of one.
    """
    string_end = -1
    for match in TOKEN.finditer(text):
        if match.lastgroup in ("unfinished", "last"):
            return
        if match.lastgroup != "bracket":
            string_end = match.end()
        elif match.start() == string_end or text[match.start() - 1 : match.start()] != b"'":
            yield match.start(), match.group()


def open_brackets(text: bytes) -> list[int]:
    """Where the brackets stand that `text` opens and does not close."""
    opened: list[int] = []
    for at, bracket in brackets(text):
        if bracket in CLOSER_OF:
            opened.append(at)
        elif opened:
            opened.pop()
    return opened


def ends_in_string(text: bytes) -> bool:
    """Whether a string that `text` begins is unfinished at its end."""
    return any(match.lastgroup in ("unfinished", "last") for match in TOKEN.finditer(text))


def is_unopened(closers: bytes, text: bytes, before: bytes) -> bool:
    """Whether `closers` are closing brackets and quotes that `text`, which has them, has not opened.

    `before` is what stands before `text` on its line: a string may have begun there.
    """
    found = [bracket for at, bracket in brackets(before + text) if at >= len(before)]
    return bool(closers) and all(_is_unopened(bytes([closer]), closers, text, found) for closer in closers)


def _is_unopened(closer: bytes, closers: bytes, text: bytes, found: list[bytes]) -> bool:
    if closer in OPENER_OF:
        return found.count(closer) - found.count(OPENER_OF[closer]) >= closers.count(closer)
    if closer == b">":
        return text.count(b">") - text.count(b"<") >= closers.count(b">")
    return closer in QUOTES and text.count(closer) % 2 == 1
