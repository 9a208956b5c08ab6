"""Python's own parser as a judge, on real files and on lines that do not parse."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.documents.syntax import Syntax

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "starcoder_lsp" / "documents").glob("*.py"))


def syntax_of(code: str) -> Syntax:
    syntax = Documents().open("file:///a.py", "python", 1, code).syntax
    assert syntax is not None
    return syntax


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_of_a_file_that_parses_is_accepted(path: Path) -> None:
    code = path.read_text()
    syntax, at = syntax_of(code), 0
    for line in code.encode().split(b"\n"):
        assert syntax.accepts(at, at + len(line)), line
        at += len(line) + 1


@pytest.mark.parametrize(
    "line",
    [
        "global _load_plugins(python)",
        "f(a=1, b)",
        "x = foo(a",
        'x = "Hell',
        "from a import b,",
        "a == 1 = 2",
        "x = f(y if z) else t",
        "for attr in name.split(':')",
        "1 + 1 = x",
        "print 'a'",
        "return return",
        "assert x, y, z",
        "x = 'a' 'b' c",
        "(" * 300,
    ],
)
@pytest.mark.parametrize("where", ["{}\n", "def f():\n    {}\n    y = 1\n", "x = 1\n\nif a:\n    {}\nelse:\n    b\n"])
def test_lines_that_python_refuses_are_refused(line: str, where: str) -> None:
    code = where.format(line)
    with pytest.raises((SyntaxError, MemoryError, RecursionError)):
        ast.parse(code)
    at = code.index(line)
    syntax = syntax_of(code)
    assert not (syntax.accepts(at, at + len(line)) and syntax.error_count() == 0)


@pytest.mark.parametrize(
    "header", ["if x:", "def f(x):", "class A:", "for a in b:", "with a as b:", "while x:", "else:"]
)
def test_a_block_header_without_body_is_accepted(header: str) -> None:
    code = "if a:\n    b\nelse:\n" if header == "else:" else f"a = 1\n{header}\n"
    at = code.index(header)
    assert syntax_of(code).accepts(at, at + len(header))


LINES = st.sampled_from(
    ["x = 1", "if x:", "    y = 2", "else:", "    f(a=1, b)", "def f():", "    return (", ")", "    pass", '"""', "@d"]
)


@given(lines=st.lists(LINES, max_size=8), at=st.integers(0, 7))
def test_lines_that_python_accepts_are_accepted(lines: list[str], at: int) -> None:
    code = "\n".join(lines) + "\n"
    try:
        ast.parse(code)
    except SyntaxError:
        return
    start = sum(len(line) + 1 for line in lines[: min(at, len(lines))])
    assert syntax_of(code).accepts(start, start)
