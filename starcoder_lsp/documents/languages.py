"""The languages, their grammars and their queries, read from `grammars/`.

A language is a row of `grammars/languages.toml` and a folder of queries, never code; `grammars/README.md` says how to
add one. Rows, grammars and queries load at first use, since the import of the grammars' package takes 30 ms. Only
grammars that a row names are loaded: a test tries those on hostile input. If a grammar does not load, the language has
no syntax; that is no error.
"""

from __future__ import annotations

import logging
import re
import tomllib
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import frozen

if TYPE_CHECKING:
    import tree_sitter

Blocks = Literal["indent", "brace"]
QueryName = Literal["scopes", "imports", "definitions"]

_INHERITS: Final = re.compile(r"\A; inherits: (\w+)$", re.MULTILINE)

logger = logging.getLogger(__name__)


@frozen
class Testing:
    """The paths of a language's test files, and how a test begins; `grammars/README.md` lists the placeholders."""

    files: tuple[str, ...]
    begin: str
    head: str = ""


@frozen
class Language:
    """A row of `languages.toml`; `grammars/README.md` describes each field.

    `id` is the LSP language id. `grammar` is a name in tree_sitter_language_pack, `queries` a folder in `grammars/`.
    `blocks` is `None` if neither less indentation nor a closing brace ends a block, but a keyword, for example.
    `too_deep` matches text that is nested so deeply that the grammar may crash.
    """

    id: str
    name: str
    grammar: str | None = None
    line_comment: str | None = None
    blocks: Blocks | None = None
    queries: str | None = None
    doc_above: str | None = None
    doc_below: str | None = None
    test: Testing | None = None
    raw_string: tuple[str, str] | None = None
    parser: str | None = None
    has_slash_star: bool = False
    too_deep: str | None = None
    opens: str | None = None


@frozen
class _Rows:
    """The languages by LSP id, by file name, and by file extension in lower case."""

    by_id: dict[str, Language]
    by_file_name: dict[str, Language]
    by_extension: dict[str, Language]


def language_for(language_id: str, path: str) -> Language:
    """Return the language of a document, by the editor's language id or else by the file name in `path`.

    If no row matches, return plain text under the editor's id.
    """
    rows = _rows()
    file = PurePath(path)
    return (
        rows.by_id.get(language_id.lower())
        or rows.by_file_name.get(file.name)
        or rows.by_extension.get(file.suffix[1:].lower())
        or Language(id=language_id or "plaintext", name="Plain text")
    )


def all_languages() -> tuple[Language, ...]:
    """Return the rows of `languages.toml` in their order."""
    return tuple(dict.fromkeys(_rows().by_id.values()))


@cache
def load_grammar(language: Language) -> tree_sitter.Language | None:
    """Return a language's grammar; `None` if the row names none, or if it cannot be loaded.

    Raises `LookupError` for a grammar on no row: no test has tried it.
    """
    if language.grammar is None:
        return None
    if language.grammar not in {row.grammar for row in all_languages()}:
        message = f"the grammar {language.grammar!r} is on no row of languages.toml"
        raise LookupError(message)
    try:
        from tree_sitter_language_pack import get_language  # 30 ms that no start-up should pay

        return get_language(language.grammar)  # type: ignore[arg-type]  # a str from the row, not a literal
    except (ImportError, LookupError, OSError, ValueError) as error:  # ValueError: built for another tree-sitter
        logger.warning("no syntax for %s: %s", language.name, error)
        return None


@cache
def load_query(language: Language, name: QueryName) -> tree_sitter.Query | None:
    """Return a compiled query; `None` without a file or a grammar, or if the query does not fit the grammar."""
    grammar = load_grammar(language)
    source = query_source(language.queries, name) if language.queries else ""
    if grammar is None or not source:
        return None
    from tree_sitter import Query, QueryError

    try:
        return Query(grammar, source)
    except QueryError as error:
        logger.warning("grammars/%s/%s.scm does not fit the installed grammar: %s", language.queries, name, error)
        return None


def query_source(folder: str, name: QueryName) -> str:
    """Return the text of `grammars/<folder>/<name>.scm`, after that of the file it inherits; "" without a file."""
    path = grammars_folder() / folder / f"{name}.scm"
    if not path.is_file():
        return ""
    source = path.read_text(encoding="utf-8")
    inherited = _INHERITS.search(source)
    return query_source(inherited[1], name) + source if inherited else source


@cache
def grammars_folder() -> Path:
    """Return the folder `grammars/`: in the package, or beside it in an editable installation.

    Raises `FileNotFoundError` if the installation has neither.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "grammars", package.parent / "grammars"):
        if (folder / "languages.toml").is_file():
            return folder
    message = f"no grammars/languages.toml in {package} or beside it"
    raise FileNotFoundError(message)


@cache
def _rows() -> _Rows:
    rows = _Rows({}, {}, {})
    for language_id, row in tomllib.loads((grammars_folder() / "languages.toml").read_text(encoding="utf-8")).items():
        language = _language(language_id, row)
        rows.by_id.update(dict.fromkeys([language_id, *row.get("ids", ())], language))
        rows.by_file_name.update(dict.fromkeys(row.get("files", ()), language))
        rows.by_extension.update(dict.fromkeys(row["extensions"], language))
    return rows


def _language(language_id: str, row: dict[str, Any]) -> Language:
    grammar = row.get("grammar")
    queries = row.get("queries", grammar)
    return Language(
        id=language_id,
        name=row["name"],
        grammar=grammar,
        line_comment=row.get("line_comment"),
        blocks=row.get("blocks"),
        queries=queries if queries and (grammars_folder() / queries).is_dir() else None,
        doc_above=row.get("doc_above"),
        doc_below=row.get("doc_below"),
        test=Testing(**{**row["test"], "files": tuple(row["test"]["files"])}) if "test" in row else None,
        raw_string=tuple(row["raw_string"]) if "raw_string" in row else None,
        parser=row.get("parser"),
        has_slash_star=row.get("slash_star", row.get("line_comment") == "//"),
        too_deep=row.get("too_deep"),
        opens=row.get("opens"),
    )
