"""Text nested so deeply that a grammar crashes is never parsed. `tests/depth` found such texts."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from starcoder_lsp.documents.languages import all_languages, language_for
from starcoder_lsp.documents.nesting import is_too_deep
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text
from tests.depth.shapes import Shape

ROOT = Path(__file__).parents[2]
FOUND = json.loads((ROOT / "tests/depth/found.json").read_text("utf-8"))
CRASHES = [
    (grammar, fault)
    for grammar, faults in FOUND["faults"].items()
    for fault in faults
    if fault["how"].startswith(("status", "no end"))
]
DEEP_MAPPING = "\n".join(" " * depth + "a:" for depth in range(300))
KNOWN = [
    ("markdown", "> " * 255 + "x"),
    ("markdown", "a\n\n" + ">" * 300),
    ("markdown", "* " * 300),
    ("markdown", "1. " * 300),
    ("markdown", "- " * 254 + "- x\r\n"),
    ("yaml", "- " * 254 + "x"),
    ("yaml", "? " * 254 + "x"),
    ("yaml", DEEP_MAPPING),
    ("kotlin", "val a = " + '"${' * 1025),
    ("kotlin", '"${ f(' * 1025),
]
ORDINARY = [
    ("markdown", "-" * 300 + "\n\n" + "=" * 300 + "\n\n| " + "--- | " * 100),
    ("markdown", "> > > - 1. * x\n" * 500),
    ("markdown", (ROOT / "README.md").read_text()),
    ("markdown", (ROOT / "ARCHITECTURE.md").read_text()),
    ("yaml", "a:\n  - b: 1\n    c: [" + "1, " * 500 + "]\n"),
    ("yaml", "# " + "-" * 300 + "\na: 1\n"),
    ("kotlin", 'val a = "${b} ${c}"\n' * 2000),
    ("python", "(" * 2000 + ")" * 1500),
    ("rust", "fn f() { g(); }\n" * 2000),
]
UNCLOSED = [("rust", "%q(" * 4000), ("java", "%q(" * 4000), ("python", "[" * 501)]


def test_the_list_of_crashes_is_of_this_version_of_the_pack() -> None:
    assert FOUND["pack"] == version("tree-sitter-language-pack"), "run python -m tests.depth.try_all"


@pytest.mark.parametrize(("grammar", "fault"), CRASHES)
def test_every_text_that_crashed_a_grammar_is_recognized(grammar: str, fault: dict[str, Any]) -> None:
    text = Shape(fault["unit"], fault["depth"], is_indented=fault["indented"]).text()
    rows = [row for row in all_languages() if row.grammar == grammar]
    assert rows
    assert all(is_too_deep(row, Text.from_bytes(text)) for row in rows)


@pytest.mark.parametrize(("language_id", "text"), KNOWN + UNCLOSED)
def test_deeply_nested_text_gets_no_tree(language_id: str, text: str) -> None:
    language = language_for(language_id, "")
    assert is_too_deep(language, Text.from_str(text))
    assert Syntax.parse_fresh(language, Text.from_str(text)).tree is None


@pytest.mark.parametrize(("language_id", "text"), ORDINARY)
def test_ordinary_text_does_not_count_as_deeply_nested(language_id: str, text: str) -> None:
    assert not is_too_deep(language_for(language_id, ""), Text.from_str(text))
