"""The fate of accepted lines, as git's history shows it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from attrs import define

from starcoder_lsp.stats.events import Conditions, Ended, Event, Fragments, Measures, Offered, Outcome
from starcoder_lsp.stats.history import FileChange, read_history
from starcoder_lsp.stats.source import gather
from starcoder_lsp.stats.store import StorePaths
from starcoder_lsp.stats.totals import Totals
from starcoder_lsp.stats.writer import Writer

START_S = 1_790_000_000
WEEK_S = 604_800
MADE = Conditions("python", "rest of line")
ODD_NAMES = [
    "a b.py",
    'q"uote.py',
    "back\\slash.py",
    "tab\t name.py",
    "new\nline.py",
    "é.py",
    "-- a.py",
    "a => b.py",
    "\x7f.py",
]


@define
class Repository:
    """A repository whose commits are an hour apart."""

    root: Path
    n_commits: int = 0

    def git(self, *arguments: str) -> None:
        """Run git."""
        at = f"{START_S + 3600 * self.n_commits} +0000"
        env = os.environ | {"GIT_AUTHOR_DATE": at, "GIT_COMMITTER_DATE": at}
        command = ["git", "-C", str(self.root), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, env=env, check=True, capture_output=True)  # noqa: S603  our own

    def commit(self, files: dict[str, str | bytes]) -> None:
        """Write files and commit them."""
        for name, text in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(text.encode() if isinstance(text, str) else text)
        self.n_commits += 1
        self.git("add", "-A")
        self.git("commit", "-qm", "x")

    def changes(self) -> list[FileChange]:
        """Return what the commits changed, as it is read."""
        return [change for commit in read_history(self.root, START_S).commits for change in commit.files]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    made.root.mkdir()
    made.git("init", "-q", "-b", "main")
    return made


def totals_of_accepted(repository: Repository, accepted: dict[str, str], *folders: Path) -> Totals:
    """Return the totals of texts that were accepted in files after the first commit, two weeks later."""
    paths = StorePaths(repository.root.parent / "data")
    keys, at_ms = paths.prepare(), (START_S + 3600) * 1000 + 1
    events: list[Event] = []
    for number, (name, text) in enumerate(accepted.items(), 1):
        document = keys.of(str(repository.root / name))
        events += [
            Offered(number, number, 1, at_ms, MADE, Measures(len(text), 1), document, ""),
            Ended(number, at_ms, Outcome.WHOLE, len(text)),
            Fragments(number, keys.fragments(text)),
        ]
    writer = Writer(paths, 10_000)
    writer.start()
    for event in events:
        writer.emit(event)
    assert writer.close(60.0)
    gathered = gather(paths, folders or [repository.root], 0, (START_S + 2 * WEEK_S) * 1000)
    assert gathered.problems == ()
    return gathered.totals


def test_names_are_read_however_git_spells_them(repository: Repository) -> None:
    repository.commit(dict.fromkeys(ODD_NAMES, "first = 1\n"))
    repository.commit(dict.fromkeys(ODD_NAMES, "first = 1\nsecond = 2\n"))
    repository.git("mv", ODD_NAMES[1], "moved " + ODD_NAMES[1])
    repository.commit({})
    *changes, moved = repository.changes()
    assert sorted(change.path for change in changes) == sorted(2 * ODD_NAMES)
    assert (moved.path, moved.old_path) == ("moved " + ODD_NAMES[1], ODD_NAMES[1])


@pytest.mark.parametrize("data", [b"a\0b\n", b"\0\n\0commit 1 2\n", "ü = 1\n".encode("utf-16")])
def test_a_file_with_nul_bytes_does_not_end_a_commit(repository: Repository, data: bytes) -> None:
    """git takes a file for binary only if there is a NUL in its first 8,000 bytes, or not if attributes say so."""
    repository.commit({".gitattributes": "* diff\n", "a.txt": data, "b.py": "first = 1\n"})
    assert repository.changes()[-1].added == ["first = 1"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("diff.interHunkContext", "9"),
        ("diff.context", "9"),
        ("diff.noprefix", "true"),
        ("diff.mnemonicPrefix", "true"),
        ("diff.renames", "copies"),
        ("diff.external", "false"),
        ("diff.suppressBlankEmpty", "true"),
        ("color.ui", "always"),
        ("core.quotePath", "true"),
        ("format.pretty", "fuller"),
        ("log.showRoot", "false"),
    ],
)
def test_the_users_settings_of_git_change_nothing(repository: Repository, key: str, value: str) -> None:
    lines = [f"line {n}" if n % 5 else "" for n in range(30)]
    new = ["new" if n in (3, 8, 9, 16) else line for n, line in enumerate(lines) if n != 22]
    repository.commit({"a.py": "\n".join(lines), "é.py": "\n".join(lines)})
    repository.commit({"a.py": "\n".join(new), "é.py": "\n".join([*lines, "-- a/a.py", "++ b/a.py"])})
    repository.commit({"a.py": "\n".join(new[:-1]), "é.py": "\n".join(lines), "copy.py": "\n".join(new)})
    usual = repository.changes()
    repository.git("config", key, value)
    assert repository.changes() == usual
    assert len(usual) == 7


def test_a_commit_counts_once_however_many_folders_are_of_its_repository(repository: Repository) -> None:
    repository.commit({"a/x.py": "first = 1\n", "b/y.py": ""})
    repository.commit({"a/x.py": "first = 1\nsecond = 2\n"})
    (repository.root.parent / "link").symlink_to(repository.root)
    folders = (repository.root, repository.root / "a", repository.root / "b", repository.root.parent / "link")
    totals = totals_of_accepted(repository, {"a/x.py": "second = 2"}, *folders)
    assert totals.counts["assisted commits"] == 1
    assert totals.measure("changed within a week").n == 1


LONG = "word " * 100
REWORKED, CHANGED = "reworked before commit", "changed within a week"


@pytest.mark.parametrize(
    ("later", "reworked", "changed"),
    [
        (["short accepted\n"], [0.0], [0.0]),
        (["other\n"], [1.0], []),
        (["short accepted\n", "other\n"], [0.0], [1.0]),
        ([f"{LONG}accepted\n"], [], []),
        ([f"other\n{LONG}\n"], [], []),
        ([f"short accepted\n{LONG}\n"], [0.0], [0.0]),
        (["short accepted\n", f"{LONG} short accepted\n"], [0.0], []),
        (["short accepted\n", f"short accepted\n{LONG}\n"], [0.0], [0.0]),
    ],
)
def test_the_fate_of_text_that_may_be_in_a_long_line_is_unknown(
    repository: Repository, later: list[str], reworked: list[float], changed: list[float]
) -> None:
    repository.commit({"a.md": "first\n"})
    for text in later:
        repository.commit({"a.md": text})
    totals = totals_of_accepted(repository, {"a.md": "accepted"})
    for name, values in ((REWORKED, reworked), (CHANGED, changed)):
        found = totals.measure(name)
        assert (found.n, found.total) == (len(values), sum(values)), name
