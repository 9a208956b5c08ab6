"""Make totals from the database and the repositories, for the command line and for the server's page."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from attrs import frozen

from starcoder_lsp.stats.history import History, RepositoryError, read_history, root_of
from starcoder_lsp.stats.record import read_record
from starcoder_lsp.stats.rework import add_rework, histories_of
from starcoder_lsp.stats.store import StorePaths
from starcoder_lsp.stats.totals import Totals, totals_of


class StatsError(Exception):
    """The record cannot be read. The error's text is one plain line."""


@frozen
class Gathered:
    """The totals, and a plain line for each repository that could not be read."""

    totals: Totals
    problems: tuple[str, ...]


def gather(paths: StorePaths, folders: Iterable[Path], since_ms: int = 0, now_ms: int | None = None) -> Gathered:
    """Read the record since a time, and the rework in the repositories at `folders`. Raises `StatsError`."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    try:
        record = read_record(paths.database, now_ms, since_ms)
        keys = paths.prepare()
    except sqlite3.Error as error:
        message = f"{paths.database} cannot be read: {error}"
        raise StatsError(message) from error
    except OSError as error:
        message = f"{error.filename or paths.folder}: {error.strerror}"
        raise StatsError(message) from error
    totals = totals_of(record)
    histories: dict[Path, History] = {}
    problems = []
    for folder, since_s in histories_of(folders, record):
        try:
            root = root_of(folder)
            if root not in histories:  # several folders may be of one repository
                histories[root] = read_history(root, since_s)
        except RepositoryError as error:
            problems.append(str(error))
    add_rework(totals, record, tuple(histories.values()), keys, now_ms // 1000)
    return Gathered(totals, tuple(problems))


def is_repository(folder: Path) -> bool:
    """Return whether a folder is in a git work tree."""
    try:
        root_of(folder)
    except RepositoryError:
        return False
    return True
