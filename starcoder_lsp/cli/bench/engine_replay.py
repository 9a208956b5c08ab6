"""`bench replay --engine KIND=URL`: the trace on a running engine, then once more with prompts split at the cursor.

Both in one run, on the same edits. The prompt tokens are counted by the engine itself.
"""

from __future__ import annotations

from statistics import fmean
from typing import Any
from urllib.parse import quote

from attrs import evolve
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.engines import Counts, as_layer, counts_of
from starcoder_lsp.cli.bench.figures import Report, machine
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.pace import INTERRUPTED, Limits, run_interruptible, until_interrupted, watching
from starcoder_lsp.cli.bench.served import SETTINGS, replaying
from starcoder_lsp.cli.bench.split import SplitPrompts, evaluate
from starcoder_lsp.cli.bench.traces import Excerpt, Trace, edits_of, grouped, text_before
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.remote.opening import opened_remote, vocabulary_path
from starcoder_lsp.lsp.client import Answer
from starcoder_lsp.percentile import percentile
from starcoder_lsp.settings import Settings
from starcoder_lsp.settings_layers import SettingsLayer, read_settings

NOT_COUNTED = Counts()


def replay_on_engine(trace: Trace, first: int, limits: Limits, settings: Settings, output: Output) -> int:
    """Replay edits from number `first` on and report. `trace.name` is the document's.

    Prompts split at the cursor get as many edits as ours got within the limits.
    """
    text = text_before(trace, first)
    layer = {**SETTINGS, "engine": as_layer(settings.engine)}
    with watching(edits_of(trace, first, limits.n_items), limits, "replaying") as edits:
        ours = run_interruptible(_play(Excerpt(trace.name, text, edits), layer, settings))
    again = evolve(limits, n_items=max(1, len(ours)), seconds=None if limits.seconds is None else 3 * limits.seconds)
    with watching(edits_of(trace, first, again.n_items), again, "split at the cursor") as split_edits:
        split = run_interruptible(_split(Excerpt(trace.name, text, split_edits), layer, settings))
    report: Report = {
        "trace": trace.file_name,
        "as": trace.name,
        "first": first,
        "end": edits.end or split_edits.end,
        "machine": machine(),
        "engine": {"kind": settings.engine.kind, "url": settings.engine.url},
        "edits": {name: _figures(rows) for name, rows in grouped(ours).items()},
        "splitAtCursor": {
            name: {"evaluatedMean": round(fmean(rows), 2) if rows else None} for name, rows in grouped(split).items()
        },
    }
    typing, other = report["edits"]["typing"].get("evaluatedMean"), report["splitAtCursor"]["typing"]["evaluatedMean"]
    report["timesLessWhenTyping"] = round(other / typing, 1) if typing and other else None
    output.write(report, table_of)
    return INTERRUPTED if edits.is_interrupted or split_edits.is_interrupted else 0


async def _play(
    excerpt: Excerpt, layer: dict[str, Any], settings: Settings
) -> list[tuple[bool, tuple[Answer, Counts]]]:
    """Send the edits to the real server, and read the engine's counters after each answer."""
    rows = []
    async with replaying(excerpt, layer, vocabulary_path(settings)) as (client, uri):
        before = await _counts(settings)
        with until_interrupted():
            for edit in excerpt.edits:
                answer = await client.complete(uri, edit.line, edit.character, edit.changes)
                after = await _counts(settings)
                rows.append((edit.is_typing, (answer, after.since(before))))
                before = after
    return rows


async def _split(excerpt: Excerpt, layer: dict[str, Any], settings: Settings) -> list[tuple[bool, float]]:
    """Let the engine evaluate the same windows, split at the cursor."""
    merged, _problems = read_settings([SettingsLayer("the benchmark", layer, trusted=True)])
    rows = []
    try:
        async with opened_remote(evolve(merged, engine=settings.engine)) as engine:
            prompts = SplitPrompts(engine.prompts, merged, f"file:///{quote(excerpt.name)}")
            before = await _counts(settings)
            with until_interrupted():
                for edit in excerpt.edits:
                    await evaluate(engine, excerpt.name, prompts.after(edit))
                    after = await _counts(settings)
                    rows.append((edit.is_typing, float(after.since(before).n_evaluated)))
                    before = after
    except EngineError as error:
        raise CommandError(str(error)) from error
    return rows


async def _counts(settings: Settings) -> Counts:
    return await counts_of(settings.engine) or NOT_COUNTED


def _figures(rows: list[tuple[Answer, Counts]]) -> Report:
    if not rows:
        return {"edits": 0}
    overhead_ms = [answer.elapsed_ms - answer.evaluation_ms for answer, _ in rows]
    elapsed_ms = [answer.elapsed_ms for answer, _ in rows]
    return {
        "edits": len(rows),
        "shown": sum(bool(answer.text) for answer, _ in rows),
        "evaluatedMean": round(fmean(counts.n_evaluated for _, counts in rows), 2),
        "generatedMean": round(fmean(counts.n_generated for _, counts in rows), 2),
        "latencyMsP50": round(percentile(elapsed_ms, 0.5), 1),
        "latencyMsP95": round(percentile(elapsed_ms, 0.95), 1),
        "overheadMsP50": round(percentile(overhead_ms, 0.5), 2),
        "overheadMsP95": round(percentile(overhead_ms, 0.95), 2),
    }


def table_of(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    times = report["timesLessWhenTyping"]
    table = Table(
        title="Prompt tokens that the engine evaluated per edit, by its own count; ours, and split at the cursor",
        caption=f"{report['trace']} as {report['as']} from edit {report['first']:,}; {report['end'] or 'all edits'};"
        f" {report['engine']['kind']} at {report['engine']['url']}; "
        f"typing: {'unknown' if times is None else f'{times} times fewer'}",
        caption_justify="left",
    )
    for name in ("edits", "number", "with ghost text", "evaluated, mean", "split, mean", "written, mean"):
        table.add_column(name, justify="left" if name == "edits" else "right")
    for name in ("ms, p50", "ms, p95", "overhead ms, p50", "overhead ms, p95"):
        table.add_column(name, justify="right")
    keys = ("generatedMean", "latencyMsP50", "latencyMsP95", "overheadMsP50", "overheadMsP95")
    for name, row in report["edits"].items():
        split = report["splitAtCursor"][name]["evaluatedMean"]
        cells = (row["edits"], row.get("shown"), row.get("evaluatedMean"), split, *(row.get(key) for key in keys))
        table.add_row(name, *("" if cell is None else f"{cell:,}" for cell in cells))
    return table
