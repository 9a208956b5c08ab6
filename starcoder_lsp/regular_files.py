"""Read files of a workspace safely: only regular files, and only up to a limited size.

A cloned repository may have a link to `/dev/zero` where a program expects a small file, or a FIFO without a writer.
Opening a FIFO waits, and a link to `/dev/stdin` would read the editor's messages.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

_FLAGS: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class UnfitFileError(OSError):
    """A path leads to no regular file, out of its folder, or to a file above the limit. The text says which."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read its bytes. Raises `UnfitFileError`, `OSError`, and `ValueError` for a NUL in a path.

    Any other file is not opened at all. If the path changes between check and opening, the file is closed unread.
    """
    _check(Path(path).stat())
    file = os.fdopen(os.open(path, _FLAGS | _NO_WAITING), "rb")
    try:
        _check(os.fstat(file.fileno()))
    except UnfitFileError:
        file.close()
        raise
    return file


def read_regular(path: str | os.PathLike[str], max_bytes: int, *, inside: str | None = None) -> bytes:
    """Return the bytes of a regular file of at most `max_bytes`; never reads more than one byte beyond that.

    With `inside`, links followed, the file must be below that folder. Raises as `open_regular` does.
    """
    if inside is not None and not is_inside(os.path.realpath(path), inside):
        message = "leads out of its folder"
        raise UnfitFileError(message)
    with open_regular(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        message = f"is larger than {max_bytes} bytes"
        raise UnfitFileError(message)
    return data


def is_inside(real_path: str, folder: str) -> bool:
    """Return whether a path without links is below a folder, which may be reached by links."""
    return Path(real_path).is_relative_to(os.path.realpath(folder))


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        message = "is no regular file"
        raise UnfitFileError(message)
