"""The report: every figure with its trend, the requested splits, and advice."""

from __future__ import annotations

import csv
import io
from typing import Any

from attrs import asdict, frozen

from starcoder_lsp.stats.moments import Z95
from starcoder_lsp.stats.questions import QUESTIONS, Figure, Question, Slice
from starcoder_lsp.stats.totals import DIMENSIONS, Totals

MIN_COMPARED = 20
"""With fewer values on one side, a difference is not shown: its interval would be a guess."""
MIN_ADVISED = 50
"""The fewest answers for advice against suggestions in a language or of a kind."""
BAD_ACCEPTANCE, BAD_KEPT = 0.10, 0.50
"""If the whole 95% interval is below, the report advises to turn suggestions off there. Not measured."""


@frozen
class Answered:
    """A question with its figures, and its first figure by week."""

    question: Question
    figures: list[Figure]
    trend: list[tuple[str, float | None]]


@frozen
class Report:
    """All answers; `splits` has the figures by value of a dimension, in the order of the questions."""

    answered: list[Answered]
    splits: dict[str, dict[str, list[Figure]]]
    advice: list[str]
    notes: list[str]


def report_of(totals: Totals, dimensions: tuple[str, ...] = DIMENSIONS) -> Report:
    """Return the report of some totals, split by `dimensions`."""
    answered = [
        Answered(
            question,
            question.answer(totals, Slice()),
            [(week, question.answer(totals, Slice({"week": week}))[0].value) for week in totals.values_of("week")],
        )
        for question in QUESTIONS
    ]
    splits = {
        dimension: {
            value: [question.answer(totals, Slice({dimension: value}))[0] for question in QUESTIONS]
            for value in totals.values_of(dimension)
        }
        for dimension in dimensions
    }
    return Report(answered, splits, _advice(totals), _notes(totals))


def _notes(totals: Totals) -> list[str]:
    """Return notes on unknown outcomes and on answers that were not shown."""
    words = {
        "checks missing": "{} accepted answers were not followed for 10 minutes, since the document or the editor was"
        " closed or the time is not over: unknown",
        "impossible times": "{} answers have a time in the future, from a clock that jumped: left out",
        "commit unknown": "{} accepted answers are in no commit of the repositories that were read: unknown",
        "assisted commits": "{} commits hold accepted text",
        "assisted commits with a mark": "{} of them have a mark of tests (starcoder-lsp stats mark)",
    }
    notes = [text.format(f"{totals.counts[name]:,}") for name, text in words.items() if totals.counts.get(name)]
    withheld = {
        name.removeprefix("withheld by "): n for name, n in totals.counts.items() if name.startswith("withheld")
    }
    if withheld:
        each = ", ".join(f"{name} {n:,}" for name, n in sorted(withheld.items(), key=lambda pair: -pair[1]))
        notes.append(f"withheld by filters: {each}")
    return notes


def _advice(totals: Totals) -> list[str]:
    """Return advice on suggestions to turn off, with the setting to paste."""
    advice = []
    languages = totals.values_of("language")
    bad = {each: why for each in languages if (why := _why_bad(totals, Slice({"language": each})))}
    others = ", ".join(f'"{each}"' for each in languages if each not in bad)
    for language, why in bad.items():
        setting = f"languages = [{others}]" if others else "enabled = false"
        advice.append(f"{language}: {why}. To switch suggestions off there: {setting}")
    if why := _why_bad(totals, Slice({"kind": "block"})):
        advice.append(f'suggestions of several lines: {why}. To have single lines only: completion.multiline = "never"')
    if why := _why_bad(totals, Slice()):
        advice.append(f'all in all: {why}. To get suggestions only when you ask: trigger = "invoked"')
    return advice


def _why_bad(totals: Totals, where: Slice) -> str:
    acceptance, kept = (question.answer(totals, where)[0] for question in (QUESTIONS[0], QUESTIONS[2]))
    for figure, limit, words in ((acceptance, BAD_ACCEPTANCE, "are accepted"), (kept, BAD_KEPT, "are kept")):
        if figure.n >= MIN_ADVISED and figure.interval is not None and figure.interval[1] < limit:
            return f"{figure.value:.0%} of {figure.n:,} {words}"
    return ""


@frozen
class Difference:
    """A figure on both sides, and `second - first` with its 95% interval; `None` where there is not enough data."""

    question: Question
    first: Figure
    second: Figure
    difference: float | None
    interval: tuple[float, float] | None


def compare(totals: Totals, first: Slice, second: Slice) -> list[Difference]:
    """Compare two parts of the totals, question by question (normal approximation, unequal variances)."""
    found = []
    for question in QUESTIONS:
        one, two = question.answer(totals, first)[0], question.answer(totals, second)[0]
        difference = interval = None
        enough = min(one.n, two.n) >= MIN_COMPARED and one.name == two.name
        if enough and None not in (one.value, two.value, one.deviation, two.deviation) and question.key != "characters":
            difference = (two.value or 0.0) - (one.value or 0.0)
            error = sum((each.deviation or 0.0) ** 2 / each.n for each in (one, two)) ** 0.5
            interval = (difference - Z95 * error, difference + Z95 * error)
        found.append(Difference(question, one, two, difference, interval))
    return found


def slice_named(totals: Totals, spelled: str) -> Slice | None:
    """Return the part that `DIMENSION=VALUE` or a value alone names; `None` if there is none."""
    dimension, _, value = spelled.partition("=")
    if dimension in DIMENSIONS and value in totals.values_of(dimension):
        return Slice({dimension: value})
    found = next((each for each in DIMENSIONS if spelled in totals.values_of(each)), None)
    return None if found is None else Slice({found: spelled})


def as_json(report: Report) -> dict[str, Any]:
    """Return the report for a program."""
    return {
        "questions": [
            {
                "key": one.question.key,
                "title": one.question.title,
                "published": one.question.published,
                "caution": one.question.caution,
                "figures": [asdict(figure) for figure in one.figures],
                "trend": [{"week": week, "value": value} for week, value in one.trend],
            }
            for one in report.answered
        ],
        "splits": {
            dimension: {value: [asdict(figure) for figure in figures] for value, figures in values.items()}
            for dimension, values in report.splits.items()
        },
        "advice": report.advice,
        "notes": report.notes,
    }


def as_csv(report: Report) -> str:
    """Return a row for each figure: first of everything, then of each split."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("split", "value of split", "figure", "value", "n", "of", "low", "high", "deviation", "unit"))
    for one in report.answered:
        rows.writerows(_row("", "", figure) for figure in one.figures)
    for dimension, values in report.splits.items():
        for value, figures in values.items():
            rows.writerows(_row(dimension, value, figure) for figure in figures)
    return text.getvalue()


def _row(dimension: str, value: str, figure: Figure) -> tuple[object, ...]:
    low, high = figure.interval or ("", "")
    numbers = ("" if one is None else one for one in (figure.value, figure.n, figure.of, low, high, figure.deviation))
    return (dimension, value, figure.name, *numbers, "share" if figure.is_share else figure.unit)
