"""`starcoder-lsp bench synthetic SIZE`: measure how fast this machine runs a model of StarCoder2's dimensions.

The weights are random (`engine/synthetic.py`). A host of its own measures, with the functions that serve requests, a
short step at a time. Whatever ends the run, what was measured before is reported.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import platformdirs
from attrs import define, evolve, field
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.cli.bench.figures import Report, machine
from starcoder_lsp.cli.bench.output import Output
from starcoder_lsp.cli.bench.pace import INTERRUPTED, Limits, run_interruptible, until_interrupted, watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.host.options import KV_SHARES
from starcoder_lsp.engine.loading import DEMONSTRATOR, Listeners, opened
from starcoder_lsp.engine.synthetic import synthetic_model
from starcoder_lsp.engine.synthetic_header import (
    N_CONTEXT_TRAIN,
    SHAPES,
    Shape,
)
from starcoder_lsp.percentile import percentile
from starcoder_lsp.settings import Settings

NOTE = "The weights are random, so the text would be noise; speed and memory do not depend on their values."
MIB = 1024 * 1024
N_DECODED = 64
"""The room for decoded tokens behind the prefill (`engine/local/measure.py`)."""
N_CELL_GROUP = 256
"""llama.cpp rounds a context's number of cells up to a multiple of this."""
N_PREFILLED = 128
"""Tokens of one step of the prefill: two seconds of a 3B model on two idle CPU cores."""
N_ROUND, N_ROUNDS, N_COPIES = 16, 12, 20
"""Tokens of a round of both decode loops; the numbers of rounds and of copies."""
MAX_BATCH = 8192
SECONDS = 60.0
PREFILL_SHARE = 0.6
"""The share of the time limit for prefills, so that a slow machine has time left for the other steps."""
Step = tuple[str, int]
"""A step of `Measurement`, with its number."""


@define
class Figures:
    """The results of the steps so far. `curve` has tokens and milliseconds of the prefill, by tokens of a batch."""

    about: dict[str, Any] = field(factory=dict)
    curve: dict[int, tuple[int, float]] = field(factory=dict)
    loop_ms: list[float] = field(factory=list)
    bare_ms: list[float] = field(factory=list)
    copies: dict[str, Any] = field(factory=dict)

    def add(self, step: Step, result: dict[str, Any]) -> None:
        """Add the result of a step."""
        what, n = step
        match what:
            case "open":
                self.about = result
            case "prefill":
                n_tokens, elapsed_ms = self.curve.get(self.about["batch"], (0, 0.0))
                self.curve[self.about["batch"]] = n_tokens + n, elapsed_ms + result["ms"]
            case "decode":
                self.loop_ms.append(result["loopMs"])
                self.bare_ms.append(result["bareMs"])
            case "copy":
                self.copies = {name: [*self.copies.get(name, []), *result[name]] for name in ("saveMs", "restoreMs")}
                self.copies |= {name: result[name] for name in ("stateBytes", "residentBytes")}


def synthetic(  # one for each option of the command
    size: str,
    *,
    vocabulary: Path | None,
    n_tokens: int,
    batches: str,
    seconds: float | None,
    **shown: Any,
) -> int:
    """Write the model file if missing, measure, and write the report; `shown` is what `Output.of` takes.

    `n_tokens` is cut to the model's context. `batches` are numbers of tokens with commas between them: the prefill is
    measured in batches of each, a curve; empty for the server's own.
    """
    output, limits = Output.of("synthetic", **shown), Limits(0, SECONDS).with_options(None, seconds)
    if size not in SHAPES:
        message = f"{size!r}: expected one of {', '.join(SHAPES)}"
        raise CommandError(message)
    if n_tokens < 1:
        message = f"{n_tokens} tokens cannot be measured; at least one is needed"
        raise CommandError(message)
    n_tokens = min(n_tokens, N_CONTEXT_TRAIN - N_DECODED)
    sizes = _sizes(batches)
    n_steps = sum(1 for _ in steps_of(n_tokens, sizes, lambda: 0.0))
    folder = platformdirs.user_cache_path("starcoder-lsp", appauthor=False) / "synthetic"
    n_context = -(-(n_tokens + N_DECODED) // N_CELL_GROUP) * N_CELL_GROUP
    try:
        path = _written(size, SHAPES[size], vocabulary or DEMONSTRATOR, folder)
        settings = configured(str(path))
        settings = evolve(settings, model=evolve(settings.model, context_length=n_context))
        none: Iterable[Step] = ()
        with watching(none, evolve(limits, n_items=n_steps), "measuring") as watched:
            watched.items = steps_of(n_tokens, sizes, lambda: watched.used_share)
            figures, about = run_interruptible(_run(settings, watched))
    except EngineError as error:
        raise CommandError(str(error)) from error
    n_kv_bytes = int(n_context * SHAPES[size].n_kv_bytes * KV_SHARES[settings.cache.type])
    report = {"size": size, "note": NOTE, "end": watched.end, "vocabulary": str(vocabulary or DEMONSTRATOR), **about}
    output.write(report | _report(figures, n_kv_bytes, about["modelBytes"]), table_of)
    return INTERRUPTED if watched.is_interrupted else 0


def _sizes(batches: str) -> list[int]:
    try:
        sizes = [int(each) for each in batches.split(",")] if batches else [0]
    except ValueError:
        sizes = [-1]
    if not all(0 <= each <= MAX_BATCH for each in sizes) or (batches and 0 in sizes):
        message = f"--batch {batches}: expected numbers from 1 to {MAX_BATCH:,} with commas between them"
        raise CommandError(message)
    return sizes


def steps_of(n_tokens: int, batches: Sequence[int], used_share: Callable[[], float]) -> Iterator[Step]:
    """Yield the steps: a prefill in batches of each size, then decoding and copies behind the last one.

    The prefills get `PREFILL_SHARE` of the time; `used_share` returns how much of it has passed.
    """
    for number, n_batch in enumerate(batches, 1):
        yield "open", n_batch
        n_each = max(N_PREFILLED, n_batch)
        for first in range(0, n_tokens, n_each):
            if first and used_share() >= PREFILL_SHARE * number / len(batches):
                break
            yield "prefill", min(n_each, n_tokens - first)
    # in turn, so that a run that is ended early has some of each
    for number in range(max(N_ROUNDS, N_COPIES)):
        yield "copy", 1
        if number < N_ROUNDS:
            yield "decode", N_ROUND


def _written(size: str, shape: Shape, vocabulary: Path, folder: Path) -> Path:
    """Return the model's file; a terminal on standard error shows a bar while it is written. Raises `EngineError`."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("writing the file", total=1)
        return synthetic_model(size, shape, vocabulary, folder, lambda share: progress.update(task, completed=share))


async def _run(settings: Settings, steps: Iterable[Step]) -> tuple[Figures, Report]:
    """Return the host's figures, and what is known of the model and the machine. Raises `EngineError`."""
    started, figures = time.perf_counter(), Figures()
    async with opened(settings, Listeners(on_message=warn)) as (prompts, engine):
        load_ms = (time.perf_counter() - started) * 1000
        with until_interrupted():
            for step in steps:
                figures.add(step, await engine.measure(*step))
    about = {"file": settings.model.path, "parameters": prompts.n_parameters, "modelBytes": prompts.n_bytes}
    return figures, {**about, "loadMs": round(load_ms)}


def _report(figures: Figures, n_kv_bytes: int, n_model_bytes: int) -> Report:
    """Return the figures; those that were not reached are missing."""
    report: Report = {
        "machine": {
            "cpu": machine()["cpu"],
            "threads": figures.about.get("threads"),
            "gpuLayers": figures.about.get("gpuLayers"),
            "llamaCppPython": version("llama-cpp-python"),
        },
        "prefill": [
            {
                "batch": n_batch,
                "tokens": n_tokens,
                "tokensPerSecond": round(1000 * n_tokens / elapsed_ms, 1),
                "msABatch": round(elapsed_ms / n_tokens * min(n_batch, n_tokens), 1),
            }
            for n_batch, (n_tokens, elapsed_ms) in figures.curve.items()
        ],
    }
    if figures.loop_ms:
        loop_ms, bare_ms = median(figures.loop_ms), median(figures.bare_ms)
        report["decode"] = {
            "tokensPerSecond": round(1000 * N_ROUND / loop_ms, 2),
            "bareTokensPerSecond": round(1000 * N_ROUND / bare_ms, 2),
            "ratio": round(bare_ms / loop_ms, 4),
            "tokens": N_ROUND,
            "rounds": len(figures.loop_ms),
        }
    if figures.copies:
        n_state_bytes, resident = figures.copies["stateBytes"], figures.copies["residentBytes"]
        report |= {
            "stateMiB": _mib(n_state_bytes),
            "parkMs": _percentiles(figures.copies["saveMs"]),
            "restoreMs": _percentiles(figures.copies["restoreMs"]),
            "memory": {
                "residentMiB": None if resident is None else _mib(resident),
                "weightsMiB": _mib(n_model_bytes),
                "kvMiB": _mib(n_kv_bytes),
                "parkedMiB": _mib(n_state_bytes),
                "beyondMiB": None if resident is None else _mib(resident - n_model_bytes - n_kv_bytes - n_state_bytes),
            },
        }
    return report


def table_of(report: Report) -> Table:
    """Return the figures as a table."""
    machine = report["machine"]
    gpu = f"{machine['gpuLayers']} layers on a GPU" if machine["gpuLayers"] else "no GPU"
    table = Table(
        title=f"StarCoder2 {report['size']}, {report['parameters']:,} parameters, random weights",
        caption=f"{machine['cpu']}, {machine['threads']} threads, {gpu}; llama-cpp-python {machine['llamaCppPython']};"
        f" {report['end'] or 'all steps'}. {NOTE}",
        caption_justify="left",
    )
    table.add_column("")
    table.add_column("value", justify="right")
    for name, value in rows_of(report):
        table.add_row(name, value)
    return table


def rows_of(report: Report) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table."""
    yield "load", f"{report['loadMs']} ms"
    for row in report["prefill"]:
        yield f"prefill, batches of {row['batch']:,}", f"{row['tokensPerSecond']} tokens/s"
        yield f"time of a batch of {row['batch']:,}", f"{row['msABatch']} ms"
    if report["prefill"]:
        yield "tokens of the prefill", f"{report['prefill'][-1]['tokens']:,}"
    if "decode" in report:
        decode = report["decode"]
        yield "decode behind them, generation loop", f"{decode['tokensPerSecond']} tokens/s"
        yield "decode behind them, llama_decode alone", f"{decode['bareTokensPerSecond']} tokens/s"
        yield "loop / alone", f"{decode['ratio']:.1%}"
    if "memory" in report:
        memory = report["memory"]
        for name in ("park", "restore"):
            times = report[f"{name}Ms"]
            yield f"{name} them", f"{times['p50']} ms p50, {times['p95']} ms p95"
        yield "parked state", f"{report['stateMiB']} MiB"
        yield (
            "weights + KV + parked",
            " + ".join(f"{memory[n]:.0f}" for n in ("weightsMiB", "kvMiB", "parkedMiB")) + " MiB",
        )
        if memory["residentMiB"] is not None:
            yield "resident set", f"{memory['residentMiB']:.0f} MiB"
            yield "of that beyond these", f"{memory['beyondMiB']:.0f} MiB"


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    return {"p50": round(percentile(times_ms, 0.5), 2), "p95": round(percentile(times_ms, 0.95), 2)}


def _mib(n_bytes: int) -> float:
    return round(n_bytes / MIB, 1)
