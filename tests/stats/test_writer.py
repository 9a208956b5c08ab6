"""The database: no call waits for it, and it survives a kill, a full disk and damage."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from attrs import evolve

from starcoder_lsp.stats.events import (
    CHECKS_S,
    Checked,
    Conditions,
    Ended,
    Event,
    Fragments,
    Measures,
    Offered,
    Outcome,
    Shown,
    Started,
    Withheld,
    Written,
)
from starcoder_lsp.stats.keys import Keys
from starcoder_lsp.stats.record import Check, read_record
from starcoder_lsp.stats.store import DAY_MS, StorePaths, forget_old, open_store
from starcoder_lsp.stats.writer import Writer

NOW_MS = 1_790_000_000_000
MADE = Conditions("python", "rest of line", "a model", "0123", "local", "completion.multiline=never")
FLUSH_S = 60.0


def offered(number: int, at_ms: int = NOW_MS) -> Offered:
    return Offered(number, number, 1, at_ms, MADE, Measures(10, 1, 3, 20.0, -0.5, "whole_lines"), "file", "root")


@pytest.fixture
def paths(tmp_path: Path) -> StorePaths:
    paths = StorePaths(tmp_path / "data")
    paths.prepare()
    return paths


def written(paths: StorePaths, events: list[Event]) -> list[str]:
    """Write events, and return the messages to the user."""
    messages: list[str] = []
    writer = Writer(paths, 365, messages.append)
    writer.start()
    for event in events:
        writer.emit(event)
    assert writer.close(FLUSH_S)
    return messages


def test_each_event_is_in_the_record(paths: StorePaths) -> None:
    events: list[Event] = [
        Started(7, NOW_MS, "editor 1.0"),
        offered(1),
        Shown(1, NOW_MS + 5),
        Ended(1, NOW_MS + 10, Outcome.INFERRED, 10),
        Ended(1, NOW_MS + 12, Outcome.WHOLE, 10, 55.0),
        Fragments(1, ((10, "abcd"), (5, "ef01"))),
        *(Checked(1, after_s, 0.5, 0.25) for after_s in CHECKS_S[:2]),
        Checked(1, 300, None, None),
        Withheld(NOW_MS, MADE, "without_secrets"),
        Written(NOW_MS, "python", 100),
        Written(NOW_MS + 1, "python", 11),
    ]
    assert written(paths, events) == []
    record = read_record(paths.database, NOW_MS + DAY_MS)
    (answer,) = record.answers
    assert (answer.conditions, answer.outcome, answer.n_accepted_chars) == (MADE, "whole", 10)
    assert (answer.accepted_at_ms, answer.waited_ms) == (NOW_MS + 10, 55.0)
    assert (answer.is_shown, answer.says_shown) == (True, True)
    assert answer.checks == {30: Check(0.5, 0.25), 120: Check(0.5, 0.25), 300: Check(None, None)}
    assert answer.fragments == ((10, "abcd"), (5, "ef01"))
    assert [row[2] for row in record.written] == [111]
    assert record.withheld == ((NOW_MS, "python", "without_secrets"),)


@pytest.mark.parametrize(
    "event",
    [
        Started(7, NOW_MS, "editor \ud800"),
        Written(NOW_MS, "language \udc80", 3),
        Withheld(NOW_MS, evolve(MADE, settings="context.disabledGlobs=\udcff"), "filter"),
        evolve(offered(1), conditions=evolve(MADE, model="model \udcff.gguf")),
    ],
)
def test_names_that_are_no_utf_8_are_written(paths: StorePaths, event: Event) -> None:
    """A file's name may have any bytes, and a client may send half a surrogate pair."""
    assert written(paths, [event, offered(2)]) == []
    answers = read_record(paths.database, NOW_MS).answers
    assert answers[-1].number == 2
    assert all(each.conditions.model in ("a model", "model ?.gguf") for each in answers)


def test_the_files_are_accessible_by_the_user_only(paths: StorePaths) -> None:
    writer = Writer(paths, 365)
    writer.start()
    writer.emit(offered(1))
    assert writer.flush(FLUSH_S)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in paths.folder.iterdir()}
    assert writer.close(FLUSH_S)
    assert set(modes) >= {"stats.sqlite3", "stats.sqlite3-wal", "stats.key"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(paths.folder.stat().st_mode) == 0o700


def test_no_source_text_and_no_path_is_in_the_files(paths: StorePaths) -> None:
    keys = paths.prepare()
    text, path = "secret_name = compute(the_value)", "/home/user/project/file.py"
    event = Offered(1, 1, 1, NOW_MS, MADE, Measures(len(text), 1), keys.of(path), keys.of("/home/user/project"))
    written(paths, [event, Fragments(1, keys.fragments(text))])
    data = b"".join(each.read_bytes() for each in paths.folder.iterdir())
    for part in (b"secret", b"compute", b"project", b"file.py"):
        assert part not in data


def test_a_locked_database_blocks_no_caller(paths: StorePaths) -> None:
    written(paths, [Started(1, NOW_MS, "first")])
    with closing(sqlite3.connect(paths.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = Writer(paths, 365)
        writer.start()
        for number in range(1, 101):
            writer.emit(offered(number))  # returns, although the writer's thread waits
        assert other.execute("SELECT count(*) FROM suggestions").fetchone() == (0,)
        other.execute("COMMIT")
    assert writer.close(FLUSH_S)
    assert len(read_record(paths.database, NOW_MS).answers) == 100


CHILD = """
import resource, signal, sys
from pathlib import Path
from tests.stats.test_writer import FLUSH_S, StorePaths, Writer, offered

paths = StorePaths(Path(sys.argv[1]))
messages = []
writer = Writer(paths, 365, messages.append)
"""
KILLED = """
writer.start()
number = 0
while True:
    for _ in range(50):
        number += 1
        writer.emit(offered(number))
    assert writer.flush(FLUSH_S)
    print(number, flush=True)
"""
FULL = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))  # for the system, the disk is full there
writer.start()
number = 0
while not messages:
    number += 1
    writer.emit(offered(number))
    writer.flush(0.001)
for _ in range(100):
    number += 1
    writer.emit(offered(number))
    writer.flush(0.001)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert writer.close(FLUSH_S)
print(number, len(messages), messages[0])
"""


def child(code: str, paths: StorePaths) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD + code, str(paths.folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  our own program


def test_a_kill_keeps_all_flushed_events(paths: StorePaths) -> None:
    with child(KILLED, paths) as process:
        assert process.stdout is not None
        n_written = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.send_signal(signal.SIGKILL)
    with closing(open_store(paths.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert {each.number for each in read_record(paths.database, NOW_MS).answers} >= set(range(1, n_written + 1))
    assert written(paths, [offered(10**6)]) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_a_full_disk_is_one_message_and_loses_no_event(paths: StorePaths) -> None:
    with child(FULL, paths) as process:
        out, _ = process.communicate(timeout=100)
    n, n_messages, message = out.split(" ", 2)
    assert process.returncode == 0
    assert n_messages == "1"
    assert "suggestions go on" in message
    assert len(read_record(paths.database, NOW_MS).answers) == int(n)


@pytest.mark.parametrize("damage", ["no database", "torn", "empty"])
def test_a_damaged_database_is_renamed(paths: StorePaths, damage: str) -> None:
    written(paths, [offered(number) for number in range(1, 200)])
    data = paths.database.read_bytes()
    torn = data[: len(data) // 3] + b"\x17" * (len(data) // 3) + data[2 * len(data) // 3 :]
    paths.database.write_bytes({"no database": b"this is no database" * 99, "torn": torn, "empty": b""}[damage])
    messages = written(paths, [offered(1000), offered(1001)])
    aside = [path for path in paths.folder.iterdir() if "damaged" in path.name]
    assert [each.number for each in read_record(paths.database, NOW_MS).answers] == [1000, 1001]
    if damage == "empty":  # SQLite creates a database from an empty file
        assert (messages, aside) == ([], [])
    else:
        assert len(messages) == len(aside) == 1
        assert aside[0].name in messages[0]


def test_a_database_of_a_later_version_is_not_changed(paths: StorePaths) -> None:
    with closing(open_store(paths.database)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = paths.database.read_bytes()
    (message,) = written(paths, [offered(1), offered(2)])
    assert "later version" in message
    assert paths.database.read_bytes() == before


def test_a_folder_that_is_not_writable_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    messages: list[str] = []
    writer = Writer(StorePaths(tmp_path / "file" / "folder"), 365, messages.append)
    writer.start()
    for number in range(3):
        writer.emit(offered(number))
        writer.flush(0.01)
    assert not writer.close(2.0)
    assert len(messages) == 1


def test_old_events_are_deleted_but_not_after_a_jump_of_the_clock(paths: StorePaths) -> None:
    old, new = offered(1, NOW_MS - 100 * DAY_MS), offered(2)
    written(paths, [Started(1, NOW_MS, ""), old, new, *(Checked(n, 30, 1.0, 0.0) for n in (1, 2))])
    with closing(open_store(paths.database)) as connection:
        forget_old(connection, NOW_MS + 10_000 * DAY_MS, 365, session=2)
        assert connection.execute("SELECT count(*) FROM suggestions").fetchone() == (2,)
        forget_old(connection, NOW_MS, 30, session=2)
        assert connection.execute("SELECT number FROM suggestions").fetchall() == [(2,)]
        assert connection.execute("SELECT number FROM checks").fetchall() == [(2,)]


@pytest.mark.parametrize(
    ("began_days_ago", "offered_days_ago", "is_kept"), [(40, 20, True), (40, 31, False), (1, 1, True)]
)
def test_what_a_client_shows_is_known_as_long_as_its_suggestions(
    paths: StorePaths, began_days_ago: int, offered_days_ago: int, *, is_kept: bool
) -> None:
    written(paths, [Started(1, NOW_MS - began_days_ago * DAY_MS, ""), offered(1, NOW_MS - offered_days_ago * DAY_MS)])
    written(paths, [Started(1, NOW_MS, ""), Shown(1, NOW_MS), Started(2, NOW_MS, ""), offered(2)])
    with closing(open_store(paths.database)) as connection:
        forget_old(connection, NOW_MS, 30, session=3)
        n_sessions = connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
    says_shown = {each.number: each.says_shown for each in read_record(paths.database, NOW_MS).answers}
    assert says_shown == ({1: True, 2: False} if is_kept else {2: False})
    assert n_sessions == len(says_shown)


def test_times_in_the_future_are_left_out_and_counted(paths: StorePaths) -> None:
    written(paths, [offered(1), offered(2, NOW_MS + 40 * DAY_MS)])
    record = read_record(paths.database, NOW_MS)
    assert ([each.number for each in record.answers], record.n_impossible) == ([1], 1)


@pytest.mark.parametrize("damage", [None, b"", b"short"])
def test_sessions_that_start_at_once_have_one_key(tmp_path: Path, damage: bytes | None) -> None:
    n_sessions = 8
    with ThreadPoolExecutor(n_sessions) as pool:
        for number in range(60):
            paths = StorePaths(tmp_path / str(number))
            paths.folder.mkdir()
            if damage is not None:
                paths.key.write_bytes(damage)
            barrier = Barrier(n_sessions)

            def prepared(barrier: Barrier = barrier, paths: StorePaths = paths) -> Keys:
                barrier.wait()
                return paths.prepare()

            keys = {each.result() for each in [pool.submit(prepared) for _ in range(n_sessions)]}
            assert keys == {Keys(paths.key.read_bytes())}


def test_a_truncated_key_is_replaced(paths: StorePaths) -> None:
    paths.key.write_bytes(b"short")
    keys = paths.prepare()
    assert len(keys.secret) == 32
    assert paths.prepare() == keys
