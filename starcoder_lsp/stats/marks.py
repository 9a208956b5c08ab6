"""Marks: the results of tests on commits, as a CI or a git hook reports them."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from starcoder_lsp.stats.history import git, root_of
from starcoder_lsp.stats.source import StatsError
from starcoder_lsp.stats.store import NewerStoreError, StorePaths, open_store


def mark_tests(paths: StorePaths, folder: Path, *, is_pass: bool) -> bool:
    """Record the result of tests on the commit that is checked out; return whether it counts.

    It does not count if files were changed since that commit: the tests ran on another state. Raises `StatsError`, and
    `RepositoryError` if there is no commit.
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
