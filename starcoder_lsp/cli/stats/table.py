"""The report for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from starcoder_lsp.stats.questions import QUESTIONS, Figure
from starcoder_lsp.stats.report import Difference, Report
from starcoder_lsp.stats.words import spread_in_words, value_in_words

BARS = "▁▂▃▄▅▆▇█"
N_WEEKS = 12
"""The number of weeks in the trend."""


def sparkline(values: Sequence[float | None]) -> str:
    """Return a bar for each value between the least and the greatest; a blank where there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if value is None else BARS[round((value - low) * steps)] for value in values)


def tables_of(report: Report) -> Iterator[RenderableType]:
    """Yield the tables and texts of a report."""
    table = Table(title="Does it help?", title_justify="left", show_lines=False)
    for name in ("", "figure", "n", "spread", "weeks", "published, and what it does not say"):
        table.add_column(name, justify="right" if name in ("figure", "n") else "left", overflow="fold")
    for answered in report.answered:
        trend = sparkline([value for _, value in answered.trend][-N_WEEKS:])
        published = Text(answered.question.published)
        table.add_row(Text(answered.question.title, "bold"), "", "", "", trend, published)
        caution = Text(answered.question.caution, "dim")
        for number, figure in enumerate(answered.figures):
            cells = (value_in_words(figure), f"{figure.n:,}", spread_in_words(figure))
            is_last = number == len(answered.figures) - 1
            row = (f"  {figure.name}", *cells, "", caution if number == 0 else "")
            table.add_row(*row, end_section=is_last)
    yield table
    for dimension, values in report.splits.items():
        yield _split_table(dimension, values)
    for note in report.notes:
        yield Text(f"- {note}")
    for advice in report.advice:
        yield Text(f"! {advice}", "bold")


def _split_table(dimension: str, values: dict[str, list[Figure]]) -> Table:
    table = Table(title=f"by {dimension}", title_justify="left")
    table.add_column(dimension, overflow="fold")
    for question in QUESTIONS:
        table.add_column(question.key, justify="right")
    for value, figures in values.items():
        table.add_row(Text(value), *(f"{value_in_words(figure)}\nn {figure.n:,}" for figure in figures))
    return table


def comparison_table(names: Sequence[str], found: Sequence[Difference]) -> Table:
    """Return the table of `--compare`."""
    table = Table(title=f"{names[1]}, compared with {names[0]}", title_justify="left")
    for name in ("", *names, "difference, 95% interval"):
        table.add_column(name, justify="left" if not name else "right", overflow="fold")
    for each in found:
        sides = [f"{value_in_words(figure)}\nn {figure.n:,}" for figure in (each.first, each.second)]
        if each.difference is None or each.interval is None:
            shown = "not enough data"
        else:
            shown = value_in_words(each.first, each.difference, signed=True)
            low, high = (value_in_words(each.first, one, signed=True) for one in each.interval)
            shown = f"{shown} ({low} to {high})"
        table.add_row(each.question.title, *sides, shown)
    return table
