"""`starcoder-lsp bench fleet TRACE --engine KIND=URL --users N`: a team of simulated users on one engine.

Two phases of the same length, on the same parts of the trace: users of ours, then users whose prompts are split at the
cursor. Evaluated and written tokens are the engine's own counts. All users run in this process, each with connections
of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import evolve
from rich.table import Table

from starcoder_lsp.cli import CommandError, coroutines
from starcoder_lsp.cli.bench.engines import Counts, counts_of, with_engine
from starcoder_lsp.cli.bench.figures import Report, machine, model_file
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.served import SETTINGS
from starcoder_lsp.cli.bench.traces import check_range, document_name, read_trace
from starcoder_lsp.cli.bench.users import Part, Tally, ours, parts_of, split_at_cursor
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.remote.client import RemoteEngine
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.opening import connect
from starcoder_lsp.percentile import percentile
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, read_settings

N_EDITS_A_MINUTE = 400
"""The edits provided for each user and minute; a fast typist makes 300."""
MIB = 1 << 20
User = Callable[[Part, RemoteEngine, Settings, float, Tally], Coroutine[Any, Any, None]]
COLUMNS = {
    "requests": "requests",
    "answered": "answered",
    "withoutModel": "of that without the engine",
    "failed": "failed",
    "lost": "lost",
    "evaluatedAUserSecond": "evaluated a user-second",
    "generatedAUserSecond": "written a user-second",
    "hitShare": "prompt tokens reused",
    "firstTokenMsP50": "first token ms, p50",
    "firstTokenMsP95": "first token ms, p95",
}


def fleet(  # noqa: PLR0913  # one for each option of the command
    path: Path,
    *,
    name: str | None,
    first: int,
    n_users: int,
    minutes: float,
    engine: str,
    model: str | None,
    **shown: Any,
) -> int:
    """Let `n_users` type for some minutes in each of the two ways, and report; 1 if a reply was lost.

    `shown` is what `Output.of` takes.
    """
    output = Output.of("fleet", **shown)
    if n_users < 1 or not 0 < minutes <= 24 * 60:
        message = "--users must be at least 1, and --minutes more than 0"
        raise CommandError(message)
    trace = read_trace(path)
    trace = evolve(trace, name=document_name(trace, name))
    n_edits = check_range(trace, path, first, max(1, int(minutes * N_EDITS_A_MINUTE)))
    own = configured(model)
    layer = {**SETTINGS, "debounce": {"mode": "fixed"}}
    merged, _problems = read_settings([SettingsLayer("the benchmark", layer, trusted=True)])
    settings = evolve(merged, engine=with_engine(own, engine, str(model_file(own).path)).engine)
    parts = list(parts_of(trace, first, n_users, n_edits))
    try:
        report = coroutines.run(_both(parts, settings, minutes * 60))
    except EngineError as error:
        raise CommandError(str(error)) from error
    report = {
        "trace": path.name,
        "as": trace.name,
        "first": first,
        "machine": machine(),
        "users": n_users,
        "minutes": minutes,
        **report,
    }
    output.write(report, table_of)
    return int(any(report[kind]["lost"] for kind in ("ours", "splitAtCursor")))


async def _both(parts: Sequence[Part], settings: Settings, seconds: float) -> Report:
    report: Report = {"engine": {"kind": settings.engine.kind, "url": settings.engine.url}}
    report["ours"] = await _phase(parts, settings, seconds, ours)
    report["splitAtCursor"] = await _phase(parts, settings, seconds, split_at_cursor)
    return report


async def _phase(parts: Sequence[Part], settings: Settings, seconds: float, user: User) -> Report:
    """Let all users type in one way."""
    prompts, shared = await connect(settings)
    engines = [RemoteEngine(Http(shared.http.endpoint), shared.adapter, prompts) for _ in parts]
    tally, before = Tally(), await counts_of(settings.engine)
    started = time.monotonic()
    resident = asyncio.ensure_future(_resident_bytes_after(seconds / 5))
    try:
        users = [
            user(part, each, settings, started + seconds, tally) for part, each in zip(parts, engines, strict=True)
        ]
        await asyncio.gather(*users)
        elapsed_s = time.monotonic() - started
        after = await counts_of(settings.engine)
        early, late = (await resident if resident.done() else None), _resident_bytes()
    finally:
        resident.cancel()
        for each in (shared, *engines):
            await each.close()
    counts = after.since(before) if after is not None and before is not None else None
    return {**_figures(tally, counts, elapsed_s * len(parts)), "growthMiB": _growth(early, late), "seconds": elapsed_s}


def _figures(tally: Tally, counts: Counts | None, user_seconds: float) -> Report:
    times_ms = tally.first_token_ms
    n_prompt = counts.n_evaluated + counts.n_reused if counts is not None else 0
    return {
        "requests": tally.requests,
        "answered": tally.answered,
        "withoutModel": tally.without_model,
        "superseded": tally.superseded,
        "failed": tally.failed,
        "lost": tally.lost,
        "evaluatedAUserSecond": round(counts.n_evaluated / user_seconds, 2) if counts is not None else None,
        "generatedAUserSecond": round(counts.n_generated / user_seconds, 2) if counts is not None else None,
        "hitShare": round(counts.n_reused / n_prompt, 4) if counts is not None and counts.n_reused else None,
        "firstTokenMsP50": round(percentile(times_ms, 0.5), 1) if times_ms else None,
        "firstTokenMsP95": round(percentile(times_ms, 0.95), 1) if times_ms else None,
    }


async def _resident_bytes_after(seconds: float) -> int | None:
    """Measure this process once all documents are open and windows chosen."""
    await asyncio.sleep(seconds)
    return _resident_bytes()


def _resident_bytes() -> int | None:
    with suppress(OSError, StopIteration, ValueError):
        rows = Path("/proc/self/status").read_text().splitlines()
        return int(next(row for row in rows if row.startswith("VmRSS")).split()[1]) * 1024
    return None


def _growth(early: int | None, late: int | None) -> float | None:
    return round((late - early) / MIB, 1) if early is not None and late is not None else None


def table_of(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    ours_row, split_row = report["ours"], report["splitAtCursor"]
    table = Table(
        title=f"{report['users']} users for {report['minutes']:g} minutes on {report['engine']['kind']}",
        caption=f"{report['trace']} as {report['as']} from edit {report['first']:,}; memory of all users grew by"
        f" {ours_row['growthMiB']} MiB in the last four fifths of the time",
        caption_justify="left",
    )
    for name in ("", "ours", "split at the cursor"):
        table.add_column(name, justify="right" if name else "left")
    for key, name in COLUMNS.items():
        table.add_row(name, *("unknown" if row[key] is None else f"{row[key]:,}" for row in (ours_row, split_row)))
    return table
