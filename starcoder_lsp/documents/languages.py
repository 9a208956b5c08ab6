"""Which language a document is in, and the grammar and queries for it, read from ``grammars/``.

A language is a row of ``grammars/languages.toml`` and a folder of queries, never code: ``grammars/README.md`` says how
to add one. Rows, grammars and queries load at first use, since importing the grammars' package takes 30 ms. Only
grammars that a row names are loaded, since a test has tried those on nasty input. One that does not load here is a
language without syntax, not an error.
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
    """Where a language's tests are and what one begins with; ``grammars/README.md`` says what may stand in braces."""

    files: tuple[str, ...]
    begin: str
    head: str = ""


@frozen
class Language:
    """A row of ``languages.toml``.

    ``id`` is the LSP language id. ``grammar`` names a grammar of tree_sitter_language_pack, ``queries`` a folder under
    ``grammars/``; None where there is none. ``line_comment`` is the marker that starts a comment to the line's end.
    ``blocks`` says what ends a block: a line with less indentation, or a closing brace; None where it is something
    else, a keyword for example. ``doc_above`` or ``doc_below`` is what documents a function, above its header or below
    it, with ``{}`` in place of the text; ``test`` says where its tests are. ``raw_string`` is how a string begins and
    ends that may go on at the start of a line, two patterns, the second of which may refer to groups of the first.
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


@frozen
class _Rows:
    """The languages by LSP id, by file name, and by file extension in small letters."""

    by_id: dict[str, Language]
    by_file_name: dict[str, Language]
    by_extension: dict[str, Language]


def language_for(language_id: str, path: str) -> Language:
    """Return the language of a document: by the editor's language id, else by the name of the file at `path`.

    What no row knows is plain text under the id that the editor gave.
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
    """Return the rows of ``languages.toml`` in their order."""
    return tuple(dict.fromkeys(_rows().by_id.values()))


@cache
def load_grammar(language: Language) -> tree_sitter.Language | None:
    """Return a language's grammar; None where the row names none or this installation cannot load it.

    Raises LookupError for a grammar that is on no row: it has not been tried.
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
    """Return a compiled query; None where the language has no such file, no grammar, or it does not fit the grammar."""
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
    """Return the text of ``grammars/<folder>/<name>.scm`` after what it inherits; "" where there is no such file."""
    path = grammars_folder() / folder / f"{name}.scm"
    if not path.is_file():
        return ""
    source = path.read_text(encoding="utf-8")
    inherited = _INHERITS.search(source)
    return query_source(inherited[1], name) + source if inherited else source


@cache
def grammars_folder() -> Path:
    """Return the folder of rows and queries: inside the package when installed, the checkout's own when editable.

    Raises FileNotFoundError where there is neither: the installation is broken.
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
    )
