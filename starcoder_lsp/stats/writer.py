"""Write events to the database, on a thread of its own: emitting an event never waits."""

from __future__ import annotations

import array
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from attrs import astuple, define, field

from starcoder_lsp.stats.events import (
    ACCEPTED,
    Checked,
    Ended,
    Event,
    Fragments,
    Offered,
    Shown,
    Started,
    Withheld,
    Written,
)
from starcoder_lsp.stats.store import NewerStoreError, StorePaths, forget_old, is_damage, open_store, set_aside

MAX_PENDING = 20_000
"""The most events that wait for a disk that cannot be written to; the oldest are dropped first."""
BATCH_S = 0.5
"""The time whose events share a transaction. A process that is killed loses at most these."""
RETRY_S = 30.0
"""The time after a failure at which the database is tried again. Not measured."""
HOUR_MS = 3_600_000
OFFERED = f"INSERT OR REPLACE INTO suggestions VALUES ({','.join('?' * 20)},NULL,NULL,NULL,NULL,0,NULL)"  # noqa: S608
ENDED = """UPDATE suggestions SET outcome = ?, ended_at_ms = ?, n_accepted_chars = max(n_accepted_chars, ?),
    accepted_at_ms = coalesce(accepted_at_ms, ?), waited_ms = coalesce(waited_ms, ?) WHERE number = ?"""
WRITTEN = """INSERT INTO written VALUES (?, ?, ?)
    ON CONFLICT (hour_ms, language) DO UPDATE SET n_chars = n_chars + excluded.n_chars"""


@define(eq=False)
class Writer:
    """Writes to the database in a folder from a thread of its own. `on_message` is called there, once for a cause."""

    paths: StorePaths
    n_days: int
    on_message: Callable[[str], None] = lambda _message: None
    on_events: Callable[[Iterable[Event]], None] = lambda _events: None
    """Called with all events on this thread: the gate learns from them."""
    _events: deque[Event] = field(factory=lambda: deque(maxlen=MAX_PENDING))
    _wake: threading.Event = field(factory=threading.Event)
    _hurry: threading.Event = field(factory=threading.Event)
    _idle: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None
    _connection: sqlite3.Connection | None = None
    _session: int = 0
    _reported: set[str] = field(factory=set)
    _is_closed: bool = False
    _is_refused: bool = False

    def start(self) -> None:
        """Start the thread. It ends with the process."""
        self._thread = threading.Thread(target=self._run, name="stats", daemon=True)
        self._thread.start()

    def emit(self, event: Event) -> None:
        """Take an event; returns at once."""
        if self._idle.is_set():  # each of these takes a lock, and most keystrokes emit two events
            self._idle.clear()
        self._events.append(event)
        if not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all events emitted so far are written; return whether they are. Not on the event loop."""
        self._hurry.set()
        self._wake.set()
        return self._idle.wait(timeout_s) and not self._events

    def close(self, timeout_s: float) -> bool:
        """Write the queued events and end the thread; return whether all were written. Not on the event loop."""
        self._is_closed = True
        is_written = self.flush(timeout_s)
        if self._thread is not None:
            self._thread.join(timeout_s)
        return is_written

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(BATCH_S)
            self._wake.clear()
            self._hurry.clear()
            was_closed = self._is_closed  # before the attempt: one that began earlier may have failed for want of room
            is_written = self._write_all()
            if not self._events and not self._wake.is_set():
                self._idle.set()
            if was_closed and not (is_written and self._events):
                break
            if not is_written:
                self._hurry.wait(RETRY_S)
                self._wake.set()
        self._idle.set()
        if self._connection is not None:
            self._connection.close()

    def _write_all(self) -> bool:
        """Write the pending events in one transaction; keep them if that fails."""
        batch = [self._events.popleft() for _ in range(len(self._events))]
        for _ in range(2):  # a damaged database is set aside, and the next one is new
            try:
                self._write(batch)
            except NewerStoreError as error:
                self._is_refused = True
                self._tell("newer", f"nothing is recorded: {error}")
            except sqlite3.Error as error:
                self._let_go()
                if is_damage(error) and self._renew():
                    continue
                self._tell("disk", f"the statistics cannot be written ({error}); suggestions go on")
                self._events.extendleft(reversed(batch))
                return False
            except OSError as error:
                self._tell("disk", f"the statistics cannot be written ({error.strerror}); suggestions go on")
                self._events.extendleft(reversed(batch))
                return False
            break
        self.on_events(batch)
        return True

    def _renew(self) -> bool:
        try:
            aside = set_aside(self.paths.database)
        except OSError:
            return False
        self._tell("damage", f"the database of statistics was damaged; it is now {aside.name}, and a new one begins")
        return True

    def _write(self, batch: Iterable[Event]) -> None:
        if self._is_refused:
            return
        if self._connection is None:
            self._connection = open_store(self.paths.database)
            self._connection.execute("PRAGMA wal_autocheckpoint = 200")
            forget_old(self._connection, time.time_ns() // 1_000_000, self.n_days, self._session)
        self._connection.execute("BEGIN IMMEDIATE")
        for event in batch:
            self._insert(partial(_execute, self._connection), event)
        self._connection.execute("COMMIT")

    def _insert(self, execute: Callable[..., object], event: Event) -> None:
        match event:
            case Started():
                self._session = event.session
                began = (event.session, event.at_ms, event.client)
                execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, 0)", began)
            case Offered():
                execute(OFFERED, self._row_of(event))
            case Shown():
                shown = "UPDATE suggestions SET shown_at_ms = coalesce(shown_at_ms, ?) WHERE number = ?"
                execute(shown, (event.at_ms, event.suggestion))
                execute("UPDATE sessions SET says_shown = 1 WHERE session = ? AND NOT says_shown", (self._session,))
            case Ended():
                accepted_at_ms = event.at_ms if event.outcome in ACCEPTED else None
                outcome = (event.outcome.value, event.at_ms, event.n_chars, accepted_at_ms)
                execute(ENDED, (*outcome, event.waited_ms, event.suggestion))
            case Fragments():
                for n_chars, keyed in event.lines:
                    execute("INSERT INTO fragments VALUES (?, ?, ?)", (event.suggestion, n_chars, keyed))
            case Checked():
                execute("INSERT OR REPLACE INTO checks VALUES (?, ?, ?, ?)", astuple(event))
            case Withheld():
                made = event.conditions
                row = (event.at_ms, made.language, made.kind, made.model, made.settings, event.by)
                execute("INSERT INTO withheld VALUES (?, ?, ?, ?, ?, ?)", row)
            case Written():
                execute(WRITTEN, (event.at_ms // HOUR_MS * HOUR_MS, event.language, event.n_chars))

    def _row_of(self, event: Offered) -> tuple[object, ...]:
        return (
            event.suggestion,
            self._session,
            event.answer,
            event.alternative,
            event.at_ms,
            *astuple(event.conditions),
            *astuple(event.measures),
            event.document,
            event.repository,
            array.array("f", event.features).tobytes(),
        )

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()  # which rolls back
        self._connection = None

    def _tell(self, cause: str, message: str) -> None:
        if cause not in self._reported:
            self._reported.add(cause)
            self.on_message(message)


def _execute(connection: sqlite3.Connection, statement: str, values: Iterable[object]) -> None:
    """Run a statement. SQLite takes UTF-8 only, and names of clients, languages and files may be no such text."""
    connection.execute(statement, [v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in values])
