"""Resolve import statements to files, by the path rules in `grammars/imports.toml`.

Each path is followed folder by folder from the few places where it can begin, as far as folders exist. That takes some
tens of system calls for a file's imports, in a workspace of any size.
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from starcoder_lsp.documents.documents import Snapshot, language_of
from starcoder_lsp.documents.languages import Language, grammars_folder
from starcoder_lsp.lru import LruDict
from starcoder_lsp.regular_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bounds on the work; none is measured.
_MAX_CACHED: Final = 256  # documents whose imports are cached
_MAX_STATEMENTS: Final = 200
_MAX_PATHS: Final = 200  # in one statement
_MAX_FOLDERS: Final = 16  # above a file, and parts of a path
_MAX_ENTRIES: Final = 512  # in a folder that is imported whole
_MAX_STATEMENT_BYTES: Final = 8 * 1024
_MAX_MANIFEST_BYTES: Final = 16 * 1024
_MAX_MANIFEST_FILE_BYTES: Final = 1024 * 1024

_NOT_IN_NAMES: Final = " \t\r\n()"
_ALIAS: Final = re.compile(r"\s(?:as|=>)\s.*|(?<!:):(?!:).*", re.DOTALL)


@frozen
class ImportedFile:
    """A file that a document imports from, and the imported names.

    With `is_whole` a statement imports the file itself or everything in it, so that any of its names may be in use.
    """

    path: str
    names: frozenset[str]
    is_whole: bool


@frozen
class _Rules:
    """A table of `imports.toml`, which describes each field."""

    statement: re.Pattern[str]
    separator: str
    files: tuple[str, ...]
    here: tuple[str, ...] = ()
    up: tuple[str, ...] = ()
    top: tuple[str, ...] = ()
    roots: tuple[str, ...] = ()
    index: tuple[str, ...] = ()
    manifest: tuple[str, ...] = ()


@frozen
class _Importer:
    """The importing file: its path, the workspace's root, and the folders from its own up to the root.

    `checked` collects the folders and manifests that the result depends on.
    """

    path: str
    root: str
    folders: tuple[str, ...]
    checked: set[str]


_cache: Final[
    LruDict[tuple[Language, str, str, tuple[bytes, ...]], tuple[dict[str, int | None], tuple[ImportedFile, ...]]]
] = LruDict(_MAX_CACHED)
"""The files by language, path, root and statements, with the modification times of all checked folders."""


def imported_files(snapshot: Snapshot, path: str, root: str) -> tuple[ImportedFile, ...]:
    """Return the files below `root` that the document at `path` imports from, in the order of its statements.

    `path` is absolute and below `root`, both with "/" between their parts. No file is read but a manifest. The result
    is cached until one of the folders on the way changes. Only one thread may call this.
    """
    language = language_of(snapshot)
    if language.id not in _all_rules() or snapshot.syntax is None:
        return ()
    spans = snapshot.syntax.imports()[:_MAX_STATEMENTS]
    key = (
        language,
        path,
        root,
        tuple(snapshot.text.data[start : min(end, start + _MAX_STATEMENT_BYTES)] for start, end in spans),
    )
    cached = _cache.use(key)
    if cached is None or any(_mtime_ns(checked) != time for checked, time in cached[0].items()):
        importer = _Importer(path, root, tuple(_folders_above(path, root)), set())
        found = _resolved(language, key[3], importer)
        cached = {checked: _mtime_ns(checked) for checked in importer.checked}, found
        _cache[key] = cached
    return cached[1]


def _resolved(language: Language, statements: tuple[bytes, ...], importer: _Importer) -> tuple[ImportedFile, ...]:
    found: dict[str, ImportedFile] = {}
    for statement in statements:
        for n_lead, module, n_names in _paths(language, statement):
            for file, rest in _files(n_lead, list(module), n_names, _all_rules()[language.id], importer):
                if file != importer.path:
                    known = found.get(file, ImportedFile(file, frozenset(), is_whole=False))
                    names = known.names | {part.lstrip("$") for part in rest or module[-1:]}
                    found[file] = ImportedFile(file, names, known.is_whole or not rest)
    return tuple(found.values())


def _mtime_ns(path: str) -> int | None:
    """Return the modification time of a folder or a file; `None` if it does not exist."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 -- pathlib takes five times as long
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=1024)
def _paths(language: Language, statement: bytes) -> tuple[tuple[int, tuple[str, ...], int], ...]:
    """Return each path in a statement: `(number of leading separators, parts, how many of the last may be names)`."""
    rules = _all_rules()[language.id]
    text = statement.decode("utf-8", "replace").replace("\\\n", " ").replace("\\\r\n", " ")
    if language.line_comment is not None:
        text = re.sub(rf"(?:^|(?<=\s)){re.escape(language.line_comment)}.*", "", text)
    paths: dict[tuple[int, tuple[str, ...], int], None] = {}
    for match in rules.statement.finditer(text):
        groups = match.groupdict("")
        path = groups.get("path", "")
        n_module = len(_parts(path, rules.separator))
        n_lead = (len(path) - len(path.lstrip(rules.separator))) // len(rules.separator)
        for parts in islice(_expanded(path, groups.get("names", ""), rules.separator), _MAX_PATHS):
            paths[n_lead, parts, len(parts) - n_module] = None
    return tuple(paths)


def _expanded(path: str, names: str, separator: str) -> Iterator[tuple[str, ...]]:
    """Expand a list such as `b, c::{d, *}` after `path`; yield the parts of each full path."""
    above = [_parts(path, separator)]
    item = ""
    for mark in re.findall(r"[{},]|[^{},]+", names):
        if mark == "{" and len(above) < _MAX_FOLDERS:
            is_path = item.rstrip().endswith(separator)  # else a keyword, as in `type { A }`
            above.append(above[-1] + (_parts(item, separator) if is_path else ()))
            item = ""
        elif mark not in ("{", "}", ","):
            item += mark
        else:
            if item.strip(_NOT_IN_NAMES):
                yield above[-1] + _parts(item, separator)
            item = ""
            if mark == "}" and len(above) > 1:
                above.pop()
    if item.strip(_NOT_IN_NAMES) or not names.strip():
        yield above[-1] + _parts(item, separator)


def _parts(item: str, separator: str) -> tuple[str, ...]:
    words = _ALIAS.sub("", f" {item}").replace("(", " ").replace(")", " ").split()
    return tuple(part for part in words[-1].split(separator) if part and part != "*") if words else ()


def _files(
    n_lead: int, parts: list[str], n_names: int, rules: _Rules, importer: _Importer
) -> list[tuple[str, list[str]]]:
    """Return the files of one path, each with the last parts of the path, which name something in the file.

    At most `n_names` parts may be such names.
    """
    folder = _own_folder(rules, importer)
    for _ in range(n_lead - 1):
        folder = folder.rpartition("/")[0]
    is_top = is_relative = False
    while parts and not is_top and parts[0] in (*rules.here, *rules.up, *rules.top):
        head = parts.pop(0)
        is_top, is_relative = head in rules.top, True
        folder = folder.rpartition("/")[0] if head in rules.up else folder
    if not is_top and (is_relative or n_lead or rules.top):
        starts = [folder]
    elif rules.manifest:
        starts, parts = _beside_manifest(parts, rules, importer)
    else:
        starts = [f"{above}/{root}".rstrip("/") for above in importer.folders for root in rules.roots]
    starts = [start for start in starts if f"{start}/".startswith(f"{importer.root}/") and ".." not in parts]
    takes_start = is_relative or bool(n_lead or rules.manifest)
    followed = (_followed(start, parts, rules, importer, takes_start=takes_start) for start in starts)
    return next((found for found in followed if found and len(found[0][1]) <= n_names), [])


def _own_folder(rules: _Rules, importer: _Importer) -> str:
    folder, _, name = importer.path.rpartition("/")
    return f"{folder}/{name.rpartition('.')[0]}" if rules.index and name not in rules.index else folder


def _followed(
    start: str, parts: list[str], rules: _Rules, importer: _Importer, *, takes_start: bool
) -> list[tuple[str, list[str]]]:
    """Follow a path from `start` as far as folders exist; return the files at the farthest place that has some."""
    found: list[tuple[str, list[str]]] = []
    path = start
    importer.checked.update((path, path.rpartition("/")[0]))
    for depth in range(min(len(parts), _MAX_FOLDERS) + 1):
        if depth or takes_start:
            files = next(filter(None, (_existing(form, path) for form in rules.files)), [])
            found = [(file, parts[depth:]) for file in files] or found
        if depth == len(parts) or not os.path.isdir(path):  # noqa: PTH112 -- pathlib takes five times as long
            break
        importer.checked.add(path)
        path = f"{path}/{parts[depth]}"
    return found


def _existing(form: str, path: str) -> list[str]:
    above, _, name = path.rpartition("/")
    file = f"{above}/{form.replace('{}', name)}"
    folder, _, extension = file.partition("/*")
    try:
        if not extension:
            return [file] if os.path.isfile(file) else []  # noqa: PTH113 -- as above
        own = f"{name}{extension}"  # the main file has the folder's name
        with os.scandir(folder) as entries:
            files = [entry.name for entry in islice(entries, _MAX_ENTRIES) if entry.name.endswith(extension)]
        return [f"{folder}/{each}" for each in sorted(files, key=lambda each: (each != own, each))]
    except (OSError, ValueError):  # ValueError: a NUL in a path
        return []


def _beside_manifest(parts: list[str], rules: _Rules, importer: _Importer) -> tuple[list[str], list[str]]:
    file_name, pattern = rules.manifest
    for folder in importer.folders:
        importer.checked.add(f"{folder}/{file_name}")
        try:
            manifest = read_regular(f"{folder}/{file_name}", _MAX_MANIFEST_FILE_BYTES, inside=importer.root)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            continue
        text = manifest[:_MAX_MANIFEST_BYTES].decode("utf-8", "replace")
        below = {
            tuple(part for part in found[1].split(rules.separator) if part): "/".join(found.groups("")[1:]).strip("/")
            for found in re.finditer(pattern, text)
        }
        own = max((path for path in below if path and path == tuple(parts[: len(path)])), key=len, default=())
        return ([f"{folder}/{below[own]}".rstrip("/")], parts[len(own) :]) if own else ([], parts)
    return [], parts


def _folders_above(path: str, root: str) -> Iterator[str]:
    folder = path.rpartition("/")[0]
    for _ in range(_MAX_FOLDERS):
        yield folder
        if folder in (root, ""):
            break
        folder = folder.rpartition("/")[0]


@cache
def _all_rules() -> dict[str, _Rules]:
    by_language: dict[str, _Rules] = {}
    tables = tomllib.loads((grammars_folder() / "imports.toml").read_text(encoding="utf-8"))
    for table in tables.values():
        languages = table.pop("languages")
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
        }
        fields["statement"] = re.compile(fields["statement"], re.DOTALL)
        by_language.update(dict.fromkeys(languages, _Rules(**fields)))
    return by_language
