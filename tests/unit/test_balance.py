"""The brackets that a line must open or close by the lines around it, and suggestions that must do so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.suggestions.balance import mending_lines, needed_openers, scope_span
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.lexing import CLOSER_OF
from starcoder_lsp.suggestions.postprocess import is_whole, postprocess
from starcoder_lsp.suggestions.suggestion import Suggestion
from tests.golden.test_suggestions import site_at

OPENERS = st.lists(st.sampled_from(sorted(CLOSER_OF)), min_size=1, max_size=3).map(b"".join)
INDENTS = st.sampled_from(["", "  ", "    ", "\t", "\t\t"])


def _in(language: str, marked: str) -> CursorContext:
    return site_at(marked, language)


@given(openers=OPENERS, indent=INDENTS, n_inner=st.integers(0, 4))
def test_a_line_must_open_the_bracket_that_a_line_below_at_its_indentation_closes(
    openers: bytes, indent: str, n_inner: int
) -> None:
    closers = b"".join(CLOSER_OF[bytes([each])] for each in reversed(openers)).decode()
    inner = f"{indent}  inner\n" * n_inner
    assert needed_openers(_in("javascript", f"{indent}above()\n{indent}foo█\n{inner}{indent}{closers};\n")) == openers


@pytest.mark.parametrize(
    "marked",
    [
        "switch (a) {\ncase 1:█\n  foo()\n}\n",  # the line above has opened it
        "foo█\n  inner\nbelow\n",
        "  foo█\n  inner\n}\n",  # closes a bracket of an outer line
        "█\n  inner\n}\n",
        "if (a) {\n  b\n} foo█\nc()\n",
    ],
)
def test_a_line_need_not_open_brackets_that_other_lines_open(marked: str) -> None:
    assert needed_openers(_in("javascript", marked)) == b""


@pytest.mark.parametrize(
    ("language", "marked", "written"),
    [
        ("javascript", "var a =█\n  return b;\n});\n", b" map"),
        ("javascript", "  return map█\n    return a;\n  });\n", b";"),
        ("javascript", "if (!a) █\n  b();\n}\n", b"and"),
        ("typescript", "class A {\n  f(): █\n    return;\n  }\n}\n", b"void"),
        ("java", "class A {\n  void f() {\n    try █\n      g();\n    } finally {\n    }\n  }\n}\n", b"};"),
        ("c", "void f(int a,\n       char █\nint b;\n", b"*c)"),
        ("go", "package a\n\nfunc f() {\n\tif a █\n\t\tg()\n\t}\n}\n", b"{}"),
        ("php", "<?php\nf(function () {\n    return 1;\n}, $█\n", b"a)"),
        ("php", "<?php\n$a = 'b█\n$c = 'd';\n", b"e"),
        ("cpp", "int f() {\n  if ( █)\n    return 0;\n  }\n  return 1;\n}\n", b"a"),
    ],
)
def test_a_suggestion_that_lacks_a_bracket_is_not_whole(language: str, marked: str, written: bytes) -> None:
    cursor = _in(language, marked)
    assert not is_whole(written, "line_end", cursor)
    assert postprocess(Suggestion(written, "line_end"), cursor)[0].text != written


@pytest.mark.parametrize(
    ("language", "marked", "written"),
    [
        ("javascript", "  return map█\n    return a;\n  });\n", b"(a, function () {"),
        ("c", "void f(int a,\n       char █\nint b;\n", b"*c);"),
        ("cpp", "int f() {\n  if ( █)\n    return 0;\n  }\n  return 1;\n}\n", b"a ) {"),
        ("php", "<?php\nf(function () {\n    return 1;\n}, $█\n", b"a);"),
        ("c", "MACRO(a) b c d\nint f() {\n  if (█\n    return 0;\n  }\n  return 1;\n}\n", b"a) {"),
    ],
)
def test_a_suggestion_with_its_brackets_is_shown(language: str, marked: str, written: bytes) -> None:
    cursor = _in(language, marked)
    assert postprocess(Suggestion(written, "line_end"), cursor)[0].text == written


def test_completed_lines_leave_brackets_open_that_close_behind_the_cursor() -> None:
    assert all(line.endswith(b"{") for line in mending_lines(_in("javascript", "if (█) {\n")))


def test_a_scope_ends_at_the_closing_bracket_of_its_indentation() -> None:
    cursor = _in("javascript", "function f() {\n  if (a█\n    b();\n  }\n}\nfunction g() {\n}\n")
    data = cursor.snapshot.text.data
    start, end = scope_span(cursor, 0, data.index(b"  }") + 3)
    assert data[start:end].endswith(b"\n  }\n}\n")


@pytest.mark.parametrize("n_body_lines", [3, 100, 400])
def test_a_scope_that_the_parser_ends_too_early_reaches_to_its_closing_bracket(n_body_lines: int) -> None:
    """If a method lacks its opening bracket, the parser ends the class behind the method's parameters."""
    body = "".join(f"        self.a{n} = a\n" for n in range(n_body_lines))
    method = f"    def f█\n        self,\n        a: int = 1,\n    ) -> None:\n{body}\n"
    cursor = _in("python", "class B:\n    pass\n\n\nclass A:\n" + method + "\ndef g():\n    pass\n" * 2000)
    assert cursor.scopes
    start, end = scope_span(cursor, cursor.scopes[-1].start_byte, cursor.scopes[-1].end_byte)
    assert b") -> None:" in cursor.snapshot.text.data[start:end]
    for written in (b"(self, b: int) -> None:", b"(self, b: int) -> None:\n        "):
        assert not postprocess(Suggestion(written, "line_end"), cursor)[0].text
    assert postprocess(Suggestion(b"(", "line_end"), cursor)[0].text == b"("


def test_a_scope_that_an_error_hides_has_the_same_lines_whatever_their_ends() -> None:
    marked = "def f(a):\n    return {\n        'a█\n" + "        'b': a,\n" * 40 + "    }\n\n\nx = 1\n"
    spans = []
    for line_end in ("\n", "\r\n"):
        cursor = site_at(marked.replace("\n", line_end))
        start, end = scope_span(cursor, 0, cursor.cursor_byte)
        spans.append(cursor.snapshot.text.data[start:end].replace(b"\r\n", b"\n"))
    assert spans == [marked.replace("█", "").removesuffix("x = 1\n").encode()] * 2
