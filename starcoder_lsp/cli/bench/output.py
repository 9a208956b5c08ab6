"""Write the report of a benchmark: JSON, or a table in Markdown that can be pasted into an issue.

A report can be saved, and a later one is compared with it figure by figure.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen
from rich.cells import cell_len
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.figures import Report

TableOf = Callable[[Report], Table]


@frozen
class Output:
    """The form of the report of the benchmark `kind`, the file to save it to, and the saved one to compare with."""

    kind: str
    as_json: bool = False
    save: Path | None = None
    before: Report | None = None

    @classmethod
    def of(cls, kind: str, *, as_json: bool, save: Path | None = None, against: Path | None = None) -> Output:
        """Check the files of `--save` and `--against` before anything is measured. Raises `CommandError`."""
        before = None if against is None else _read(against, kind)
        if save is not None:
            try:
                save.open("a").close()
            except OSError as error:
                message = f"{save}: {error.strerror or error}"
                raise CommandError(message) from error
        return cls(kind, as_json, save, before)

    def write(self, report: Report, table_of: TableOf) -> None:
        """Write the report to standard output, and save it.

        Raises `CommandError` if it cannot be compared with the saved one.
        """
        report = {"bench": self.kind, **report}
        if self.save is not None:
            self.save.write_text(json.dumps(report, indent=2) + "\n")
        if self.as_json:
            print(json.dumps(report if self.before is None else {**report, "against": self.before}, indent=2))
            return
        try:
            before = None if self.before is None else table_of(self.before)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            print(markdown(table_of(report)))  # what was measured for minutes
            message = f"the saved report is of another version of this program: {error!r}"
            raise CommandError(message) from error
        print(markdown(table_of(report), before))


def _read(path: Path, kind: str) -> Report:
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        message = f"{path}: {getattr(error, 'strerror', '') or 'no saved report: not JSON'}"
        raise CommandError(message) from error
    if not isinstance(report, dict) or report.get("bench") != kind:
        message = f"{path} is no saved report of bench {kind}"
        raise CommandError(message)
    return report


def markdown(table: Table, before: Table | None = None) -> str:
    """Return a table as Markdown, with title and caption. A figure that `before` has, too, shows the earlier value.

    The cells of columns that are justified to the left name a row.
    """
    headers = [str(column.header) for column in table.columns]
    are_figures = [column.justify == "right" for column in table.columns]
    earlier = {} if before is None else _cells(before)
    rows = []
    for row in _rows(table):
        name = _name(row, are_figures)
        was = (earlier.get((name, header), cell) for header, cell in zip(headers, row, strict=True))
        rows.append(
            [cell if cell == old else f"{cell} (was {old or 'none'})" for cell, old in zip(row, was, strict=True)]
        )
    widths = [max(3, *(cell_len(row[n]) for row in [headers, *rows])) for n in range(len(headers))]
    rule = [f"{'-' * (width - is_right)}{':' * is_right}" for width, is_right in zip(widths, are_figures, strict=True)]
    lines = [_line(row, widths, are_figures) for row in (headers, rule, *rows)]
    parts = [str(table.title or ""), "\n".join(lines), str(table.caption or "")]
    if before is not None:
        parts.append(f"before: {before.caption}")
    return "\n\n".join(part for part in parts if part)


def _line(cells: Sequence[str], widths: Sequence[int], are_right: Sequence[bool]) -> str:
    padded = []
    for cell, width, is_right in zip(cells, widths, are_right, strict=True):
        blank = " " * (width - cell_len(cell))
        padded.append(blank + cell if is_right else cell + blank)
    return f"| {' | '.join(padded)} |"


def _rows(table: Table) -> list[list[str]]:
    columns = [[str(cell).replace("|", "\\|") for cell in column.cells] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def _name(row: Sequence[str], are_figures: Sequence[bool]) -> tuple[str, ...]:
    return tuple(cell for cell, is_figure in zip(row, are_figures, strict=True) if not is_figure)


def _cells(table: Table) -> dict[tuple[tuple[str, ...], str], str]:
    """Return each figure by the name of its row and its column."""
    headers = [str(column.header) for column in table.columns]
    are_figures = [column.justify == "right" for column in table.columns]
    return {
        (_name(row, are_figures), header): cell
        for row in _rows(table)
        for header, cell, is_figure in zip(headers, row, are_figures, strict=True)
        if is_figure
    }
