"""Read a git repository's history: the lines that each commit adds and removes, and the merge that brought it in."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from attrs import define, field, frozen

from starcoder_lsp.regular_files import read_regular

TIMEOUT_S = 120.0
MAX_FILE_BYTES = 16 * 1024 * 1024
"""A larger file of a work tree is not read. Not measured."""
LOG_FORMAT = "%x00%H %at %ct"
ESCAPED = re.compile(r"\\(?:([0-7]{3})|(.))")
ESCAPES = dict(zip("abtnvfr", "\a\b\t\n\v\f\r", strict=True))
MAINLINES = ("refs/remotes/origin/HEAD", "refs/heads/main", "refs/heads/master", "HEAD")


class RepositoryError(Exception):
    """There is no repository, or git cannot read it. The error's text is one plain line."""


@define
class FileChange:
    """One file in one commit. `old_path` differs if it was renamed."""

    path: str
    old_path: str
    added: list[str] = field(factory=list)
    removed: list[str] = field(factory=list)


@frozen
class Commit:
    """A commit that is not a merge. Times are seconds since 1970; a rebase changes only `committed_s`."""

    revision: str
    authored_s: int
    committed_s: int
    files: tuple[FileChange, ...]


@frozen
class History:
    """Commits, parents before children, and for those that came by a merge the merge's number.

    `root` is the work tree's folder; `mainline` has the commits that were made on the main branch itself.
    """

    root: Path
    commits: tuple[Commit, ...]
    merge_of: dict[str, str]
    mainline: frozenset[str]


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder and return what it writes. Raises `RepositoryError`."""
    command = ["git", "-C", str(folder), "-c", "core.quotePath=false", "-c", "core.fsmonitor=false", *arguments]
    env = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        ran = subprocess.run(command, capture_output=True, env=env, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except OSError as error:
        message = f"git cannot be run: {error.strerror}"
        raise RepositoryError(message) from error
    except subprocess.TimeoutExpired as error:
        message = f"git took more than {TIMEOUT_S:.0f} s in {folder}"
        raise RepositoryError(message) from error
    if ran.returncode:
        why = ran.stderr.decode("utf-8", "replace").strip().splitlines() or ["git failed"]
        message = f"{folder}: {why[-1].removeprefix('fatal: ')}"
        raise RepositoryError(message)
    return ran.stdout.decode("utf-8", "surrogateescape")


def root_of(folder: Path) -> Path:
    """Return the top folder of the work tree around a folder. Raises `RepositoryError`."""
    return Path(git(folder, "rev-parse", "--show-toplevel").removesuffix("\n"))


def read_history(root: Path, since_s: int) -> History:
    """Read the commits of all local branches since a time; `root` is from `root_of`. Raises `RepositoryError`."""
    if not git(root, "rev-list", "--all", "--max-count=1"):
        return History(root, (), {}, frozenset())
    shown = (
        "-p",
        "-U0",
        "-M",
        "--root",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--src-prefix=a/",
        "--dst-prefix=b/",
    )
    which = ("--branches", "HEAD", f"--since={since_s}")
    text = git(root, "log", "--reverse", "--topo-order", "--no-merges", f"--format={LOG_FORMAT}", *shown, *which)
    return History(root, tuple(_commits(text)), *_merges(root, since_s))


def _commits(text: str) -> Iterator[Commit]:
    for block in f"\n{text}".split("\n\0")[1:]:  # a NUL of a file stands behind a sign such as "+"
        head, _, diff = block.partition("\n")
        revision, authored, committed = head.split(" ")
        yield Commit(revision, int(authored), int(committed), tuple(_files(diff.split("\n"))))


def _files(lines: Sequence[str]) -> Iterator[FileChange]:
    """Read a diff. Lines of a file are counted, as they may look like headers."""
    change: FileChange | None = None
    n_removed = n_added = 0
    for line in lines:
        if change is not None and n_removed and line.startswith("-"):
            n_removed -= 1
            change.removed.append(line[1:])
        elif change is not None and n_added and line.startswith("+"):
            n_added -= 1
            change.added.append(line[1:])
        elif n_removed and n_added and line[:1] in ("", " "):  # between changes, with `diff.interHunkContext`
            n_removed, n_added = n_removed - 1, n_added - 1
        elif line.startswith("diff --git "):
            if change is not None:
                yield change
            change = FileChange("", "")
        elif change is not None and line.startswith("@@ "):
            n_removed, n_added = (_count(part) for part in line.split(" ")[1:3])
        elif change is not None:
            _read_header(line, change)
    if change is not None:
        yield change


def _read_header(line: str, change: FileChange) -> None:
    if line.startswith(("--- ", "rename from ")):
        change.old_path = _path(line)
    elif line.startswith(("+++ ", "rename to ")):
        change.path = _path(line)


def _path(line: str) -> str:
    """Return the path of a header; a deleted or new file has none on one side."""
    if line.startswith("rename"):
        return _unquoted(line.split(" ", 2)[2])
    name = _unquoted(line[4:].removesuffix("\t"))
    return "" if name == "/dev/null" else name[2:]


def _unquoted(name: str) -> str:
    """Return a name as it is; git quotes those with quotes, backslashes or control characters as C does."""
    if not name.startswith('"'):
        return name
    return ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else ESCAPES.get(found[2], found[2]), name[1:-1])


def _count(part: str) -> int:
    _, comma, n = part.partition(",")
    return int(n) if comma else 1


def _merges(root: Path, since_s: int) -> tuple[dict[str, str], frozenset[str]]:
    """Return which merge into the main branch brought a commit, and the commits made on it."""
    main = next((name for name in MAINLINES if _exists(root, name)), "HEAD")
    lines = git(root, "rev-list", "--first-parent", "--parents", f"--since={since_s}", "--reverse", main).splitlines()
    merge_of: dict[str, str] = {}
    mainline = set()
    for line in lines:
        revision, *parents = line.split()
        if len(parents) < 2:  # noqa: PLR2004  no merge
            mainline.add(revision)
        else:
            brought = git(root, "rev-list", f"{parents[0]}..{revision}").split()
            merge_of |= {each: revision for each in brought if each not in merge_of}
    return merge_of, frozenset(mainline)


def _exists(root: Path, name: str) -> bool:
    try:
        return bool(git(root, "rev-parse", "--verify", "--quiet", name))
    except RepositoryError:
        return False


def work_tree_lines(root: Path, paths: Iterable[str]) -> dict[str, list[str]]:
    """Return the lines of files in the work tree; none for a file that cannot be read."""
    found = {}
    for path in paths:
        try:
            data = read_regular(root / path, MAX_FILE_BYTES, inside=str(root))
            found[path] = data.decode("utf-8", "surrogateescape").splitlines()
        except (OSError, ValueError):
            found[path] = []
    return found
