"""Positions on the command line: `FILE:LINE:COLUMN`, counted from 1, columns in characters."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from attrs import frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.documents.documents import MAX_BYTES, Documents, Snapshot
from starcoder_lsp.documents.workspace import WorkspaceContext

NUMBER = re.compile("[1-9][0-9]{0,8}")


@frozen
class Place:
    """A file and a position in it, counted from 0."""

    path: Path
    line: int
    character: int


def parse_place(text: str, *, with_column: bool) -> Place:
    """Parse a position. Raises `CommandError`."""
    n_numbers = 2 if with_column else 1
    name, *numbers = text.rsplit(":", n_numbers)
    if len(numbers) != n_numbers or not name or not all(map(NUMBER.fullmatch, numbers)):
        wanted = "FILE:LINE:COLUMN" if with_column else "FILE:LINE"
        message = f"{text!r}: expected {wanted}, counted from 1"
        raise CommandError(message)
    return Place(Path(name), int(numbers[0]) - 1, int(numbers[1]) - 1 if with_column else 0)


def workspace_context_of(path: Path) -> WorkspaceContext:
    """Return the workspace of a file or folder: its repository, or its folder if it is in no repository."""
    folder = path.resolve() if is_folder(path) else path.resolve().parent
    roots = (each for each in (folder, *folder.parents) if os.path.exists(each / ".git"))  # noqa: PTH110 -- as below
    return WorkspaceContext(next(roots, folder))


def is_folder(path: Path) -> bool:
    """Return whether a folder is there; false if that cannot be found out."""
    return os.path.isdir(path)  # noqa: PTH112 -- `Path.is_dir` raises without permission, and for a name too long


def open_file(path: Path) -> Snapshot:
    """Open a file as an editor does, without a byte order mark. Raises `CommandError`."""
    try:
        status = path.stat()
        problem = not_a_text_file(status.st_mode, status.st_size)
        text = "" if problem else path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problem = error.strerror or str(error)
    except UnicodeDecodeError:
        problem = "not a UTF-8 text file"
    if problem:
        message = f"{path}: {problem}"
        raise CommandError(message)
    return Documents().open(path.resolve().as_uri(), "", 1, text)


def not_a_text_file(mode: int, n_bytes: int) -> str:
    """Return why a file cannot be read as text, or an empty string."""
    if stat.S_ISDIR(mode):
        return "is a directory"
    if not stat.S_ISREG(mode):
        return "is not a file"
    return f"larger than {MAX_BYTES // 1024 // 1024} MiB" if n_bytes > MAX_BYTES else ""


def byte_at(place: Place, snapshot: Snapshot) -> int:
    """Return the position as a byte offset. Raises `CommandError` if the file has no such position."""
    text = snapshot.text
    if place.line >= text.n_lines:
        message = f"{place.path}: there is no line {place.line + 1}; the last one is {text.n_lines}"
        raise CommandError(message)
    cursor_byte = text.byte_at(place.line, place.character, "utf-32")
    _, last = text.position_of(text.line_span(place.line)[1], "utf-32")
    if place.character > last:
        message = f"{place.path}:{place.line + 1}: there is no column {place.character + 1}; the last one is {last + 1}"
        raise CommandError(message)
    return cursor_byte
