"""Holes: places in real files whose text is known, so that a suggestion can be compared with it.

There are four kinds: the rest of a line, the rest of a word and its line, a part inside a line with code behind it, and
the body of a block. Files of a folder are taken if the model may see them and their language is a programming language.
A file that is named on the command line is taken even if git ignores it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

from attrs import frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.place import is_folder, open_file, workspace_context_of
from starcoder_lsp.context.pinned import DOCSTRING
from starcoder_lsp.documents.documents import Documents, Snapshot, language_of
from starcoder_lsp.documents.languages import language_for
from starcoder_lsp.documents.text import Text
from starcoder_lsp.documents.workspace import Workspace, workspace_at
from starcoder_lsp.prompting import decline_reason
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.cursor_context import indent_width

REST_OF_LINE, MID_WORD, INSIDE_LINE, BLOCK = "rest of line", "mid-word", "inside line", "block"
MAX_FILES = 1000
"""The most files of a folder, drawn at random from larger ones."""
MAX_LINES = 200
"""The most lines of a file, drawn at random from longer ones: a generated file must not dominate a repository."""
MAX_LINE_BYTES = 200
"""Longer lines are generated code. Not measured."""
MAX_BODY_LINES = 10
MIN_TOKENS = 2
"""The fewest tokens of a line after its first: one is hidden and one stays."""
CLOSED_SHARE = 0.5
"""The share of holes inside brackets or quotes with the closing ones behind the cursor, as editors put them."""
BODY_BEGINS_BEHIND = {"indent": b":", "brace": b"{"}
VALUE_BEGINS_BEHIND = re.compile(rb"[=:(,\[]\s*\{\Z")
"""A brace that opens a value and not a block, in most languages."""
TOKEN = re.compile(r"\w+|[()\[\]{}\"'`]|[^\w\s()\[\]{}\"'`]+")
WORD = re.compile(r"[^\W\d]\w{2,}")
PAIRED = re.compile(r"(?P<quote>\"{3}|'{3}|\"|`|(?<![&<])')(?:\\.|(?!(?P=quote)).)*(?P=quote)|[()\[\]{}]")
"""A string on one line, or a bracket. A single quote behind `&` or `<` begins a lifetime, not a string."""
OPENER_OF = {")": "(", "]": "[", "}": "{"}


@frozen
class Source:
    """A file, and the folder in which the model may see other files."""

    root: Path | None
    path: Path
    snapshot: Snapshot


@frozen
class Hole:
    """A file with a part cut out: the model sees `before`, the cursor, `closed` and `after`.

    The complete file is `before`, `hidden` and `after`. `closed` are those brackets and quotes of `hidden` that an
    editor closed automatically when those in `before` were typed. `hidden` has no blanks at its end.
    """

    kind: str
    root: Path | None
    path: Path
    before: str
    hidden: str
    after: str
    closed: str = ""

    def snapshot(self, written: str) -> Snapshot:
        """Return the file with `written` in place of the hidden text."""
        return Documents().open(self.path.as_uri(), "", 1, self.before + written + self.after)


def read_sources(paths: Sequence[Path], settings: Settings, seed: int) -> list[Source]:
    """Return the files at `paths` and in their folders, each once. Raises `CommandError` for a path that is neither."""
    sources: dict[Path, Source] = {}
    roots: dict[Path, Path | None] = {}
    for path in paths:
        root = workspace_context_of(path).root
        if is_folder(path):
            roots |= dict.fromkeys(_files_in(path.resolve(), workspace_at(root), settings.disabled_globs), root)
            continue
        snapshot = open_file(path)
        if declined := decline_reason(snapshot, settings, root):
            message = f"{path}: {declined}"
            raise CommandError(message)
        sources[path.resolve()] = Source(root, path.resolve(), snapshot)
    chosen = Random(seed).sample(sorted(roots), min(MAX_FILES, len(roots)))  # noqa: S311  not a secret
    for path in sorted(chosen):
        read = workspace_at(roots[path]).read(str(path), settings.disabled_globs)
        if read is not None and not decline_reason(read, settings, roots[path]):
            sources.setdefault(path, Source(roots[path], path, read))
    return [source for _, source in sorted(sources.items())]


def _files_in(folder: Path, workspace: Workspace, disabled_globs: tuple[str, ...]) -> Iterator[Path]:
    """Yield files in languages with comments or definitions: no prose, no data."""
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if workspace.may_be_shown(f"{parent}/{name}/any", disabled_globs)]
        for path in (Path(parent, name) for name in names):
            language = language_for("", str(path))
            if language.line_comment or language.queries:
                yield path


def cut_holes(sources: Sequence[Source], n_holes: int, seed: int) -> list[Hole]:
    """Cut `n_holes`, a quarter of each kind as far as there are, in the order of the files."""
    rng = Random(seed)  # noqa: S311  not a secret
    places = []
    for source in sources:
        lines = code_lines(source.snapshot)
        places += [(source, line) for line in rng.sample(lines, min(MAX_LINES, len(lines)))]
    holes: list[Hole] = []
    for n_kinds_left, cut in ((4, _block), (3, _mid_word), (2, _inside_line), (1, rest_of_line)):
        rng.shuffle(places)
        tried = (cut(source, line, rng) for source, line in places)
        holes += islice((hole for hole in tried if hole is not None), (n_holes - len(holes)) // n_kinds_left)
    return sorted(holes, key=lambda hole: (hole.path, len(hole.before)))


def code_lines(file: Snapshot) -> list[int]:
    """Return the lines of a file that are code."""
    return [line for line in range(file.text.n_lines) if _is_code(file, line)]


def _is_code(file: Snapshot, line: int) -> bool:
    """Return whether a line is hand-written code: no comment, and no string at its start, which is mostly prose."""
    code = file.text.line_text(line).strip()
    marker = b" " + (language_of(file).line_comment or "\0").encode()
    return 1 < len(code) <= MAX_LINE_BYTES and marker not in b" " + code and not DOCSTRING.match(code)


def hide_rest(kind: str, source: Source, line: int, column: int, closed: str = "") -> Hole:
    """Return the hole that hides a line from `column` on, counted in characters."""
    return _hide(kind, source, line, (column, None), closed)


def _hide(kind: str, source: Source, line: int, columns: tuple[int, int | None], closed: str = "") -> Hole:
    data, (start, end) = source.snapshot.text.data, source.snapshot.text.line_span(line)
    code = data[start:end].decode()
    before, hidden = code[: columns[0]], code[slice(*columns)].rstrip()
    behind = "" if columns[1] is None else code[len(before + hidden) :]
    before, after = data[:start].decode() + before, behind + data[end:].decode()
    return Hole(kind, source.root, source.path, before, hidden, after, closed)


def closers(code: str, column: int) -> str:
    """Return the closers, behind `column` of a line, of the brackets and quotes open there; the innermost first."""
    found, open_at = "", list[int]()
    for match in PAIRED.finditer(code):
        sign = match["quote"] or match.group()
        if match["quote"]:
            start, end = match.start() + len(sign), match.end() - len(sign)
        elif sign not in OPENER_OF:
            open_at.append(match.start())
            continue
        elif open_at and code[open_at[-1]] == OPENER_OF[sign]:
            start, end = open_at.pop() + 1, match.start()
        else:
            continue
        found += sign if start <= column <= end else ""
    return found


def rest_of_line(source: Source, line: int, rng: Random) -> Hole | None:
    """Hide a line from the start of one of its words or signs on, but not all of it; `None` where that cannot be."""
    code = source.snapshot.text.line_text(line).decode()
    return _from_one_of(REST_OF_LINE, source, line, [match.start() for match in TOKEN.finditer(code)][1:], rng)


def _mid_word(source: Source, line: int, rng: Random) -> Hole | None:
    code = source.snapshot.text.line_text(line).decode()
    inside = [column for match in WORD.finditer(code) for column in range(match.start() + 1, match.end())]
    return _from_one_of(MID_WORD, source, line, inside, rng)


def _inside_line(source: Source, line: int, rng: Random) -> Hole | None:
    starts = [match.start() for match in TOKEN.finditer(source.snapshot.text.line_text(line).decode())][1:]
    if len(starts) < MIN_TOKENS or _is_prose(source.snapshot, line):
        return None
    first, end = sorted(rng.sample(starts, 2))
    return _hide(INSIDE_LINE, source, line, (first, end))


def _from_one_of(kind: str, source: Source, line: int, columns: Sequence[int], rng: Random) -> Hole | None:
    if not columns or _is_prose(source.snapshot, line):
        return None
    column = rng.choice(columns)
    is_closed = rng.random() < CLOSED_SHARE
    code = source.snapshot.text.line_text(line).decode()
    return hide_rest(kind, source, line, column, closers(code, column) if is_closed else "")


def _block(source: Source, line: int, _rng: Random) -> Hole | None:
    """Return the hole that hides a block's body, `None` if that begins with a comment or a docstring."""
    file, text = source.snapshot, source.snapshot.text
    header = text.line_text(line).rstrip()
    begins_block = header.endswith(BODY_BEGINS_BEHIND.get(language_of(file).blocks or "", b""))
    last = _last_line_of_body(text, line)
    if not begins_block or VALUE_BEGINS_BEHIND.search(header) or not line < last <= line + MAX_BODY_LINES:
        return None
    if not _is_code(file, line + 1) or any(_is_prose(file, below) for below in range(line, last + 1)):
        return None
    code = text.line_text(line + 1)
    data, end = text.data, text.line_span(last)[1]
    start = text.line_span(line + 1)[0] + len(code) - len(code.lstrip())
    before, hidden, after = data[:start].decode(), data[start:end].decode().rstrip(), data[end:].decode()
    return Hole(BLOCK, source.root, source.path, before, hidden, after)


def _last_line_of_body(text: Text, line: int) -> int:
    """Return the last line below `line` that is indented more, without a gap; an earlier one if that is too long."""
    last, indent = line, indent_width(text.line_text(line))
    for below in range(line + 1, text.n_lines):
        code = text.line_text(below)
        if code.strip():
            if indent_width(code) <= indent or last > line + MAX_BODY_LINES:
                break
            last = below
    return last


def _is_prose(file: Snapshot, line: int) -> bool:
    """Return whether a line is in a long string or comment, or begins a comment."""
    start = file.text.line_span(line)[0]
    code = file.text.line_text(line)
    first = start + len(code) - len(code.lstrip())
    tree = file.syntax.tree if file.syntax is not None else None
    node = tree.root_node.descendant_for_byte_range(first, first + 1) if tree is not None and code.strip() else None
    return node is not None and (node.start_byte < start or node.is_extra)
