"""Which files beside the one being edited there are, and which of them may be shown to the model.

A file is shown only if neither `.gitignore` nor the settings exclude it, if its name is not that of a secret, and if
it is inside the workspace, links followed. Nothing is searched for here: who knows a path asks about it, so that the
size of a workspace does not matter.
"""

from __future__ import annotations

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import frozen

from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.globs import matches

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

T = TypeVar("T")

MAX_FILE_BYTES: Final = 1024 * 1024
_MAX_IGNORE_BYTES: Final = 64 * 1024  # 0.1 ms for each pattern, once
_N_REMEMBERED: Final = 128  # texts with their trees, and rules
_SECRETS: Final = (  # one glob
    "{.git,.env*,*.env,.envrc,.netrc,_netrc,.npmrc,.pypirc,.pgpass,.htpasswd,.git-credentials,credentials*,secret.*,"
    "secrets.*,.ssh,.aws,.gnupg,.kube,id_rsa*,id_dsa*,id_ecdsa*,id_ed25519*,*.pem,*.key,*.p12,*.pfx,*.p8,*.ppk,*.jks,"
    "*.keystore,*.kdbx,*.gpg,*.tfvars,*.tfstate*}"
)


@frozen
class WorkspaceContext:
    """What is known beside the document that asks, all of it plain and immutable.

    ``open_documents`` come newest used first, the asking one among them or not. ``recent_edits`` are
    ``(uri, start_line, end_line)`` of the latest edited regions, newest first; lines count from 0, both inclusive.
    """

    root: Path | None = None
    open_documents: tuple[Snapshot, ...] = ()
    recent_edits: tuple[tuple[str, int, int], ...] = ()


@frozen(eq=False)
class _Ignore:
    """The rules of one `.gitignore`, None for what excludes everything; compared by identity."""

    spec: GitIgnoreSpec | None

    def verdict(self, path: str) -> bool | None:
        """Whether a path below the rules' folder is ignored; None where they do not speak of it."""
        return self.spec.check_file(path).include if self.spec is not None else True


_EVERYTHING: Final = _Ignore(None)


@lru_cache(maxsize=4)
def workspace_at(root: Path | None) -> Workspace:
    """Return the workspace under `root`, the same one each time for what it remembers. For the model thread."""
    return Workspace(root)


class Workspace:
    """The files under a root; without a root there are none, and open documents alone may be shown."""

    def __init__(self, root: Path | None) -> None:
        """Look at nothing yet but what the root links to."""
        named = [root.as_posix(), _real(root.as_posix())] if root is not None else []
        self._roots = [name.rstrip("/") for name in named]
        self._files: dict[str, tuple[tuple[int, ...], Snapshot | None]] = {}
        self._real_paths: dict[str, tuple[tuple[int, ...], str]] = {}
        self._rules: dict[str, tuple[tuple[int, ...], _Ignore]] = {}
        self._looked_at: dict[str, _Ignore | None] = {}

    def check_again(self) -> None:
        """Begin a request: what the rules of a folder are is looked at once in each."""
        self._looked_at.clear()

    def root_of(self, path: str) -> str | None:
        """Return the root as `path` begins with it, links not followed; None for what is outside."""
        return next((root for root in self._roots if path.startswith(f"{root}/")), None)

    def name_of(self, path: str) -> str:
        """Return how the model reads of a file: relative to the root, or the bare name of a file outside of it."""
        root = self.root_of(path)
        return path.rpartition("/")[2] if root is None else path[len(root) + 1 :]

    def may_be_shown(self, path: str, disabled_globs: tuple[str, ...]) -> bool:
        """Whether neither a file's name nor that of what it links to is excluded. The file need not exist."""
        if not os.path.isabs(path):  # noqa: PTH117 -- as below. A document that is in no folder
            return not _is_named(path, (_SECRETS,)) and not _is_named(path, disabled_globs)
        try:
            real = self._real(path, os.stat(path))  # noqa: PTH116 -- 50 of these at each request
        except OSError:
            real = _real(path)
        except ValueError:  # a NUL
            return False
        return not any(self._is_excluded(name, disabled_globs) for name in {path, real})

    def read(self, path: str, disabled_globs: tuple[str, ...]) -> Snapshot | None:
        """Return a file as a document that nobody has open.

        None for what is not a readable regular file of UTF-8 text of at most 1 MiB inside the root that may be shown.
        A file is read again when its time or size changes.
        """
        try:
            status = os.stat(path)  # noqa: PTH116 -- as above
            is_file = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES
            is_inside = is_file and self.root_of(self._real(path, status)) is not None
            if not is_inside or not self.may_be_shown(path, disabled_globs):
                return None
            known = self._files.pop(path, None)
            if known is None or known[0] != _version(status):
                known = _version(status), _read_text(path)
        except (OSError, ValueError):  # ValueError: a NUL in the path, or no UTF-8
            return None
        _keep(self._files, path, known)
        return known[1]

    def _real(self, path: str, status: os.stat_result) -> str:
        """Follow links; 0.1 ms, spared where the path leads to the same file as before."""
        known = self._real_paths.pop(path, None)
        if known is None or known[0] != _version(status):
            known = _version(status), _real(path)
        _keep(self._real_paths, path, known)
        return known[1]

    def _is_excluded(self, path: str, disabled_globs: tuple[str, ...]) -> bool:
        root = self.root_of(path)
        name = path if root is None else path[len(root) + 1 :]
        return _is_named(name, (_SECRETS,)) or _is_named(path, disabled_globs) or self._is_ignored(path, root)

    def _is_ignored(self, path: str, root: str | None) -> bool:
        top = _top_of(path.rpartition("/")[0] if root is None else root)
        parts = tuple(path[len(top) + 1 :].split("/"))
        folders = ("/".join((top, *parts[:depth])) for depth in range(len(parts)))
        return _is_ignored_by(parts, tuple(map(self._rules_of, folders)))

    def _rules_of(self, folder: str) -> _Ignore | None:
        if folder not in self._looked_at:
            self._looked_at[folder] = self._look_for_rules(folder)
        return self._looked_at[folder]

    def _look_for_rules(self, folder: str) -> _Ignore | None:
        path = f"{folder}/.gitignore"
        try:
            status = os.stat(path)  # noqa: PTH116 -- as above
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return _EVERYTHING  # what cannot be read might exclude anything
        known = self._rules.pop(folder, None)
        if known is None or known[0] != _version(status):
            known = _version(status), _read_rules(path, status.st_size)
        _keep(self._rules, folder, known)
        return known[1]


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _keep(remembered: dict[str, T], path: str, value: T) -> None:
    """Remember as the newest, and forget the oldest where there are too many."""
    remembered[path] = value
    if len(remembered) > _N_REMEMBERED:
        del remembered[next(iter(remembered))]


def _read_text(path: str) -> Snapshot | None:
    with Path(path).open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if b"\0" in data or len(data) > MAX_FILE_BYTES:
        return None
    return Documents().open(Path(path).as_uri(), "", 0, data.decode())


def _read_rules(path: str, n_bytes: int) -> _Ignore:
    from pathspec import GitIgnoreSpec  # 20 ms that no start-up should pay

    if n_bytes > _MAX_IGNORE_BYTES:
        return _EVERYTHING
    try:
        lines = Path(path).read_text("utf-8", "surrogateescape").split("\n")
    except OSError:
        return _EVERYTHING

    def is_pattern(line: str) -> bool:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            return False
        return True

    return _Ignore(GitIgnoreSpec.from_lines(filter(is_pattern, lines)))


def _real(path: str) -> str:
    return _slashed(os.path.realpath(path))  # of a loop of links as much as there is


def _slashed(path: str) -> str:
    return path.replace(os.sep, "/")


@lru_cache(maxsize=1024)
def _top_of(folder: str) -> str:
    """Return the top folder of the repository that a folder is in, or else the folder itself."""
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
def _is_ignored_by(parts: tuple[str, ...], rules: tuple[_Ignore | None, ...]) -> bool:
    """Whether a path's `parts` are ignored by the rules of each folder on the way, the top one first.

    As in git: the deepest rules win, the last pattern in them; what is in an ignored folder is ignored.
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
