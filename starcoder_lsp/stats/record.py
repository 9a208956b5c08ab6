"""Read the database: answers, each with its outcome and checks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path

from attrs import field, frozen

from starcoder_lsp.stats.events import ACCEPTED, Conditions
from starcoder_lsp.stats.store import DAY_MS

ROWS = """SELECT s.answer, s.number, s.at_ms, s.language, s.kind, s.model, s.model_hash, s.engine, s.settings,
    s.n_accepted_chars, s.shown_at_ms IS NOT NULL, coalesce(e.says_shown, 0), coalesce(s.outcome, ''),
    s.accepted_at_ms, s.waited_ms, s.document, s.repository
    FROM suggestions s LEFT JOIN sessions e ON e.session = s.session ORDER BY s.answer, s.number"""


@frozen
class Check:
    """The result of a check, see `events.Checked`; `None` is unknown."""

    share: float | None
    distance: float | None


@frozen
class AnswerRecord:
    """One answer: the accepted alternative if there is one, otherwise the first.

    `is_shown` is valid only if `says_shown`: if the client reports which suggestions it shows.
    """

    number: int
    at_ms: int
    conditions: Conditions
    n_accepted_chars: int
    is_shown: bool
    says_shown: bool
    outcome: str
    accepted_at_ms: int | None
    waited_ms: float | None
    document: str
    repository: str
    checks: dict[int, Check] = field(factory=dict)
    """The checks, by seconds after the acceptance."""
    fragments: tuple[tuple[int, str], ...] = ()

    @property
    def is_accepted(self) -> bool:
        """Return whether all or part of it was accepted."""
        return self.outcome in ACCEPTED


@frozen
class Mark:
    """A verdict of tests on a commit; `is_clean` if nothing was changed since that commit."""

    revision: str
    at_ms: int
    is_pass: bool
    is_clean: bool


@frozen
class Record:
    """The recorded answers, without `n_impossible` ones that have a time in the future, from a clock that jumped."""

    answers: tuple[AnswerRecord, ...] = ()
    written: tuple[tuple[int, str, int], ...] = ()
    """Hour in milliseconds since 1970, language, characters."""
    withheld: tuple[tuple[int, str, str], ...] = ()
    """Time, language, and the filter that dropped it."""
    marks: tuple[Mark, ...] = ()
    n_impossible: int = 0


def read_record(path: Path, now_ms: int, since_ms: int = 0) -> Record:
    """Read the record since a time; an empty one if there is no database. Raises `sqlite3.Error`."""
    if not path.exists():
        return Record()
    with closing(sqlite3.connect(path, timeout=5.0)) as connection:
        connection.execute("PRAGMA query_only = 1")
        checks: dict[int, dict[int, Check]] = {}
        for number, after_s, share, distance in connection.execute("SELECT * FROM checks"):
            checks.setdefault(number, {})[after_s] = Check(share, distance)
        fragments: dict[int, list[tuple[int, str]]] = {}
        for number, n_chars, keyed in connection.execute("SELECT number, n_chars, hash FROM fragments"):
            fragments.setdefault(number, []).append((n_chars, keyed))
        everything = list(_answers(connection.execute(ROWS), checks, fragments))
        possible = [each for each in everything if each.at_ms <= now_ms + DAY_MS]
        written = connection.execute("SELECT hour_ms, language, n_chars FROM written").fetchall()
        withheld = connection.execute("SELECT at_ms, language, cut_by FROM withheld").fetchall()
        marks = connection.execute("SELECT revision, at_ms, verdict, is_clean FROM marks ORDER BY at_ms").fetchall()
    until_ms = now_ms + DAY_MS
    return Record(
        answers=tuple(each for each in possible if each.at_ms >= since_ms),
        written=tuple(row for row in written if since_ms <= row[0] <= until_ms),
        withheld=tuple(row for row in withheld if since_ms <= row[0] <= until_ms),
        marks=tuple(Mark(revision, at, verdict == "pass", bool(clean)) for revision, at, verdict, clean in marks),
        n_impossible=len(everything) - len(possible),
    )


def _answers(
    rows: Iterator[tuple[object, ...]] | sqlite3.Cursor,
    checks: dict[int, dict[int, Check]],
    fragments: dict[int, list[tuple[int, str]]],
) -> Iterator[AnswerRecord]:
    for _, group in groupby(rows, key=lambda row: row[0]):
        alternatives = [_answer(row, checks, fragments) for row in group]
        accepted = next((each for each in alternatives if each.is_accepted), alternatives[0])
        yield accepted


def _answer(
    row: tuple[object, ...], checks: dict[int, dict[int, Check]], fragments: dict[int, list[tuple[int, str]]]
) -> AnswerRecord:
    _, number, at_ms, language, kind, model, model_hash, engine, settings, *rest = row
    n_accepted, is_shown, says_shown, outcome, accepted_at_ms, waited_ms, document, repository = rest
    assert isinstance(number, int)  # noqa: S101  SQLite's own type
    return AnswerRecord(
        number=number,
        at_ms=at_ms,  # type: ignore[arg-type]  # as the schema says
        conditions=Conditions(*map(str, (language, kind, model, model_hash, engine, settings))),
        n_accepted_chars=n_accepted,  # type: ignore[arg-type]
        is_shown=bool(is_shown),
        says_shown=bool(says_shown),
        outcome=str(outcome),
        accepted_at_ms=accepted_at_ms,  # type: ignore[arg-type]
        waited_ms=waited_ms,  # type: ignore[arg-type]
        document=str(document),
        repository=str(repository),
        checks=checks.get(number, {}),
        fragments=tuple(fragments.get(number, ())),
    )
