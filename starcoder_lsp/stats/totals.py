"""Totals by week, language, kind, model and setting: the input of a report, and the values that a team exchanges.

They are sums, so the totals of several people can be added, and no single event can be read from them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from attrs import astuple, define, evolve, field, frozen

from starcoder_lsp.stats.events import CHECKS_S, MAX_KEPT_DISTANCE, REWRITE, Outcome
from starcoder_lsp.stats.moments import Moments
from starcoder_lsp.stats.record import AnswerRecord, Record

DIMENSIONS = ("week", "language", "kind", "model", "setting")
EDITED_AFTER_S, KEPT_AFTER_S = 120, 600


@frozen
class Cell:
    """The key that figures are split by. `week` is the ISO week in local time, as `2026-W48`."""

    week: str
    language: str
    kind: str
    model: str
    setting: str


@frozen
class DayCell:
    """A person's day, and the dimensions by which the keystrokes saved on it are split."""

    person: int
    day: str
    cell: Cell


@define(eq=True)
class Totals:
    """Sums of measures. `persons` is the number of people whose records are in them."""

    measures: dict[Cell, dict[str, Moments]] = field(factory=dict)
    saved: dict[DayCell, int] = field(factory=dict)
    """Keystrokes saved, of each day on which something was offered."""
    written: dict[tuple[str, str], int] = field(factory=dict)
    """Characters by week and language."""
    counts: dict[str, int] = field(factory=dict)
    """Counts without dimensions: unknown answers, marks of commits."""
    persons: int = 1

    def add(self, cell: Cell, name: str, moments: Moments) -> None:
        """Add to a measure."""
        if moments.n:
            here = self.measures.setdefault(cell, {})
            here[name] = here.get(name, Moments()) + moments

    def count(self, name: str, n: int = 1) -> None:
        """Add to a count."""
        self.counts[name] = self.counts.get(name, 0) + n

    def measure(self, name: str, wanted: Callable[[Cell], bool] = lambda _cell: True) -> Moments:
        """Return a measure over all cells that are wanted."""
        total = Moments()
        for cell, measures in self.measures.items():
            if name in measures and wanted(cell):
                total += measures[name]
        return total

    def saved_a_day(self, wanted: Callable[[Cell], bool] = lambda _cell: True) -> Moments:
        """Return the moments of the keystrokes saved in wanted cells, a value for each day and person."""
        days: dict[tuple[int, str], int] = defaultdict(int)
        for key, n_saved in self.saved.items():
            if wanted(key.cell):
                days[key.person, key.day] += n_saved
        return Moments.of(days.values())

    def written_chars(self, weeks: Callable[[str], bool], languages: Callable[[str], bool]) -> int:
        """Return the number of characters written in some weeks and languages."""
        return sum(n for (week, language), n in self.written.items() if weeks(week) and languages(language))

    def values_of(self, dimension: str) -> list[str]:
        """Return the values of a dimension, in order."""
        return sorted({getattr(cell, dimension) for cell in self.measures})


def totals_of(record: Record) -> Totals:
    """Return the totals of this machine's record, without rework, which needs the repositories."""
    totals = Totals()
    for answer in record.answers:
        cell, day = cell_of(answer), day_of(answer.at_ms)
        for name, value in measures_of(answer).items():
            totals.add(cell, name, Moments.of([value]))
        if answer.is_accepted and KEPT_AFTER_S not in answer.checks:
            totals.count("checks missing")
        key = DayCell(0, day, evolve(cell, week=week_of(answer.at_ms)))
        totals.saved[key] = totals.saved.get(key, 0) + saved_by(answer)
    for hour_ms, language, n_chars in record.written:
        where = (week_of(hour_ms), language)
        totals.written[where] = totals.written.get(where, 0) + n_chars
    for _, _, by in record.withheld:
        totals.count(f"withheld by {by}")
    totals.counts |= {"impossible times": record.n_impossible} if record.n_impossible else {}
    return totals


def measures_of(answer: AnswerRecord) -> dict[str, float]:
    """Return the values of one answer, by the name of the measure."""
    values: dict[str, float] = {}
    if not answer.says_shown or answer.conditions.kind.startswith(REWRITE):  # no client says that it shows a rewrite
        values["accepted of offered"] = answer.is_accepted
    elif answer.is_shown or answer.is_accepted:
        values["accepted of shown"] = answer.is_accepted
    values["typed through"] = answer.outcome == Outcome.TYPED
    if not answer.is_accepted:
        return values
    values["accepted characters"] = answer.n_accepted_chars
    for after_s in CHECKS_S:
        check = answer.checks.get(after_s)
        if check is not None and check.distance is not None and check.share is not None:
            values[f"kept after {after_s}"] = check.distance <= MAX_KEPT_DISTANCE
            values[f"distance after {after_s}"] = check.distance
            values[f"standing after {after_s}"] = check.share
            values[f"removed after {after_s}"] = check.share == 0
    if answer.waited_ms is not None and values.get(f"kept after {EDITED_AFTER_S}"):
        values["seconds to a kept rewrite"] = answer.waited_ms / 1000
    return values


def saved_by(answer: AnswerRecord) -> int:
    """Return keystrokes saved: accepted characters, less the accepting key and the characters edited in two minutes.

    Rewrites do not count: they replace text that was written before.
    """
    if not answer.is_accepted or answer.conditions.kind.startswith(REWRITE):
        return 0
    check = answer.checks.get(EDITED_AFTER_S)
    distance = check.distance if check is not None and check.distance is not None else 0.0
    return answer.n_accepted_chars - 1 - round(distance * answer.n_accepted_chars)


def cell_of(answer: AnswerRecord) -> Cell:
    """Return the cell of an answer."""
    made = answer.conditions
    model = f"{made.model} {made.model_hash[:6]}".strip()
    return Cell(week_of(answer.at_ms), made.language, made.kind, model, made.settings or "default")


def week_of(at_ms: int) -> str:
    """Return the ISO week of a time, in local time."""
    year, week, _ = _local(at_ms).isocalendar()
    return f"{year}-W{week:02}"


def day_of(at_ms: int) -> str:
    """Return the day of a time, in local time."""
    return _local(at_ms).date().isoformat()


def _local(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000).astimezone()


def merged(all_totals: Iterable[Totals]) -> Totals:
    """Return the sums of several people's totals."""
    total = Totals(persons=0)
    for each in all_totals:
        for cell, measures in each.measures.items():
            for name, moments in measures.items():
                total.add(cell, name, moments)
        for key, n_saved in each.saved.items():
            total.saved[evolve(key, person=total.persons + key.person)] = n_saved
        for where, n in each.written.items():
            total.written[where] = total.written.get(where, 0) + n
        for name, n in each.counts.items():
            total.count(name, n)
        total.persons += each.persons
    return total


def to_json(totals: Totals) -> dict[str, object]:
    """Return totals as JSON, for `stats export`."""
    return {
        "format": FORMAT,
        "persons": totals.persons,
        "cells": [
            {"cell": astuple(cell), "measures": {name: astuple(each) for name, each in measures.items()}}
            for cell, measures in totals.measures.items()
        ],
        "days": [
            {"person": key.person, "day": key.day, "cell": astuple(key.cell), "saved": n}
            for key, n in totals.saved.items()
        ],
        "written": [[week, language, n] for (week, language), n in totals.written.items()],
        "counts": totals.counts,
    }


FORMAT = "starcoder-lsp totals 1"


class TotalsError(ValueError):
    """A file holds no totals. The error's text is one plain line."""


def from_json(given: object) -> Totals:
    """Read what `to_json` wrote. Raises `TotalsError`."""
    try:
        return _read(given)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = "these are no totals that `starcoder-lsp stats export` wrote"
        raise TotalsError(message) from error


def _read(given: object) -> Totals:
    if not isinstance(given, Mapping) or given["format"] != FORMAT:
        raise ValueError
    totals = Totals(persons=int(given["persons"]))
    for row in given["cells"]:
        cell = Cell(*map(str, row["cell"]))
        for name, (n, total, squares) in row["measures"].items():
            totals.add(cell, str(name), Moments(int(n), float(total), float(squares)))
    for row in given["days"]:
        key = DayCell(int(row["person"]), str(row["day"]), Cell(*map(str, row["cell"])))
        totals.saved[key] = int(row["saved"])
    for week, language, n in given["written"]:
        totals.written[str(week), str(language)] = int(n)
    totals.counts = {str(name): int(n) for name, n in given["counts"].items()}
    return totals
