"""`starcoder-lsp bench compare TRACE --llama-server PATH --model FILE`: compare with llama.cpp's own server.

Both get the same edits, model file and number of threads. After each edit each writes one token; they take turns in
going first, and the other one is stopped meanwhile. As with a user's default settings, this server cuts a prompt at a
new place to what the machine evaluates in four seconds (`context.maxPrefillMs`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import Any

from attrs import evolve
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.bench.figures import Report, model_file
from starcoder_lsp.cli.bench.llama_server import Peer, Turn, arguments, ask, llama_server
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.pace import (
    INTERRUPTED,
    Limits,
    run_interruptible,
    until_interrupted,
    watching,
)
from starcoder_lsp.cli.bench.replay import spelled, where_and_what
from starcoder_lsp.cli.bench.served import SETTINGS, replaying
from starcoder_lsp.cli.bench.traces import (
    Edit,
    Excerpt,
    check_range,
    document_name,
    edits_of,
    grouped,
    read_trace,
    text_before,
)
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.engine.threads import default_n_threads
from starcoder_lsp.percentile import percentile


@contextmanager
def stopped(process_ids: Sequence[int]) -> Iterator[None]:
    """Stop processes inside the block: two servers at work at once would slow each other."""
    _signal(process_ids, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(process_ids, signal.SIGCONT)


def _signal(process_ids: Sequence[int], number: signal.Signals) -> None:
    for process_id in process_ids:
        with suppress(ProcessLookupError):
            os.kill(process_id, number)


async def play(
    excerpt: Excerpt, settings: Mapping[str, Any], model: Path, peer: Peer
) -> list[tuple[bool, tuple[Turn, Turn]]]:
    """Return for each edit whether it was typing, our turn, and the turn of llama-server."""
    turns = []
    async with replaying(excerpt, settings, model) as (client, uri):

        async def ours(edit: Edit) -> Turn:
            with stopped([peer.process.pid]):
                answer = await client.complete(uri, edit.line, edit.character, edit.changes)
            return Turn(answer.elapsed_ms, answer.n_evaluated, answer.n_reused)

        async def theirs(edit: Edit) -> Turn:
            with stopped(client.process_ids()):
                try:
                    return await asyncio.to_thread(ask, peer, edit)
                except asyncio.CancelledError:
                    peer.process.kill()  # or its thread would hold this process up until it has answered
                    raise

        with until_interrupted():
            for number, edit in enumerate(excerpt.edits):
                if number % 2:
                    second = await theirs(edit)
                    first = await ours(edit)
                else:
                    first = await ours(edit)
                    second = await theirs(edit)
                turns.append((edit.is_typing, (first, second)))
    return turns


def figures(pairs: Sequence[tuple[Turn, Turn]]) -> Report:
    """Return the figures of both servers for a group of edits, and the ratio of their medians."""
    if not pairs:
        return {"edits": 0}
    ours, theirs = zip(*pairs, strict=True)
    ratio = _median_ms(theirs) / _median_ms(ours)
    return {"edits": len(pairs), "ours": _row(ours), "llamaServer": _row(theirs), "ratioOfMedians": round(ratio, 1)}


def _row(turns: Sequence[Turn]) -> dict[str, float]:
    return {
        "firstTokenMsP50": round(_median_ms(turns), 1),
        "firstTokenMsP95": round(percentile([turn.elapsed_ms for turn in turns], 0.95), 1),
        "evaluatedMean": round(fmean(turn.n_evaluated for turn in turns), 2),
        "reusedMean": round(fmean(turn.n_reused for turn in turns), 2),
    }


def _median_ms(turns: Sequence[Turn]) -> float:
    return percentile([turn.elapsed_ms for turn in turns], 0.5)


LIMITS = Limits(n_items=40, seconds=180.0)
"""The limits without `--edits` and `--seconds`."""
MIN_BATCH = 64
TIMEOUT_MS = 120_000
"""The longest that the settings allow: llama-server has none, and a cold prompt of a 3B takes a minute and more."""


def compare(  # noqa: PLR0913  # one for each option of the command
    path: Path,
    *,
    name: str | None,
    llama_server_path: Path,
    n_batch: int,
    model: str,
    first: int,
    n_edits: int | None,
    seconds: float | None,
    **shown: Any,
) -> int:
    """Run both servers and write the report; `shown` is what `Output.of` takes.

    `name` sets the document's language, `n_batch` how much of the file llama-server's `/infill` shows the model.
    """
    output, limits = Output.of("compare", **shown), LIMITS.with_options(n_edits, seconds)
    if n_batch < MIN_BATCH:
        message = f"--batch {n_batch}: expected at least {MIN_BATCH}"
        raise CommandError(message)
    trace = read_trace(path)
    name = document_name(trace, name)
    limits = evolve(limits, n_items=check_range(trace, path, first, limits.n_items))
    checked = model_file(configured(model))
    n_threads = default_n_threads(checked.n_bytes)
    settings = SETTINGS | {
        "context": {name: value for name, value in SETTINGS["context"].items() if name != "maxPrefillMs"},
        "completion": {"maxTokens": 1, "timeoutMs": TIMEOUT_MS},
        "model": {"threads": n_threads},
    }
    command = arguments(llama_server_path, checked.path, n_threads, n_batch)
    edits_there = edits_of(trace, first, limits.n_items)
    with watching(edits_there, limits, "comparing") as edits, llama_server(command) as peer:
        turns = run_interruptible(play(Excerpt(name, text_before(trace, first), edits), settings, checked.path, peer))
    report = {
        **where_and_what(path, name, first, checked),
        "end": edits.end,
        "settings": settings,
        "llamaServer": command[3:],
        "edits": {name: figures(pairs) for name, pairs in grouped(turns).items()},
    }
    output.write(report, table_of)
    return INTERRUPTED if edits.is_interrupted else 0


def table_of(report: Report) -> Table:
    """Return the report as a table for a terminal."""
    n_threads = report["settings"]["model"]["threads"]
    table = Table(
        title="Time from the edit to the first token",
        caption=f"{spelled(report)}; {report['end'] or 'all edits'}; threads each: {n_threads};"
        f" llama-server {' '.join(report['llamaServer'])}",
        caption_justify="left",
    )
    table.add_column("edits")
    table.add_column("server")
    for name in ("number", "ms, p50", "ms, p95", "evaluated, mean", "reused, mean", "ratio of p50"):
        table.add_column(name, justify="right")
    for name, group in report["edits"].items():
        for key, server in (("ours", "starcoder-lsp"), ("llamaServer", "llama-server")):
            row = [f"{value:,}" for value in group.get(key, {}).values()] or [""] * 4
            ratio = f"{group['ratioOfMedians']:,}" if key == "llamaServer" and key in group else ""
            table.add_row(name, server, f"{group['edits']:,}", *row, ratio)
    return table
