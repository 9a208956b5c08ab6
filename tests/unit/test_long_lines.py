"""Texts with lines of megabytes, and what rules and trees do with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.text import Text

UNITS = ["a=b+(c);", "1, ", "/*", "a/*.c ", "'\"", "`'\"", "(", "((]]"]


@given(
    lines=st.lists(st.binary(max_size=12).filter(lambda line: b"\r" not in line and b"\n" not in line)),
    n=st.integers(0, 12),
)
def test_a_long_line_is_found(lines: list[bytes], n: int) -> None:
    data = b"\n".join(lines)
    assert Text.from_bytes(data).has_line_over(n) == any(len(line) > n for line in data.splitlines(keepends=True))


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("language", ["python", "javascript", "shellscript", "php"])
def test_a_text_with_a_long_line_has_no_tree(language: str, unit: str) -> None:
    text = "first = 1\n" + unit * (200_000 // len(unit)) + "\nlast = 2\n"
    syntax = Documents().open("file:///case", language, 1, text).syntax
    assert syntax is not None
    assert syntax.tree is None
    assert syntax.enclosing_scopes(len(text)) == ()
    assert syntax.imports() == ()


def test_a_text_of_many_short_lines_has_a_tree() -> None:
    syntax = Documents().open("file:///case", "python", 1, "value = 1  # a line\n" * 10_000).syntax
    assert syntax is not None
    assert syntax.tree is not None
    assert syntax.error_count() == 0
