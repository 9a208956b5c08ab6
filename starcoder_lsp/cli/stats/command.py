"""`starcoder-lsp stats`: the report, on a terminal, as a page, as JSON or as CSV."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.cli.complete import write_out
from starcoder_lsp.cli.page import report_console
from starcoder_lsp.cli.stats.table import comparison_table, tables_of
from starcoder_lsp.stats.page import page_of
from starcoder_lsp.stats.report import as_csv, as_json, compare, report_of, slice_named
from starcoder_lsp.stats.source import StatsError, gather, is_repository
from starcoder_lsp.stats.store import DAY_MS, user_paths
from starcoder_lsp.stats.totals import DIMENSIONS, Totals

DAYS_BACK = re.compile(r"(\d{1,4})d?")


def report(
    *,
    since: str | None,
    repositories: Sequence[Path] | None,
    by: str | None,
    compare: Sequence[str] | None,
    form: str,
) -> int:
    """Report on this machine's record."""
    write_report(totals_here(since, repositories), by=by, compared=compare, form=form)
    return 0


def totals_here(since: str | None, repositories: Sequence[Path] | None) -> Totals:
    """Read this machine's record and the repositories. Raises `CommandError`."""
    here = [Path.cwd()] if is_repository(Path.cwd()) else []
    try:
        gathered = gather(user_paths(), here if repositories is None else repositories, since_ms(since))
    except StatsError as error:
        raise CommandError(str(error)) from error
    for problem in gathered.problems:
        warn(f"{problem}; what became of text in it is unknown")
    return gathered.totals


def since_ms(spelled: str | None) -> int:
    """Return a time in milliseconds since 1970. Raises `CommandError`."""
    if spelled is None:
        return 0
    back = DAYS_BACK.fullmatch(spelled)
    if back is not None:
        return time.time_ns() // 1_000_000 - int(back[1]) * DAY_MS
    try:
        return int(datetime.fromisoformat(spelled).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        message = f"--since {spelled}: expected a day such as 2026-11-01, or so many days back, such as 30d"
        raise CommandError(message) from error


def write_report(totals: Totals, *, by: str | None, compared: Sequence[str] | None, form: str) -> None:
    """Write the report in one of its forms to standard output. Raises `CommandError`."""
    if compared is not None:
        _write_comparison(totals, compared, form)
        return
    dimensions = DIMENSIONS if form != "table" and by is None else tuple([by] if by else [])
    made = report_of(totals, dimensions)
    if form == "json":
        write_out(json.dumps(as_json(made) | {"persons": totals.persons}, indent=2))
    elif form == "csv":
        write_out(as_csv(made).rstrip("\n"))
    elif form == "html":
        write_out(page_of(made))
    else:
        for table in tables_of(made):
            report_console().print(table)


def _write_comparison(totals: Totals, compared: Sequence[str], form: str) -> None:
    sides = []
    for spelled in compared:
        side = slice_named(totals, spelled)
        if side is None:
            message = f"--compare {spelled}: nothing is recorded for that; `starcoder-lsp stats --by` shows what is"
            raise CommandError(message)
        sides.append(side)
    if form not in ("table", "json"):
        message = "--compare writes a table or --json"
        raise CommandError(message)
    found = compare(totals, *sides)
    if form == "json":
        rows = [
            {
                "key": each.question.key,
                "first": each.first.value,
                "firstN": each.first.n,
                "second": each.second.value,
                "secondN": each.second.n,
                "difference": each.difference,
                "interval": each.interval,
            }
            for each in found
        ]
        write_out(json.dumps(rows, indent=2))
    else:
        report_console().print(comparison_table(compared, found))
