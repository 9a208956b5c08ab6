"""The table of languages, and every grammar on hostile input, in a process that may be killed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import Counter
from typing import get_args

import pytest
from attrs import evolve
from tree_sitter_language_pack import SupportedLanguage

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
    b"x",  # cobol does not return
    b"q#",  # perl does not return either
    b'"',
    b"\n" * 500,
    b"([{<" * 2500,  # typst crashes
    b")]}>" * 300,  # agda crashes
    b"<a><b c='" * 300,
    b"{- (* [[ ''' \"\"\" ${ #{ <% {{ " * 20,
    b"\0\0a\0",
    b"\xff\xfe\xed\xa0\x80" * 50,
    b"\"'`" * 101,
    b"/* # // -- <!-- <? \\" * 20,
    b"if a:\n\tb\n  c\r\n \x0c d\r" * 20,
    "\ufeff😀é\u2028".encode() * 50,
    b"<<EOF\n<<'A\nR\"x(" * 10,
    b"var a=[1,2];f(a.b);" * 5264,  # 100 KB in one line
]

LEFT_OUT = {
    "agda": "crashes",
    "cobol": "does not return",
    "perl": "does not return",
    "typst": "crashes",
    "comment": "no file language",
    "doxygen": "no file language",
    "gstlaunch": "no file language",
    "jsdoc": "no file language",
    "luadoc": "no file language",
    "luap": "no file language",
    "markdown_inline": "no file language",
    "pem": "keys, which are nobody's to complete",
    "printf": "no file language",
    "test": "no file name tells it",
}

PARSE_ALL = """
import sys
from starcoder_lsp.documents.parsing import parse
from tree_sitter_language_pack import get_language

for grammar in sys.argv[1:]:
    for number, source in enumerate(NASTY):
        print(grammar, number, flush=True)
        parse(get_language(grammar), source, None, limit_ms=20)
"""


def test_every_grammar_that_a_row_names_loads_and_returns_from_nasty_input() -> None:
    """A grammar that fails must have no row, since no deadline ends an endless loop in a scanner."""
    program = f"NASTY = {NASTY!r}\n{PARSE_ALL}"
    to_try = sorted({language.grammar for language in all_languages() if language.grammar})
    failed = []
    while to_try:
        try:
            done = subprocess.run(  # noqa: S603 -- this interpreter and the text above
                [sys.executable, "-c", program, *to_try], capture_output=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired as hung:
            pytest.fail(f"no end (grammar, input): {(hung.stdout or b'').decode().splitlines()[-1:]}; {failed}")
        if done.returncode == 0:
            break
        last = done.stdout.decode().splitlines()[-1]
        failed.append(f"{last}: status {done.returncode} {done.stderr.decode()}")
        to_try = to_try[to_try.index(last.split()[0]) + 1 :]
    assert not failed


def test_every_grammar_of_the_pack_has_a_row_or_a_reason_to_be_left_out() -> None:
    used = {language.grammar for language in all_languages() if language.grammar}
    assert used.isdisjoint(LEFT_OUT)
    assert used | LEFT_OUT.keys() == set(get_args(SupportedLanguage))


@pytest.mark.parametrize("language_id", ["agda", "cobol", "perl", "typst"])
def test_a_language_whose_grammar_is_left_out_still_has_a_row(language_id: str) -> None:
    language = language_for(language_id, "")
    assert (language.grammar, load_grammar(language)) == (None, None)
    assert language.line_comment


def test_a_grammar_without_a_row_is_never_loaded() -> None:
    cobol = Language(id="cobol", name="COBOL", grammar="cobol")
    with pytest.raises(LookupError, match="on no row"):
        load_grammar(cobol)


def test_each_id_file_name_and_extension_belongs_to_one_language() -> None:
    rows = tomllib.loads((grammars_folder() / "languages.toml").read_text(encoding="utf-8"))
    assert len(rows) >= 160
    for field in ("ids", "extensions", "files"):
        claims = Counter(claim for key, row in rows.items() for claim in row.get(field, []))
        if field == "ids":
            claims.update(rows.keys())
        assert [claim for claim, times in claims.items() if times > 1] == []
    known = {"name", "ids", "extensions", "files", "grammar", "queries", "line_comment", "blocks"}
    for row in rows.values():
        assert row.keys() <= known | {
            "doc_above",
            "doc_below",
            "test",
            "raw_string",
            "parser",
            "slash_star",
            "too_deep",
            "opens",
        }
        assert all(row[form].count("{}") == 1 for form in ("doc_above", "doc_below") if form in row)
        assert not {"doc_above", "doc_below"} <= row.keys()
        assert row.get("test", {"begin": "{}"})["begin"].count("{}") == 1
        assert re.compile("|".join(row.get("raw_string", ["", ""])))
        assert re.compile(row.get("opens", ""))
        assert row.get("blocks") in {"indent", "brace", None}
        assert all(extension == extension.lower() and "." not in extension for extension in row["extensions"])


@pytest.mark.parametrize(
    ("language_id", "path", "expected"),
    [
        ("python", "/a/b.txt", "python"),  # the editor's language id comes first
        ("Python", "", "python"),
        ("c-sharp", "x", "csharp"),
        ("sh", "x", "shellscript"),
        ("tsx", "", "typescriptreact"),
        ("plaintext", "/a/Main.JAVA", "java"),
        ("", "C:\\a\\b.rs", "rust"),
        ("", "/a/Makefile", "makefile"),
        ("", ".bashrc", "shellscript"),
        ("plaintext", "/a/notes", "plaintext"),
        ("plaintext", "/a/py", "plaintext"),  # a file's name is not taken for an extension
        ("", "", "plaintext"),
        ("", "go.mod", "go.mod"),
        ("fortranfreeform", "", "fortran"),
        ("brainfuck", "x.bf", "brainfuck"),
    ],
)
def test_a_language_is_found_by_its_id_and_otherwise_by_its_file_name(
    language_id: str, path: str, expected: str
) -> None:
    assert language_for(language_id, path).id == expected


def test_the_ids_of_editors_are_known_where_a_files_name_may_not_tell() -> None:
    """An unknown id leaves the file's extension, which a new buffer lacks and several languages may share."""
    neovim = """arduino bib bzl cs cuda dosini eruby gitattributes gitcommit gitignore glsl gomod gosum haskell hcl heex
        htmlangular htmldjango javascriptreact json5 jsonc julia kotlin less lisp lua luau make mdx mysql nu objc objcpp
        ocamlinterface octave perl php plaintex plsql prolog proto ps1 python qml quarto r raku rmd rst ruby rust sass
        scala scheme scss sh solidity svelte swift systemverilog templ terraform terraform-vars tex tiltfile toml
        typescriptreact vala vb verilog vim vue xml yaml zig zsh"""
    vs_code = """bat bibtex blade c coffeescript cpp csharp css cuda-cpp dart django-html dockercompose dockerfile
        elixir fortran_fixed-form fsharp git-commit go.mod go.sum graphql groovy html ignore ini java javascript latex
        less makefile markdown mojo objective-c objective-cpp opentofu pgsql pip-requirements powershell properties
        proto3 python restructuredtext sass shellscript sql tex typescript vb xsl"""
    helix = """bash c-sharp common-lisp cuda git-attributes git-commit git-ignore java jsx ld lean make nu nunjucks
        ocaml-interface opencl postcss protobuf rescript starlark tsx vala"""
    emacs = "c++ csharp emacs-lisp lisp ocaml powershell shellscript"
    ids = f"{neovim} {vs_code} {helix} {emacs}".split()
    assert [each for each in ids if language_for(each, "").name == "Plain text"] == []


@pytest.mark.parametrize(
    ("language_id", "path", "expected"),
    [
        ("prolog", "a.pl", "prolog"),
        ("octave", "a.m", "octave"),
        ("opencl", "a.cl", "opencl"),
        ("coq", "a.v", "coq"),
        ("reason", "a.re", "reason"),
        ("supercollider", "a.sc", "supercollider"),
    ],
)
def test_an_id_counts_where_the_extension_is_that_of_another_language(language_id, path, expected):
    assert language_for(language_id, path).id == expected
    assert language_for("", path).id != expected


def test_languages_that_share_queries_document_functions_alike() -> None:
    """Their functions are the same scopes, so the same code actions fit."""
    for language in all_languages():
        owner = next(each for each in all_languages() if each.queries == language.queries)
        if language.queries is not None:
            assert (language.doc_above, language.doc_below) == (owner.doc_above, owner.doc_below), language.id


def test_plain_text_has_no_grammar() -> None:
    language = language_for("plaintext", "a.unheard-of")
    assert (language.grammar, language.line_comment, language.blocks, language.queries) == (None,) * 4
    assert load_grammar(language) is None
    assert load_query(language, "scopes") is None


def test_a_language_shares_the_queries_of_another() -> None:
    tsx = language_for("typescriptreact", "")
    assert (tsx.grammar, tsx.queries) == ("tsx", "typescript")


def test_a_language_whose_grammar_does_not_load_has_no_syntax(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    row = evolve(language_for("python", ""), name="Broken", grammar="not-installed")
    monkeypatch.setattr(languages, "all_languages", lambda: (row,))
    assert load_grammar(row) is None
    assert "no syntax for Broken" in caplog.text


def test_a_query_that_does_not_fit_its_grammar_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    row = evolve(language_for("python", ""), queries="rust")
    assert load_query(row, "scopes") is None
    assert "grammars/rust/scopes.scm does not fit" in caplog.text


def test_a_broken_installation_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(languages, "__file__", "/nowhere/starcoder_lsp/documents/languages.py")
    with pytest.raises(FileNotFoundError, match=r"no grammars/languages\.toml"):
        grammars_folder.__wrapped__()


def test_importing_and_opening_load_no_grammar() -> None:
    """Importing the package of grammars would add 30 ms to the start, and tree_sitter 20 ms."""
    program = """
import sys
import starcoder_lsp.documents.documents as documents
from starcoder_lsp.documents import languages
assert languages._rows.cache_info().currsize == 0
documents.Documents().open("file:///a.py", "python", 1, "import a\\n")
assert not [name for name in sys.modules if name.startswith("tree_sitter")]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)  # noqa: S603 -- as above
