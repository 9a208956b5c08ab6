"""Brackets and strings without a parser: equal to a slow regular expression, and fast for any text."""

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
"""The same rules; it takes quadratic time."""


def expected_brackets(text: bytes) -> tuple[list[tuple[int, bytes]], bool]:
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
@example(b"*/ /* ( */ (")  # a comment's end cannot overlap its beginning
def test_brackets_and_strings_equal_those_of_the_regular_expression(text: bytes) -> None:
    assert (list(brackets(text, has_comments=True)), ends_in_string(text, has_comments=True)) == expected_brackets(text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["/*", '"', "'\\", '"\\', "(", "'''", "`", '"""', "*/ /*", "'a\\'"])
def test_a_text_of_200_kb_takes_linear_time(unit: str) -> None:
    """In quadratic time each of these would take minutes."""
    text = (unit * (200_000 // len(unit))).encode()
    open_brackets(text, has_comments=True)
    ends_in_string(text, has_comments=True)


def test_a_shell_has_no_comments_between_slash_and_star() -> None:
    assert len(open_brackets(b"cp a/*.c $(ls b*/", has_comments=False)) == 1
    assert open_brackets(b"cp a/*.c $(ls b*/", has_comments=True) == []


@pytest.mark.parametrize(
    ("text", "quote"), [(b'x = "a', b'"'), (b"x = 'a'", b""), (b'"""a"', b'"""'), (b"`a", b"`"), (b"it's", b"")]
)
def test_the_open_quote_of_an_unfinished_string(text: bytes, quote: bytes) -> None:
    assert open_quote(text) == quote
