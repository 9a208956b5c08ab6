"""Each language's queries: every file compiles, uses the fixed capture names, and finds the expected parts of a sample.

The samples are in samples.py, and more constructs of each language in constructs.py.
"""

from __future__ import annotations

import re

import pytest
import tree_sitter

from starcoder_lsp.documents.languages import (
    Language,
    QueryName,
    all_languages,
    grammars_folder,
    language_for,
    load_query,
    query_source,
)
from starcoder_lsp.documents.scopes import short_name
from starcoder_lsp.documents.syntax import Syntax
from starcoder_lsp.documents.text import Text
from tests.queries.constructs import DEFINITIONS, IMPORTS, SCOPES
from tests.queries.samples import SAMPLES

QUERIES: tuple[QueryName, ...] = ("scopes", "imports", "definitions")
SCOPE_KINDS = {"function", "class", "module"}
CAPTURES = {
    "scopes": {f"scope.{part}" for part in {"name", "body"} | SCOPE_KINDS},
    "imports": {"import"},
    "definitions": {f"definition.{part}" for part in {"name", "body", "type", "constant"} | SCOPE_KINDS},
}
PREDICATES = {"#set!", "#one-of?"}  # the binding's own predicates crash: see documents/parsing.py
WITH_QUERIES = [language for language in all_languages() if language.queries]


def syntax_of(source: str, language: Language) -> tuple[Syntax, Text, int]:
    before, _, after = source.partition("█")
    text = Text.from_str(before + after)
    return Syntax.parse_fresh(language, text), text, len(before.encode())


@pytest.mark.parametrize("language", WITH_QUERIES, ids=lambda language: language.id)
def test_queries_find_the_scopes_imports_and_definitions_of_a_sample(language: Language) -> None:
    sample = SAMPLES[language.queries or ""]
    syntax, text, cursor_byte = syntax_of(sample.source, language)
    assert syntax.error_count() == 0
    assert [f"{scope.kind} {scope.name}" for scope in syntax.enclosing_scopes(cursor_byte)] == sample.scopes
    assert [text.data[start:end].decode() for start, end in syntax.imports()] == sample.imports
    assert [f"{scope.kind} {scope.name}" for scope in syntax.definitions()] == sample.definitions


@pytest.mark.parametrize(("language_id", "source", "expected"), SCOPES)
def test_a_construct_is_a_scope(language_id: str, source: str, expected: list[str]) -> None:
    """Each expected scope is a kind and the beginning of its text; the innermost one has its body behind the rest."""
    syntax, text, cursor_byte = syntax_of(source, language_for(language_id, ""))
    scopes = syntax.enclosing_scopes(cursor_byte)
    shown = [f"{scope.kind} {text.data[scope.start_byte : scope.end_byte].decode()}" for scope in scopes]
    assert syntax.error_count() == 0
    assert len(shown) == len(expected)
    assert all(one.startswith(other) for one, other in zip(shown, expected, strict=True)), shown
    assert scopes[-1].start_byte < scopes[-1].body_start_byte <= cursor_byte


@pytest.mark.parametrize(("language_id", "source", "expected"), DEFINITIONS)
def test_a_construct_is_a_definition(language_id: str, source: str, expected: list[str]) -> None:
    syntax, _, _ = syntax_of(source, language_for(language_id, ""))
    assert syntax.error_count() == 0
    assert [f"{scope.kind} {scope.name}" for scope in syntax.definitions()] == expected


@pytest.mark.parametrize(("language_id", "source", "expected"), IMPORTS)
def test_a_construct_is_an_import(language_id: str, source: str, expected: list[str]) -> None:
    syntax, text, _ = syntax_of(source, language_for(language_id, ""))
    assert syntax.error_count() == 0
    assert [text.data[start:end].decode() for start, end in syntax.imports()] == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("f", "f"), ("Foo::clone", "clone"), ("Box<T>::make", "make"), ("Box<Vec<T>>::make", "make"),
        ("Point<T>", "Point"), ("fmt::Display", "Display"), ("Foo::~Foo", "Foo"), ("M.new", "new"),
        ("M:method", "method"), ("exports.one", "one"), ("(*compare)(const void *)", "compare"), ("*names[]", "names"),
        ("#secret", "secret"), (":size", "size"), ("name=", "name"), ('"/users"', "users"), ("$items", "items"),
        ("a$b", "a$b"), ("self.$x", "x"),
        ("[Symbol.iterator]", "iterator"), ("operator[]", "operator"), ("+", ""), ("", ""), ("<" * 9999, ""),
    ],
)  # fmt: skip
def test_a_short_name_is_the_word_that_other_code_uses(name: str, expected: str) -> None:
    assert short_name(name) == expected


@pytest.mark.parametrize("language", WITH_QUERIES, ids=lambda language: language.id)
def test_the_search_for_scopes_is_limited_to_the_cursors_surroundings(language: Language) -> None:
    """A pattern that begins at the root, or that has siblings, is tried on the whole file, which takes milliseconds."""
    syntax, text, _ = syntax_of(SAMPLES[language.queries or ""].source.replace("█", "") * 50, language)
    query = load_query(language, "scopes")
    assert query is not None
    assert syntax.tree is not None
    cursor = tree_sitter.QueryCursor(query)
    cursor.set_byte_range(len(text.data) // 2, len(text.data) // 2 + 1)
    assert len(cursor.matches(syntax.tree.root_node, lambda *_: True)) < 50


@pytest.mark.parametrize("folder", SAMPLES)
def test_imports_are_found_while_brackets_are_open(folder: str) -> None:
    """Imports are found with any bracket opened anywhere in the sample, except right below them."""
    language = next(language for language in WITH_QUERIES if language.queries == folder)
    syntax, text, _ = syntax_of(SAMPLES[folder].source, language)
    imports = syntax.imports()
    last_line = text.line_of(max((end for _, end in imports), default=0))
    for line_start in text.line_starts[last_line + 2 :]:
        for opened in (b"  x(a, ", b"  x(a, {\n    y[", b"  {\n    x("):
            cut = Text.from_str((text.data[:line_start] + opened).decode())
            assert set(imports) <= set(Syntax.parse_fresh(language, cut).imports()), cut.data


@pytest.mark.parametrize("language", WITH_QUERIES, ids=lambda language: language.id)
@pytest.mark.parametrize("name", QUERIES)
def test_a_query_compiles_and_has_known_captures_only(language: Language, name: QueryName) -> None:
    source = query_source(language.queries or "", name)
    query = load_query(language, name)
    assert query is not None, "the log says why"
    captures = {query.capture_name(index) for index in range(query.capture_count)}
    assert {capture for capture in captures if not capture.startswith("_")} <= CAPTURES[name]
    assert set(re.findall(r"#[\w-]+[?!]", source)) <= PREDICATES
    for index in range(query.pattern_count):
        assert query.pattern_settings(index).keys() <= {"lead"}


def test_every_folder_has_the_three_files_and_a_sample_and_a_language() -> None:
    folders = {path.name for path in grammars_folder().iterdir() if path.is_dir()}
    inherited_only = {"ecmascript"}
    assert folders - inherited_only == SAMPLES.keys() == {language.queries for language in WITH_QUERIES}
    for folder in folders:
        assert {path.name for path in (grammars_folder() / folder).iterdir()} == {f"{name}.scm" for name in QUERIES}


@pytest.mark.parametrize(
    ("language_id", "source", "start", "header"),
    [
        ("python", "@a\n@b\ndef f(\n    x,\n):\n    █pass\n", "@a", "):"),
        ("python", "def f():  # why\n    # not\n    █pass\n", "def", "why"),
        ("python", "def f(): return █1\n", "def", "1"),
        ("rust", "#[a]\n// b\n#[c]\nfn f(\n  x: u8,\n) {\n  █1\n}\n", "#[a]", ") {"),
        ("typescript", "@a()\nexport class A\n  extends B {\n  █x = 1;\n}\n", "@a()", "B {"),
        ("javascript", "export default function f() {\n  █\n}\n", "export", "f() {"),
        ("cpp", "template <class T>\nT f(T a)\n{\n  █\n}\n", "template", "{"),
        ("java", "class A { @B int f() { █ } int x; }\n", "@B", "}"),
        ("ruby", "def f(\n  a\n)\n  █1\nend\n", "def", ")"),
        ("ruby", "def f(a)\n  █\nend\n", "def", ")"),
        ("lua", "local f = function(\n  a)\n  █\nend\n", "local", "a)"),
    ],
)
def test_a_scope_starts_at_its_decorators_and_its_header_ends_with_a_line(
    language_id: str, source: str, start: str, header: str
) -> None:
    """`start` and `header` are the beginning of the scope and the end of its header."""
    syntax, text, cursor_byte = syntax_of(source, language_for(language_id, ""))
    scope = syntax.enclosing_scopes(cursor_byte)[-1]
    shown = text.data[scope.start_byte : scope.header_end_byte].decode()
    assert shown.startswith(start)
    assert shown.endswith(header)
    assert scope.start_byte < scope.body_start_byte <= scope.end_byte
