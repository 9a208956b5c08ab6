"""The files of a workspace that the model may see.

The model may see a file unless git ignores it or the settings exclude it, its name or a key in it is that of a secret,
or it is outside of the workspace after links are followed. Callers ask for known paths. Nothing is searched, so the
size of a workspace does not matter.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

from attrs import frozen

from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.git_excludes import exclude_files
from starcoder_lsp.documents.globs import matches
from starcoder_lsp.documents.ignore_rules import IgnoreRules
from starcoder_lsp.documents.secrets import has_key, is_named_as_secret
from starcoder_lsp.documents.uris import path_of
from starcoder_lsp.lru import LruDict
from starcoder_lsp.regular_files import read_regular

MAX_FILE_BYTES: Final = 1024 * 1024
"""Larger files are never part of a prompt. Not measured."""
_MAX_IGNORE_BYTES: Final = 64 * 1024
"""A larger file of rules excludes everything: each pattern takes 0.1 ms once. The limit is not measured."""
_MAX_CACHED: Final = 128
"""The most files with their trees, real paths, and `.gitignore` rules cached, of each kind. Not measured."""


@frozen
class WorkspaceContext:
    """The other documents of a session, as plain immutable values.

    `open_documents` are most recently used first, and may contain the requesting one. `recent_edits` has
    `(uri, start_line, end_line)` of edited regions, newest first; lines count from 0, both inclusive.
    """

    root: Path | None = None
    open_documents: tuple[Snapshot, ...] = ()
    recent_edits: tuple[tuple[str, int, int], ...] = ()


@frozen(eq=False)
class _IgnoreRules:
    """The rules of one folder; `rules` is `None` if they exclude everything. Compared by identity."""

    rules: IgnoreRules | None

    def verdict(self, path: str) -> bool | None:
        """Return whether the path, relative to the rules' folder, is ignored; `None` if no pattern matches."""
        return self.rules.verdict(path) if self.rules is not None else True


_IGNORE_ALL: Final = _IgnoreRules(None)


def is_secret(snapshot: Snapshot, root: Path | None) -> bool:
    """Return whether a document of a workspace has the name of a file with secrets, or a key in its text."""
    path = path_of(snapshot.uri)
    top = root.as_posix().rstrip("/") + "/" if root is not None else ""
    return is_named_as_secret(path.removeprefix(top) if top else path) or has_key(snapshot.text.data)


@lru_cache(maxsize=4)
def workspace_at(root: Path | None) -> Workspace:
    """Return the workspace under `root`, the same object each time for its caches. On the background thread only."""
    return Workspace(root)


class Workspace:
    """The files under a root. Without a root the model may see open documents only."""

    def __init__(self, root: Path | None) -> None:
        named = [root.as_posix(), _real(root.as_posix())] if root is not None else []
        self._roots = [name.rstrip("/") for name in named]
        self._files: LruDict[str, tuple[tuple[int, ...], Snapshot | None]] = LruDict(_MAX_CACHED)
        self._real_paths: LruDict[str, tuple[tuple[int, ...], str]] = LruDict(_MAX_CACHED)
        self._rules: LruDict[str, tuple[dict[str, tuple[int, ...]], _IgnoreRules]] = LruDict(_MAX_CACHED)
        self._rules_by_folder: dict[str, _IgnoreRules | None] = {}

    def check_again(self) -> None:
        """Begin a request: within one, each folder's rules are checked for changes once."""
        self._rules_by_folder.clear()

    def root_of(self, path: str) -> str | None:
        """Return the spelling of the root that `path` begins with, without following links; `None` outside of it."""
        return next((root for root in self._roots if path.startswith(f"{root}/")), None)

    def name_of(self, path: str) -> str:
        """Return a file's name for the model: its path relative to the root, or its bare name outside of it."""
        root = self.root_of(path)
        return path.rpartition("/")[2] if root is None else path[len(root) + 1 :]

    def may_be_shown(self, path: str, disabled_globs: tuple[str, ...]) -> bool:
        """Return whether the model may see a file, by its path and by the path that it links to. It need not exist."""
        if not os.path.isabs(path):  # noqa: PTH117 -- as below. An unsaved document has no folder
            return not is_named_as_secret(path) and not _is_named(path, disabled_globs)
        try:
            real = self._real(path, os.stat(path))  # noqa: PTH116 -- 50 of these at each request
        except OSError:
            real = _real(path)
        except ValueError:  # a NUL
            return False
        return not any(self._is_excluded(name, disabled_globs) for name in {path, real})

    def read(self, path: str, disabled_globs: tuple[str, ...]) -> Snapshot | None:
        """Return a file that is not open as a document. It is read again when its time or size changes.

        Return `None` unless it is a readable, regular UTF-8 file of at most 1 MiB inside the root that the model may
        see.
        """
        try:
            status = os.stat(path)  # noqa: PTH116 -- as above
            is_file = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES
            is_inside = is_file and self.root_of(self._real(path, status)) is not None
            if not is_inside or not self.may_be_shown(path, disabled_globs):
                return None
            cached = self._files.use(path)
            if cached is None or cached[0] != _version(status):
                self._files[path] = cached = _version(status), _read_text(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path, or not UTF-8
            return None
        return cached[1]

    def _real(self, path: str, status: os.stat_result) -> str:
        """Return the path after links are followed; cached while the file is the same, since that takes 0.1 ms."""
        cached = self._real_paths.use(path)
        if cached is None or cached[0] != _version(status):
            self._real_paths[path] = cached = _version(status), _real(path)
        return cached[1]

    def _is_excluded(self, path: str, disabled_globs: tuple[str, ...]) -> bool:
        root = self.root_of(path)
        name = path if root is None else path[len(root) + 1 :]
        return is_named_as_secret(name) or _is_named(path, disabled_globs) or self._is_ignored(path, root)

    def _is_ignored(self, path: str, root: str | None) -> bool:
        top = _top_of(path.rpartition("/")[0] if root is None else root)
        parts = tuple(path[len(top) + 1 :].split("/"))
        folders = ("/".join((top, *parts[:depth])) for depth in range(len(parts)))
        return _is_ignored_by(parts, tuple(map(self._rules_of, folders)))

    def _rules_of(self, folder: str) -> _IgnoreRules | None:
        if folder not in self._rules_by_folder:
            self._rules_by_folder[folder] = self._read_rules_of(folder)
        return self._rules_by_folder[folder]

    def _read_rules_of(self, folder: str) -> _IgnoreRules | None:
        files: dict[str, tuple[int, ...]] = {}
        own = f"{folder}/.gitignore"
        for path in (*exclude_files(folder), own):
            try:
                status = os.stat(path)  # noqa: PTH116 -- as above
                if path == own or stat.S_ISREG(status.st_mode):  # a user may name `/dev/null`
                    files[path] = _version(status)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                return _IGNORE_ALL  # rules that cannot be read might exclude anything
        if not files:
            return None
        cached = self._rules.use(folder)
        if cached is None or cached[0] != files:
            self._rules[folder] = cached = files, _read_rules(folder, files)
        return cached[1]


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _read_text(path: str) -> Snapshot | None:
    data = read_regular(path, MAX_FILE_BYTES)
    if b"\0" in data or has_key(data):
        return None
    return Documents().open(Path(path).as_uri(), "", 0, data.decode("utf-8-sig"))  # editors leave the mark out, too


def _read_rules(folder: str, files: Iterable[str]) -> _IgnoreRules:
    """Read the rules of files, the weakest first, as those of one."""
    try:
        top = _top_of(folder)
        own = f"{folder}/.gitignore"  # which a clone may have as a link
        data = [read_regular(path, _MAX_IGNORE_BYTES, inside=top if path == own else None) for path in files]
        # If the file system ignores case, so do the rules. `git init` finds that out in the same way.
        ignores_case = os.path.lexists(f"{top}/.GiT")
        return _IgnoreRules(IgnoreRules.parse(*data, ignores_case=ignores_case))
    except (OSError, ValueError):
        return _IGNORE_ALL


def _real(path: str) -> str:
    return _slashed(os.path.realpath(path))  # in a loop of links, as far as it gets


def _slashed(path: str) -> str:
    return path.replace(os.sep, "/")


@lru_cache(maxsize=1024)
def _top_of(folder: str) -> str:
    """Return the top folder of the repository that a folder is in; without a repository, the folder itself."""
    top = folder
    while top:
        if os.path.lexists(f"{top}/.git"):
            return top
        top = top.rpartition("/")[0]
    return folder


@lru_cache(maxsize=4096)
def _is_named(path: str, globs: tuple[str, ...]) -> bool:
    return any(matches(path, glob) for glob in globs)


@lru_cache(maxsize=4096)
def _is_ignored_by(parts: tuple[str, ...], rules: tuple[_IgnoreRules | None, ...]) -> bool:
    """Return whether a path's `parts` are ignored by `rules`, those of each folder on the way, the top one first.

    As in git, the deepest rules win, and the last pattern in them. Everything in an ignored folder is ignored.
    """
    for end in range(1, len(parts) + 1):
        for depth in reversed(range(end)):
            rule = rules[depth]
            name = "/".join(parts[depth:end]) + ("/" if end < len(parts) else "")
            verdict = rule.verdict(name) if rule is not None else None
            if verdict is not None:
                break
        if verdict:
            return True
    return False
