"""Brackets and strings by their letters: the same as a regular expression says, and never slow because of the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from starcoder_lsp.suggestions.lexing import brackets, ends_in_string, open_brackets, open_quote

ORACLE = re.compile(
    rb"(?P<string>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|/\*.*?\*/|`(?:\\.|[^`\\])*`)"
    rb"|(?P<unfinished>\"\"\"|'''|`)"
    rb"|(?P<line>\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
    rb"|(?P<last>\"(?=[^\n]*\Z))"
    rb"|(?P<bracket>[()\[\]{}])",
    re.DOTALL,
)
"""The same rules, in a time that grows with the square of the text."""


def told(text: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    found, string_end = [], -1
    for match in ORACLE.finditer(text):
        if match.lastgroup in ("unfinished", "last"):
            return found, True
        if match.lastgroup != "bracket":
            string_end = match.end()
        elif match.start() == string_end or text[match.start() - 1 : match.start()] != b"'":
            found.append((match.start(), match.group()))
    return found, False


@given(st.text(st.sampled_from("ab\"'`()[]{}\n/* "), max_size=30).map(str.encode))
@example(b"*/ /* ( */ (")  # a comment ends behind its beginning
def test_it_is_what_the_regular_expression_finds(text: bytes) -> None:
    assert (list(brackets(text, has_comments=True)), ends_in_string(text, has_comments=True)) == told(text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["/*", '"', "'\\", '"\\', "(", "'''", "`", '"""', "*/ /*", "'a\\'"])
def test_a_text_of_200_kb_takes_no_time_to_speak_of(unit: str) -> None:
    """In time that grows with the square each of these takes minutes."""
    text = (unit * (200_000 // len(unit))).encode()
    open_brackets(text, has_comments=True)
    ends_in_string(text, has_comments=True)


def test_a_shell_has_no_comments_between_slash_and_star() -> None:
    assert len(open_brackets(b"cp a/*.c $(ls b*/", has_comments=False)) == 1
    assert open_brackets(b"cp a/*.c $(ls b*/", has_comments=True) == []


@pytest.mark.parametrize(
    ("text", "quote"), [(b'x = "a', b'"'), (b"x = 'a'", b""), (b'"""a"', b'"""'), (b"`a", b"`"), (b"it's", b"")]
)
def test_the_quote_of_an_unfinished_string(text: bytes, quote: bytes) -> None:
    assert open_quote(text) == quote
