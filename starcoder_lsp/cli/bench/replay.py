"""`starcoder-lsp bench replay TRACE`: replay a recorded editing session, with a completion request after each edit.

The real server runs as a process of its own, without the user's settings. All prompt tokens that it evaluates between
two answers count, also those of prefill ahead of need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import evolve, frozen
from rich.table import Table

from starcoder_lsp.cli.bench.engines import with_engine
from starcoder_lsp.cli.bench.figures import Report, machine, model_file
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.pace import (
    INTERRUPTED,
    Limits,
    run_interruptible,
    until_interrupted,
    watching,
)
from starcoder_lsp.cli.bench.served import SETTINGS, replaying
from starcoder_lsp.cli.bench.traces import (
    Excerpt,
    check_range,
    document_name,
    edits_of,
    grouped,
    read_trace,
    text_before,
)
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.engine.model_file import ModelFile
from starcoder_lsp.lsp.client import Answer
from starcoder_lsp.percentile import percentile

COLUMNS = {
    "edits": "number",
    "shown": "with ghost text",
    "fromMemory": "no model call",
    "evaluatedMean": "evaluated, mean",
    "reusedMean": "reused, mean",
    "latencyMsP50": "ms, p50",
    "latencyMsP95": "ms, p95",
    "overheadMsP50": "overhead ms, p50",
    "overheadMsP95": "overhead ms, p95",
}
"""The figures of a group of edits, and their names in the table."""


@frozen
class Replayed:
    """The answers, each with whether its edit was typing; the peak resident set of server and host, and the counters.

    `agreeing` are the answers to keystrokes that typed the next character of the suggestion.
    """

    answers: tuple[tuple[bool, Answer], ...]
    agreeing: tuple[Answer, ...]
    peak_bytes: int | None
    metrics: dict[str, Any]


async def play(excerpt: Excerpt, model: Path, settings: Mapping[str, Any] = SETTINGS) -> Replayed:
    """Send the edits one by one, each with a completion request."""
    async with replaying(excerpt, settings, model) as (client, uri):
        answers, agreeing, suggested = [], [], ""
        with until_interrupted():
            for edit in excerpt.edits:
                answer = await client.complete(uri, edit.line, edit.character, edit.changes)
                answers.append((edit.is_typing, answer))
                if edit.is_typing and suggested and suggested.startswith(edit.changes[-1].text[:1]):
                    agreeing.append(answer)
                suggested = answer.text
        return Replayed(tuple(answers), tuple(agreeing), client.peak_memory_bytes(), await client.metrics())


def figures(answers: Sequence[Answer]) -> Report:
    """Return a row of the report: the cost of one group of edits."""
    if not answers:
        return {"edits": 0}
    elapsed_ms = [answer.elapsed_ms for answer in answers]
    overhead_ms = [answer.elapsed_ms - answer.evaluation_ms for answer in answers]
    return {
        "edits": len(answers),
        "shown": sum(bool(answer.text) for answer in answers),
        "fromMemory": sum(answer.is_from_memory for answer in answers),
        "evaluatedMean": round(fmean(answer.n_evaluated for answer in answers), 2),
        "reusedMean": round(fmean(answer.n_reused for answer in answers), 2),
        "latencyMsP50": round(percentile(elapsed_ms, 0.5), 1),
        "latencyMsP95": round(percentile(elapsed_ms, 0.95), 1),
        "overheadMsP50": round(percentile(overhead_ms, 0.5), 2),
        "overheadMsP95": round(percentile(overhead_ms, 0.95), 2),
    }


LIMITS = Limits(n_items=200, seconds=60.0)
"""The limits without `--edits` and `--seconds`.

With the demonstrator 200 edits take some ten seconds, with a 3B model on a CPU minutes.
"""


def replay(  # noqa: PLR0913  # one for each option of the command
    path: Path,
    *,
    name: str | None,
    first: int,
    n_edits: int | None,
    seconds: float | None,
    model: str | None,
    engine: str | None,
    **shown: Any,
) -> int:
    """Replay edits from number `first` on and write the report; `shown` is what `Output.of` takes.

    `name` sets the document's language.
    """
    output, limits = Output.of("replay", **shown), LIMITS.with_options(n_edits, seconds)
    trace = read_trace(path)
    name = document_name(trace, name)
    limits = evolve(limits, n_items=check_range(trace, path, first, limits.n_items))
    settings = configured(model)
    checked = model_file(settings)
    if engine is not None:
        from starcoder_lsp.cli.bench.engine_replay import replay_on_engine

        asked = with_engine(settings, engine, str(checked.path))
        return replay_on_engine(evolve(trace, name=name), first, limits, asked, output)
    with watching(edits_of(trace, first, limits.n_items), limits, "replaying") as edits:
        replayed = run_interruptible(play(Excerpt(name, text_before(trace, first), edits), checked.path))
    report = {
        "end": edits.end,
        **where_and_what(path, name, first, checked),
        "settings": SETTINGS,
        "edits": {
            name: figures(answers)
            for name, answers in {**grouped(replayed.answers), "agreeing": replayed.agreeing}.items()
        },
        "peakMemoryBytes": replayed.peak_bytes,
        "parkedDocuments": sum(document["where"] != "device" for document in replayed.metrics["documents"]),
    }
    output.write(report, table_of)
    return INTERRUPTED if edits.is_interrupted else 0


def table_of(report: Report) -> Table:
    """Return the report as a table: a row for each figure, a column for each group of edits."""
    peak, n_parked = report["peakMemoryBytes"], report["parkedDocuments"]
    table = Table(
        title="Prompt tokens evaluated per edit; time from the edit to the answer; of that, outside of llama.cpp",
        caption=f"{spelled(report)}; {report['end'] or 'all edits'}; 1,536 + 384 tokens of text, 16 new"
        f" tokens at most; peak memory"
        f" {'unknown' if peak is None else f'{peak / 2**20:,.0f} MiB'}; parked states at the end: {n_parked}",
        caption_justify="left",
    )
    table.add_column("edits")
    for name in report["edits"]:
        table.add_column(name, justify="right")
    for key, name in COLUMNS.items():
        table.add_row(name, *(f"{row[key]:,}" if key in row else "" for row in report["edits"].values()))
    return table


def where_and_what(path: Path, name: str, first: int, model: ModelFile) -> Report:
    """Return the trace, the document's name, the machine and the model of a report."""
    return {
        "trace": path.name,
        "as": name,
        "first": first,
        "machine": machine(),
        "model": {"name": model.name, "bytes": model.n_bytes},
    }


def spelled(report: Report) -> str:
    """Return the description as one line of text."""
    trace, cpu = f"{report['trace']} as {report['as']} from edit {report['first']:,}", report["machine"]
    return f"{trace}; {report['model']['name']}; {cpu['cpu']}, {cpu['cores']} cores"
