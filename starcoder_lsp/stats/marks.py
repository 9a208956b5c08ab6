"""Marks: how tests ended on a commit, as a CI or a git hook says."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from starcoder_lsp.stats.history import git, root_of
from starcoder_lsp.stats.source import StatsError
from starcoder_lsp.stats.store import NewerStoreError, StorePaths, open_store


def mark_tests(paths: StorePaths, folder: Path, *, is_pass: bool) -> bool:
    """Record a verdict on the commit that is checked out; return whether it counts.

    It does not where files of that commit were changed since: the tests ran on something else. Raises `StatsError`,
    and `RepositoryError` where there is no commit.
    """
    root = root_of(folder)
    revision = git(root, "rev-parse", "HEAD").strip()
    is_clean = not git(root, "status", "--porcelain", "--untracked-files=no").strip()
    try:
        keys = paths.prepare()
        with closing(open_store(paths.database)) as connection:
            row = (keys.of(str(root)), keys.of(revision), time.time_ns() // 1_000_000)
            verdict = "pass" if is_pass else "fail"
            connection.execute("INSERT INTO marks VALUES (?, ?, ?, ?, ?)", (*row, verdict, is_clean))
    except (sqlite3.Error, OSError, NewerStoreError) as error:
        message = f"the mark cannot be written: {error}"
        raise StatsError(message) from error
    return is_clean
