"""Pinned text: the headers, imports and signatures that a window shows above the nearest lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.context.outline import NO_OUTLINE
from starcoder_lsp.context.pinned import MAX_DOCSTRING_LINES, pinned, spans_of
from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine.prompt_model import PromptModel

PYTHON = ["import re\n", *(f"from package import name_{n}, other_{n}\n" for n in range(200)), "import numpy as np\n"]
RUST = ["use std::io;\n", *(f"use crate::module_{n}::Name{n};\n" for n in range(200))]
FUNCTION = "\n\ndef f(text):\n    # from here, import or not\n    x = name_150(re.match(text), np.ones({}))\n    "


def imports_wanted(text: str, cursor: str = "", language: str = "python") -> list[str]:
    snapshot = Documents().open("file:///case", language, 1, text)
    assert snapshot.syntax is not None
    cursor_byte = snapshot.text.data.rindex(cursor.encode())
    wanted = pinned(snapshot, cursor_byte, snapshot.syntax.enclosing_scopes(cursor_byte), NO_OUTLINE)
    return [snapshot.text.data[start:end].decode() + "\n" for start, end, why in wanted if why == "imports"]


def test_imports_used_in_the_scope_come_first_and_keywords_are_no_names() -> None:
    named = [PYTHON[0], PYTHON[151], PYTHON[-1]]
    assert imports_wanted("".join(PYTHON) + FUNCTION) == named + [line for line in PYTHON if line not in named]
    function = "// use this\nfn f(a: Name7) {\n    io::stdin();\n}\n"
    named = [RUST[0], RUST[8]]
    wanted = imports_wanted("".join(RUST) + function, "io::", "rust")
    assert wanted == named + [line for line in RUST if line not in named]


def test_outside_of_all_scopes_imports_stay_in_order() -> None:
    assert imports_wanted("".join(PYTHON) + "\nx = name_150(\n") == PYTHON


@given(st.lists(st.sampled_from(PYTHON), max_size=20))
def test_each_import_is_pinned_once(lines: list[str]) -> None:
    assert sorted(imports_wanted("".join(lines) + FUNCTION)) == sorted(lines)


def test_a_small_budget_holds_the_imports_used_in_the_scope_in_file_order(prompts: PromptModel) -> None:
    snapshot = Documents().open("file:///case", "python", 1, "".join(PYTHON) + FUNCTION)
    assert snapshot.syntax is not None
    cursor_byte = len(snapshot.text.data)
    wanted = pinned(snapshot, cursor_byte, snapshot.syntax.enclosing_scopes(cursor_byte), NO_OUTLINE)
    spans = spans_of(snapshot, wanted, cursor_byte, 60, prompts.tokenizer)
    shown = b"".join(snapshot.text.data[span.start_byte : span.end_byte] for span in spans).decode()
    assert [line for line in (PYTHON[0], PYTHON[151], PYTHON[-1], "def f(text):\n") if line not in shown] == []
    assert shown.startswith(PYTHON[0])
    assert shown.endswith(PYTHON[-1] + "def f(text):\n")


LONG = MAX_DOCSTRING_LINES + 1


@pytest.mark.parametrize(
    ("docstring", "n_shown"),
    [
        (['"""Return it."""'], 1),
        (['"""Return it', 'in two lines."""'], 2),
        (['"""Return it', *["more"] * (MAX_DOCSTRING_LINES - 2), '"""'], MAX_DOCSTRING_LINES),
        (['"""Return it', *["more"] * LONG, '"""'], 1),
        (["x = 1", 'y = """a string"""'], 0),
    ],
    ids=["one line", "two lines", "as many as are shown", "too long", "none"],
)
def test_a_header_comes_with_its_docstring_or_its_first_line(docstring: list[str], n_shown: int) -> None:
    lines = ["def f(text):", *("    " + line for line in docstring), "    return text", ""]
    snapshot = Documents().open("file:///case", "python", 1, "\n".join(lines))
    assert snapshot.syntax is not None
    cursor_byte = len(snapshot.text.data) - 1
    wanted = pinned(snapshot, cursor_byte, snapshot.syntax.enclosing_scopes(cursor_byte), NO_OUTLINE)
    (header,) = [snapshot.text.data[start:end].decode() for start, end, why in wanted if why.startswith("header")]
    assert header.split("\n") == lines[: 1 + n_shown]
