"""`starcoder-lsp bench synthetic SIZE`: how fast this machine runs a model of StarCoder2's dimensions.

The weights are random (`engine/synthetic.py`). A host of its own measures, with the functions that serve requests.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import platformdirs
from attrs import evolve
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from starcoder_lsp.cli import CommandError, warn
from starcoder_lsp.cli.bench.figures import Report, machine, write_report
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.loading import DEMONSTRATOR, Listeners, opened
from starcoder_lsp.engine.synthetic import synthetic_model
from starcoder_lsp.engine.synthetic_header import (
    N_CONTEXT_TRAIN,
    SHAPES,
    Shape,
)
from starcoder_lsp.settings import Settings

NOTE = "The weights are random, so the text would be noise; speed and memory do not depend on their values."
MIB = 1024 * 1024
N_DECODED = 64
"""Tokens that are decoded after the prefill (`engine/local/measure.py`)."""
N_CELL_GROUP = 256
"""llama.cpp rounds a context's number of cells up to a multiple of this."""

Advance = Callable[[float], None]
"""Called with the finished share of a stage, 0 to 1."""


def synthetic(size: str, *, vocabulary: Path | None, n_tokens: int, as_json: bool) -> int:
    """Write the model file if missing, measure, and write the report. `n_tokens` is cut to the model's context."""
    if size not in SHAPES:
        message = f"{size!r}: expected one of {', '.join(SHAPES)}"
        raise CommandError(message)
    if n_tokens < 1:
        message = f"{n_tokens} tokens cannot be measured; at least one is needed"
        raise CommandError(message)
    folder = platformdirs.user_cache_path("starcoder-lsp", appauthor=False) / "synthetic"
    try:
        figures = _measured(size, SHAPES[size], vocabulary or DEMONSTRATOR, folder, n_tokens)
    except EngineError as error:
        raise CommandError(str(error)) from error
    write_report(figures, table_of, as_json=as_json)
    return 0


def _measured(size: str, shape: Shape, vocabulary: Path, folder: Path, n_tokens: int) -> Report:
    """Return all figures. A terminal on standard error shows a bar for each stage. Raises `EngineError`."""
    n_tokens = min(n_tokens, N_CONTEXT_TRAIN - N_DECODED)
    n_context = -(-(n_tokens + N_DECODED) // N_CELL_GROUP) * N_CELL_GROUP
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:

        def bar(stage: str) -> Advance:
            task = progress.add_task(stage, total=1)
            return lambda share: progress.update(task, completed=share)

        path = synthetic_model(size, shape, vocabulary, folder, bar("writing the file"))
        settings = configured(str(path))
        settings = evolve(settings, model=evolve(settings.model, context_length=n_context))
        measured, load_ms, n_bytes, n_parameters = asyncio.run(_run(settings, n_tokens, bar("measuring")))
    n_kv_bytes, n_state_bytes = n_context * shape.n_kv_bytes, measured["stateBytes"]
    resident = measured["residentBytes"]
    return {
        "size": size,
        "note": NOTE,
        "file": str(path),
        "vocabulary": str(vocabulary),
        "parameters": n_parameters,
        "machine": {
            "cpu": machine()["cpu"],
            "threads": measured["threads"],
            "gpuLayers": measured["gpuLayers"],
            "llamaCppPython": version("llama-cpp-python"),
        },
        "tokens": n_tokens,
        "loadMs": round(load_ms),
        "prefill": {
            "tokensPerSecond": round(n_tokens / measured["prefillS"], 1),
            "seconds": round(measured["prefillS"], 2),
        },
        "decode": measured["decode"],
        "stateMiB": _mib(n_state_bytes),
        "parkMs": measured["parkMs"],
        "restoreMs": measured["restoreMs"],
        "memory": {
            "residentMiB": None if resident is None else _mib(resident),
            "weightsMiB": _mib(n_bytes),
            "kvMiB": _mib(n_kv_bytes),
            "parkedMiB": _mib(n_state_bytes),
            "beyondMiB": None if resident is None else _mib(resident - n_bytes - n_kv_bytes - n_state_bytes),
        },
    }


async def _run(settings: Settings, n_tokens: int, advance: Advance) -> tuple[dict[str, Any], float, int, int]:
    """Return the host's figures, the milliseconds of loading, and the model's bytes and parameters."""
    started = time.perf_counter()
    async with opened(settings, Listeners(on_message=warn)) as (prompts, engine):
        load_ms = _ms_since(started)
        advance(0.1)  # the host reports nothing before the end
        return await engine.measure(n_tokens), load_ms, prompts.n_bytes, prompts.n_parameters


def table_of(figures: Report) -> Table:
    """Return the figures as a table for a terminal."""
    machine, decode, memory = figures["machine"], figures["decode"], figures["memory"]
    gpu = f"{machine['gpuLayers']} layers on a GPU" if machine["gpuLayers"] else "no GPU"
    title = f"StarCoder2 {figures['size']}, {figures['parameters']:,} parameters, random weights"
    table = Table(title=title, caption=NOTE, caption_justify="left")
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_row("machine", f"{machine['cpu']}, {machine['threads']} threads, {gpu}")
    table.add_row("llama-cpp-python", machine["llamaCppPython"])
    table.add_row("load", f"{figures['loadMs']} ms")
    table.add_row(f"prefill of {figures['tokens']} tokens", f"{figures['prefill']['tokensPerSecond']} tokens/s")
    table.add_row("decode behind them, generation loop", f"{decode['tokensPerSecond']} tokens/s")
    table.add_row("decode behind them, llama_decode alone", f"{decode['bareTokensPerSecond']} tokens/s")
    table.add_row("loop / alone", f"{decode['ratio']:.1%}")
    for name in ("park", "restore"):
        times = figures[f"{name}Ms"]
        what = f"{name} {figures['tokens']} tokens, {figures['stateMiB']} MiB"
        table.add_row(what, f"{times['p50']} ms p50, {times['p95']} ms p95")
    table.add_row(
        "weights + KV + parked", " + ".join(f"{memory[n]:.0f}" for n in ("weightsMiB", "kvMiB", "parkedMiB")) + " MiB"
    )
    if memory["residentMiB"] is not None:
        table.add_row("resident set", f"{memory['residentMiB']:.0f} MiB, {memory['beyondMiB']:.0f} MiB beyond these")
    return table


def _ms_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000


def _mib(n_bytes: int) -> float:
    return round(n_bytes / MIB, 1)
