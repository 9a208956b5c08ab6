"""`FILE:LINE:COLUMN`, counted from 1, columns in characters."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from starcoder_lsp.cli import CommandError
from starcoder_lsp.documents.documents import Documents, Snapshot


@frozen
class Place:
    """A file and a place in it, counted from 0."""

    path: Path
    line: int
    character: int


def parse_place(spelled: str, *, with_column: bool) -> Place:
    """Read a place. Raises `CommandError`."""
    n_numbers = 2 if with_column else 1
    name, *numbers = spelled.rsplit(":", n_numbers)
    if len(numbers) != n_numbers or not name or not all(n.isdigit() and int(n) > 0 for n in numbers):
        wanted = "FILE:LINE:COLUMN" if with_column else "FILE:LINE"
        message = f"{spelled!r}: expected {wanted}, counted from 1"
        raise CommandError(message)
    return Place(Path(name), int(numbers[0]) - 1, int(numbers[1]) - 1 if with_column else 0)


def open_file(path: Path) -> Snapshot:
    """The file as an editor would open it. Raises `CommandError`."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise CommandError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not a UTF-8 text file"
        raise CommandError(message) from error
    return Documents().open(path.resolve().as_uri(), "", 1, text)
