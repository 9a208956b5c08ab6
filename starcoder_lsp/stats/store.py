"""The database of events: one SQLite file in the user's data folder, readable by the user alone.

It is in WAL mode, so that a process that is killed leaves a whole database, several servers write to it in turn, and a
report reads while they do.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from starcoder_lsp.stats.keys import Keys, load_keys

VERSION = 1
BUSY_TIMEOUT_S = 5.0
"""The time that a writer waits for another process' transaction, which takes milliseconds."""
DAY_MS = 86_400_000
SCHEMA = """
CREATE TABLE sessions (session INTEGER PRIMARY KEY, at_ms INTEGER, client TEXT, says_shown INTEGER DEFAULT 0);
CREATE TABLE suggestions (
    number INTEGER PRIMARY KEY, session INTEGER, answer INTEGER, alternative INTEGER, at_ms INTEGER,
    language TEXT, kind TEXT, model TEXT, model_hash TEXT, engine TEXT, settings TEXT,
    n_chars INTEGER, n_lines INTEGER, n_tokens INTEGER, latency_ms REAL, confidence REAL, cut_by TEXT,
    document TEXT, repository TEXT, features BLOB,
    shown_at_ms INTEGER, outcome TEXT, ended_at_ms INTEGER, accepted_at_ms INTEGER, n_accepted_chars INTEGER DEFAULT 0,
    waited_ms REAL);
CREATE INDEX suggestions_by_time ON suggestions (at_ms);
CREATE TABLE checks (number INTEGER, after_s INTEGER, share REAL, distance REAL, PRIMARY KEY (number, after_s));
CREATE TABLE fragments (number INTEGER, n_chars INTEGER, hash TEXT);
CREATE INDEX fragments_by_number ON fragments (number);
CREATE TABLE withheld (at_ms INTEGER, language TEXT, kind TEXT, model TEXT, settings TEXT, cut_by TEXT);
CREATE TABLE written (hour_ms INTEGER, language TEXT, n_chars INTEGER, PRIMARY KEY (hour_ms, language));
CREATE TABLE marks (repository TEXT, revision TEXT, at_ms INTEGER, verdict TEXT, is_clean INTEGER);
"""
"""`document`, `repository`, `revision` and `hash` are keyed hashes. No column has source text or a path."""


class NewerStoreError(Exception):
    """The database was written by a later version of this program."""


@frozen
class StorePaths:
    """The files of the record: `folder` is this user's alone."""

    folder: Path

    @property
    def database(self) -> Path:
        """The database of events."""
        return self.folder / "stats.sqlite3"

    @property
    def key(self) -> Path:
        """The file with the secret of the keyed hashes."""
        return self.folder / "stats.key"

    @property
    def gate(self) -> Path:
        """The file of the values that the gate has learnt on this machine."""
        return self.folder / "gate.json"

    def prepare(self) -> Keys:
        """Make the folder, and return the keys. Raises `OSError`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return load_keys(self.key)


def user_paths() -> StorePaths:
    """Return the paths of the record, in the platform's folder for a user's data."""
    import platformdirs

    return StorePaths(platformdirs.user_data_path("starcoder-lsp", appauthor=False))


def open_store(path: Path) -> sqlite3.Connection:
    """Open the database, or make it. Raises `sqlite3.Error`, `OSError`, and `NewerStoreError`."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))  # SQLite gives its other files the same mode
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            message = f"{path.name} is of a later version of starcoder-lsp"
            raise NewerStoreError(message)  # noqa: TRY301  the connection is closed below
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        if version < VERSION:
            _make_tables(connection)
        elif (found := connection.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(found)  # noqa: TRY301  as above
    except BaseException:
        connection.close()
        raise
    return connection


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables, unless another process has just made them."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] < VERSION:
            for statement in SCHEMA.strip().split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means that the file is damaged or no database; others, such as a full disk, may pass."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return type(error) is sqlite3.DatabaseError  # what `quick_check` found
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def set_aside(path: Path) -> Path:
    """Rename a damaged database and its WAL files; return the new name. Raises `OSError`."""
    aside = path.with_name(f"{path.stem}.damaged-{time.time_ns() // 1_000_000}{path.suffix}")
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    with suppress(FileNotFoundError):
        path.rename(aside)
    return aside


def forget_old(connection: sqlite3.Connection, now_ms: int, n_days: int, session: int) -> None:
    """Delete what is older than `n_days`. A session stays for as long as one of its suggestions.

    The age is that at the last record of an earlier session: a clock that jumps ahead deletes nothing at first.
    """
    query = "SELECT max(at_ms) FROM suggestions WHERE session <> ?"
    newest_ms = connection.execute(query, (session,)).fetchone()[0] or 0
    before_ms = min(now_ms, newest_ms) - n_days * DAY_MS
    old = "SELECT number FROM suggestions WHERE at_ms < ?"
    connection.execute("BEGIN IMMEDIATE")
    for table in ("checks", "fragments"):
        connection.execute(f"DELETE FROM {table} WHERE number IN ({old})", (before_ms,))  # noqa: S608  our own names
    for table in ("suggestions", "withheld", "marks"):
        connection.execute(f"DELETE FROM {table} WHERE at_ms < ?", (before_ms,))  # noqa: S608  our own names
    unused = "session NOT IN (SELECT session FROM suggestions)"
    connection.execute(f"DELETE FROM sessions WHERE at_ms < ? AND {unused}", (before_ms,))  # noqa: S608  as above
    connection.execute("DELETE FROM written WHERE hour_ms < ?", (before_ms,))
    connection.execute("COMMIT")
