"""Definitions of imported names, found in the files that an import statement names.

A small definition is shown whole, a large one by its header and those of its members.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import frozen

from starcoder_lsp.documents.documents import Snapshot
from starcoder_lsp.documents.embedded import embedded_documents
from starcoder_lsp.documents.resolve import ImportedFile, imported_files
from starcoder_lsp.documents.scopes import Scope, short_name
from starcoder_lsp.documents.text import Text
from starcoder_lsp.lru import cached_by_text

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence

MAX_FILES: Final = 24
"""Files that are read to search for imported names. Not measured."""
MAX_PARSED_FILES: Final = 8
MAX_PARSED_BYTES: Final = 192 * 1024
"""Limits of the files that are parsed, which takes 5 ms for 20 KB the first time. The limits are not measured."""
MAX_CACHED_BYTES: Final = 8 * 1024 * 1024
"""Texts whose words are cached."""
MAX_WHOLE_LINES: Final = 12
"""A longer definition is shown by its headers; a header has at most as many lines. Not measured."""
MAX_CLASS_LINES: Final = 40
"""Lines of a definition that is shown by its headers. Not measured."""

_WORD: Final = re.compile(rb"[\w\x80-\xff]+")
WORD_BYTES: Final = bytes(byte for byte in range(256) if _WORD.match(bytes([byte])))
_DOCSTRING: Final = re.compile(rb"\s*[rRuU]?[\"']")


@frozen
class Definition:
    """A definition in another file. Line numbers count from 0 and ascend.

    `header` has its header and the first line of its docstring; `lines` has all of it, or also its members' headers.
    """

    document: Snapshot
    name: str
    header: tuple[int, ...]
    lines: tuple[int, ...]


def imported_definitions(
    snapshot: Snapshot, path: str, root: str, near: frozenset[str], read: Callable[[str], Snapshot | None]
) -> Iterator[Definition]:
    """Yield the definitions that the document at `path`, below `root`, imports.

    `near` has the words near the cursor. Files that these name come first. If a whole file is imported, only
    definitions named there are yielded; of a large class, members named there come first. `read` returns the document
    at a path, or `None` if the model may not see it.
    """
    documents = (snapshot, *embedded_documents(snapshot))
    imported = [file for document in documents for file in imported_files(document, path, root)]
    to_visit = [(file, 0) for file in sorted(imported, key=lambda file: not file.names & near)]
    visited: set[ImportedFile] = set()
    parsed: dict[str, int] = {}  # bytes of each parsed file, by path
    for file, depth in islice(_growing(to_visit), MAX_FILES):
        document = read(file.path) if file not in visited else None
        visited.add(file)
        if document is None or document.syntax is None:
            continue
        wanted = file.names | (near if file.is_whole else frozenset())
        may_import_all = depth == 0 and not file.is_whole  # `from .a import *` names none of them
        if not may_import_all and wanted.isdisjoint(_words_of_file(document.text.data)):
            continue
        parsed_with_this = parsed | {file.path: len(document.text.data)}
        if len(parsed_with_this) > MAX_PARSED_FILES or sum(parsed_with_this.values()) > MAX_PARSED_BYTES:
            continue
        parsed = parsed_with_this
        definitions = document.syntax.definitions()
        defined = {short_name(definition.name) for definition in definitions}
        if not file.is_whole and not file.names & defined:
            # The file imports the names itself, or the name is an alias of the whole file.
            further = imported_files(document, file.path, root) if depth == 0 else ()
            reexported = [
                _narrowed(other, file.names) for other in further if other.names & file.names or other.is_whole
            ]
            to_visit += [(other, depth + 1) for other in reexported]
            wanted = wanted if reexported else wanted | near
        yield from _definitions_of(document, definitions, wanted, near)


def words(text: bytes) -> frozenset[str]:
    """Return all words of a text, including numbers."""
    return frozenset(word.decode("utf-8", "replace") for word in _WORD.findall(text))


_words_of_file = cached_by_text(MAX_CACHED_BYTES)(words)


def _growing(to_visit: list[tuple[ImportedFile, int]]) -> Iterator[tuple[ImportedFile, int]]:
    """Iterate over a list that grows during the iteration."""
    yield from to_visit


def _narrowed(file: ImportedFile, names: frozenset[str]) -> ImportedFile:
    return ImportedFile(file.path, names, is_whole=False)


def _definitions_of(
    document: Snapshot, definitions: Sequence[Scope], wanted: Container[str], near: Container[str]
) -> Iterator[Definition]:
    container_end = 0
    for index, definition in enumerate(definitions):
        if definition.start_byte < container_end:
            continue  # a member
        if definition.kind != "module":
            container_end = definition.end_byte
        name = short_name(definition.name)
        if name in wanted and definition.kind != "module":
            members = []
            for member in definitions[index + 1 :]:
                if member.start_byte >= container_end:
                    break
                members.append(member)
            header, lines = _shown(document.text, definition, members, near)
            yield Definition(document, name, header, lines)


def _shown(
    text: Text, definition: Scope, members: Sequence[Scope], near: Container[str]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the `header` and the `lines` of a `Definition`."""
    header = _header(text, definition)
    first, last = header[0], text.line_of(max(definition.end_byte - 1, definition.start_byte))
    if last - first < MAX_WHOLE_LINES:
        return header, tuple(range(first, last + 1))
    lines = set(header)
    for member in sorted(members, key=lambda member: short_name(member.name) not in near):
        own = _header(text, member)
        if len(lines) + len(own) <= MAX_CLASS_LINES:
            lines.update(own)
    return header, tuple(sorted(lines))


def _header(text: Text, definition: Scope) -> tuple[int, ...]:
    first = text.line_of(definition.start_byte)
    last = text.line_of(max(definition.header_end_byte - 1, definition.start_byte))
    has_docstring = last + 1 < text.n_lines and text.data.startswith((b"\n", b"\r"), text.line_span(last)[1])
    inside = has_docstring and text.line_starts[last + 1] < definition.end_byte
    if inside and _DOCSTRING.match(text.data, text.line_starts[last + 1]):
        last += 1
    return tuple(range(first, min(last, first + MAX_WHOLE_LINES - 1) + 1))
