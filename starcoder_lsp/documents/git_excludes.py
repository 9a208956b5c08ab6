"""Find the files besides `.gitignore` by which git ignores files: `.git/info/exclude` and the user's own.

Sources: `man gitignore`, `man gitrepository-layout` (a `.git` that is a file, `commondir`).
"""

from __future__ import annotations

import os
import subprocess
from functools import cache, lru_cache
from pathlib import Path
from typing import Final

from starcoder_lsp.regular_files import read_regular

_MAX_LINK_BYTES: Final = 4096
_GIT_TIMEOUT_S: Final = 2.0
"""The time for which git may look for a setting; it takes some milliseconds."""


@lru_cache(maxsize=1024)
def exclude_files(folder: str) -> tuple[str, ...]:
    """Return the paths of such files for a repository's top folder, the weaker one first; none for other folders.

    They need not exist.
    """
    if not os.path.lexists(f"{folder}/.git"):
        return ()
    users = users_exclude_file()
    return (*((users,) if users else ()), f"{_common_folder(folder)}/info/exclude")


def _common_folder(top: str) -> str:
    """Return the folder that holds a repository's `info`; a work tree and a submodule have a file that names it."""
    folder = Path(top, ".git")
    if os.path.isfile(folder):  # noqa: PTH113  `Path.is_file` raises where a link leads into a closed folder
        folder = _named_in(folder, "gitdir: ") or folder
        folder = _named_in(folder / "commondir") or folder
    return folder.as_posix()


def _named_in(file: Path, mark: str = "") -> Path | None:
    """Return the folder that a one-line file names behind `mark`, by a path that may begin at the file's folder."""
    try:
        line = os.fsdecode(read_regular(file, _MAX_LINK_BYTES)).rstrip("\r\n")
        return file.parent / line.removeprefix(mark) if line.startswith(mark) and "\0" not in line else None
    except (OSError, ValueError):
        return None


@cache
def users_exclude_file() -> str:
    """Return the path of the user's file for all repositories, git's `core.excludesFile`; empty if there is none.

    git is run outside of any repository, so none has a say in this. It is asked once a process.
    """
    try:
        found = subprocess.run(
            ["git", "config", "--includes", "--type=path", "--get", "core.excludesFile"],  # noqa: S607  the user's git
            cwd=Path.home().anchor,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
        if found.returncode == 0:
            return os.fsdecode(found.stdout).rstrip("\r\n")
    except (OSError, ValueError, RuntimeError, subprocess.SubprocessError):
        pass
    return f"{os.environ.get('XDG_CONFIG_HOME') or os.path.expanduser('~/.config')}/git/ignore"  # noqa: PTH111  never fails
