"""Rows, ids and file names; and every grammar on nasty input, in a process that may be killed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections import Counter

import pytest
from attrs import evolve

from starcoder_lsp.documents import languages
from starcoder_lsp.documents.languages import (
    Language,
    all_languages,
    grammars_folder,
    language_for,
    load_grammar,
    load_query,
)

NASTY = [
    b"",
    b"x",
    b"\n" * 500,
    b"([{<" * 300,
    b")]}>" * 300,
    b"\0\0a\0",
    b"\xff\xfe\xed\xa0\x80" * 50,
    b"\"'`" * 101,
    b"/* # // -- <!-- <? \\" * 20,
    b"if a:\n\tb\n  c\r\n \x0c d\r" * 20,
    "😀é\u2028".encode() * 50,
    b"<<EOF\n<<'A\nR\"x(" * 10,
]

PARSE_ALL = """
import sys
from tree_sitter import Parser
from tree_sitter_language_pack import get_language

for grammar in sys.argv[1:]:
    for number, source in enumerate(NASTY):
        print(grammar, number, flush=True)
        Parser(get_language(grammar)).parse(source)
"""


def test_every_grammar_that_a_row_names_loads_and_returns_from_nasty_input() -> None:
    """What does not pass here must not be on a row: no deadline gets a scanner out of an endless loop."""
    grammars = sorted({language.grammar for language in all_languages() if language.grammar})
    assert "cobol" not in grammars
    program = f"NASTY = {NASTY!r}\n{PARSE_ALL}"
    try:
        done = subprocess.run(  # noqa: S603 -- this interpreter and the text above
            [sys.executable, "-c", program, *grammars], capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired as hung:
        pytest.fail(f"no end (grammar, input): {(hung.stdout or b'').decode().splitlines()[-1:]}")
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}: {done.stderr}"
    assert len(done.stdout.splitlines()) == len(grammars) * len(NASTY)


def test_a_grammar_on_no_row_is_never_loaded() -> None:
    cobol = Language(id="cobol", name="COBOL", grammar="cobol")
    with pytest.raises(LookupError, match="on no row"):
        load_grammar(cobol)


def test_no_id_file_name_or_extension_is_claimed_twice() -> None:
    rows = tomllib.loads((grammars_folder() / "languages.toml").read_text(encoding="utf-8"))
    assert len(rows) >= 35
    for field in ("ids", "extensions", "files"):
        claims = Counter(claim for key, row in rows.items() for claim in row.get(field, []))
        if field == "ids":
            claims.update(rows.keys())
        assert [claim for claim, times in claims.items() if times > 1] == []
    known = {"name", "ids", "extensions", "files", "grammar", "queries", "line_comment", "blocks"}
    for row in rows.values():
        assert row.keys() <= known
        assert row.get("blocks") in {"indent", "brace", None}
        assert all(extension == extension.lower() and "." not in extension for extension in row["extensions"])


@pytest.mark.parametrize(
    ("language_id", "path", "expected"),
    [
        ("python", "/a/b.txt", "python"),  # the editor's word comes first
        ("Python", "", "python"),
        ("c-sharp", "x", "csharp"),
        ("sh", "x", "shellscript"),
        ("tsx", "", "typescriptreact"),
        ("plaintext", "/a/Main.JAVA", "java"),
        ("", "C:\\a\\b.rs", "rust"),
        ("", "/a/Makefile", "makefile"),
        ("", ".bashrc", "shellscript"),
        ("plaintext", "/a/notes", "plaintext"),
        ("plaintext", "/a/py", "plaintext"),  # a name is no extension
        ("", "", "plaintext"),
        ("brainfuck", "x.bf", "brainfuck"),
    ],
)
def test_a_language_is_told_by_its_id_and_else_by_its_file(language_id: str, path: str, expected: str) -> None:
    assert language_for(language_id, path).id == expected


def test_plain_text_has_nothing_to_parse_with() -> None:
    language = language_for("plaintext", "a.unheard-of")
    assert (language.grammar, language.line_comment, language.blocks, language.queries) == (None,) * 4
    assert load_grammar(language) is None
    assert load_query(language, "scopes") is None


def test_a_language_shares_the_queries_of_another() -> None:
    tsx = language_for("typescriptreact", "")
    assert (tsx.grammar, tsx.queries) == ("tsx", "typescript")


def test_a_grammar_that_does_not_load_is_a_language_without_syntax(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = evolve(language_for("python", ""), name="Broken", grammar="not-installed")
    monkeypatch.setattr(languages, "all_languages", lambda: (row,))
    assert load_grammar(row) is None
    assert "no syntax for Broken" in caplog.text


def test_a_query_that_does_not_fit_its_grammar_is_no_query(caplog: pytest.LogCaptureFixture) -> None:
    row = evolve(language_for("python", ""), queries="rust")
    assert load_query(row, "scopes") is None
    assert "grammars/rust/scopes.scm does not fit" in caplog.text


def test_a_broken_installation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "__file__", "/nowhere/starcoder_lsp/documents/languages.py")
    with pytest.raises(FileNotFoundError, match=r"no grammars/languages\.toml"):
        grammars_folder.__wrapped__()


def test_importing_and_opening_load_no_grammar() -> None:
    """Start-up: the package of grammars takes 30 ms to import, and tree_sitter 20."""
    program = """
import sys
import starcoder_lsp.documents.documents as documents
from starcoder_lsp.documents import languages
assert languages._rows.cache_info().currsize == 0
documents.Documents().open("file:///a.py", "python", 1, "import a\\n")
assert not [name for name in sys.modules if name.startswith("tree_sitter")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)  # noqa: S603 -- as above
