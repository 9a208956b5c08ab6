"""`starcoder-lsp bench synthetic SIZE`: how fast this machine runs a model of StarCoder2's dimensions.

The weights are random (`engine/synthetic.py`). Everything is measured through the functions that the server calls.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, cast

import platformdirs
from attrs import evolve
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from starcoder_lsp.cli import CommandError
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.cli.figures import Report, machine, percentile, write_report
from starcoder_lsp.engine.engine import EngineError, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import N_SLICE, evaluate, generate, rewind
from starcoder_lsp.engine.kv_cache import SequenceLedger
from starcoder_lsp.engine.loading import DEMONSTRATOR, load_engine
from starcoder_lsp.engine.synthetic import N_CONTEXT_TRAIN, SHAPES, Shape, synthetic_model

if TYPE_CHECKING:
    from starcoder_lsp.engine.llama import LlamaContext, LlamaEngine

NOTE = "The weights are random, so the text would be noise; speed and memory do not depend on their values."
MIB = 1024 * 1024
N_DECODED = 64
"""Tokens of one round of the generation loop, and of one of the bare loop."""
N_ROUNDS = 5
N_COPIES = 20
"""How often the state is copied out and in."""
N_CELL_GROUP = 256
"""llama.cpp rounds the cells of a context up to this."""

Advance = Callable[[float], None]
"""Told the share of a stage that is done, 0 to 1."""


def synthetic(size: str, *, vocabulary: Path | None, n_tokens: int, as_json: bool) -> int:
    """Make the file if it is not there, measure, report. `n_tokens` is cut to what the model's context holds."""
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
    """All figures, with a bar on standard error for each stage if that is a terminal. Raises `EngineError`."""
    n_tokens = min(n_tokens, N_CONTEXT_TRAIN - N_DECODED)
    n_context = -(-(n_tokens + N_DECODED) // N_CELL_GROUP) * N_CELL_GROUP
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:

        def bar(stage: str) -> Advance:
            task = progress.add_task(stage, total=1)
            return lambda share: progress.update(task, completed=share)

        path = synthetic_model(size, shape, vocabulary, folder, bar("writing the file"))
        settings = configured(str(path))
        settings = evolve(settings, model=evolve(settings.model, context_length=n_context))
        started = time.perf_counter()
        engine = cast("LlamaEngine", load_engine(settings, bar("loading")))
        load_ms = _ms_since(started)
        try:
            from starcoder_lsp.engine.llama import default_n_threads

            ids = tuple(range(n_tokens))
            context, ledger = engine.context, SequenceLedger(sequence=0)
            prefill_s = _prefill_s(context, ledger, ids, bar("prefill"))
            decode = _decode(context, ledger, ids, bar("decode"))
            copies, state = _copies(context, ledger, bar("park and restore"))
            resident = resident_bytes()
        finally:
            engine.close()
        n_kv_bytes = n_context * shape.n_kv_bytes
        n_expected_bytes = engine.info.n_bytes + n_kv_bytes + state.nbytes
        return {
            "size": size,
            "note": NOTE,
            "file": str(path),
            "vocabulary": str(vocabulary),
            "parameters": engine.info.n_parameters,
            "machine": {
                "cpu": machine()["cpu"],
                "threads": settings.model.threads or default_n_threads(engine.info.n_bytes),
                "gpuLayers": engine.info.n_gpu_layers,
                "llamaCppPython": version("llama-cpp-python"),
            },
            "tokens": n_tokens,
            "loadMs": round(load_ms),
            "prefill": {"tokensPerSecond": round(n_tokens / prefill_s, 1), "seconds": round(prefill_s, 2)},
            "decode": decode,
            **copies,
            "memory": {
                "residentMiB": None if resident is None else _mib(resident),
                "weightsMiB": _mib(engine.info.n_bytes),
                "kvMiB": _mib(n_kv_bytes),
                "parkedMiB": _mib(state.nbytes),
                "beyondMiB": None if resident is None else _mib(resident - n_expected_bytes),
            },
        }


def _prefill_s(context: LlamaContext, ledger: SequenceLedger, ids: Sequence[int], advance: Advance) -> float:
    """Seconds to evaluate `ids`, in the server's slices."""
    started = time.perf_counter()
    for first in range(0, len(ids), N_SLICE):
        evaluate(context, ledger, ids[first : first + N_SLICE], lambda: False)
        advance(len(ledger.ids) / len(ids))
    context.logits()  # waits for a GPU
    return time.perf_counter() - started


def _decode(context: LlamaContext, ledger: SequenceLedger, ids: tuple[int, ...], advance: Advance) -> Report:
    """Speed of the generation loop and of `llama_decode` alone, in turns, at the same positions.

    A generation evaluates the prompt's last token, then each choice but its last: `N_DECODED` calls, as the bare loop.
    """
    request = GenerationRequest("synthetic", Prompt(ids, frozenset(), "ids"), N_DECODED, timeout_ms=math.inf)
    first_position = len(ids) - 1
    loop_ms, bare_ms = [], []
    for number in range(N_ROUNDS):
        rewind(context, ledger, first_position)
        started = time.perf_counter()
        generate(context, ledger, request, lambda _text: None, lambda: False)
        loop_ms.append(_ms_since(started))
        rewind(context, ledger, first_position)
        started = time.perf_counter()
        context.decode_bare(ledger.sequence, ids[-1], first_position, N_DECODED)
        bare_ms.append(_ms_since(started))
        context.truncate(ledger.sequence, first_position)  # the ledger does not know of these
        advance((number + 1) / N_ROUNDS)
    evaluate(context, ledger, ids[first_position:], lambda: False)
    return {
        "tokensPerSecond": round(1000 * N_DECODED / median(loop_ms), 2),
        "bareTokensPerSecond": round(1000 * N_DECODED / median(bare_ms), 2),
        "ratio": round(median(bare_ms) / median(loop_ms), 4),
        "tokens": N_DECODED,
        "rounds": N_ROUNDS,
    }


def _copies(context: LlamaContext, ledger: SequenceLedger, advance: Advance) -> tuple[Report, memoryview]:
    """Times of copying the sequence's cells out and in, and the last copy, which counts in the resident set."""
    park_ms, restore_ms = [], []
    for number in range(N_COPIES):
        started = time.perf_counter()
        state = _saved(context, ledger)
        parked = time.perf_counter()
        if not context.truncate(ledger.sequence, 0) or not context.restore(ledger.sequence, state):
            message = "llama.cpp could not restore a state that it had just copied out"
            raise EngineError(message)
        park_ms.append((parked - started) * 1000)
        restore_ms.append(_ms_since(parked))
        advance((number + 1) / N_COPIES)
    times = {"parkMs": _percentiles(park_ms), "restoreMs": _percentiles(restore_ms)}
    return {"stateMiB": _mib(state.nbytes), **times}, state


def _saved(context: LlamaContext, ledger: SequenceLedger) -> memoryview:
    state = context.save(ledger.sequence)
    if state is None:
        message = "there is no memory for a copy of the state; measure with fewer tokens"
        raise EngineError(message)
    return state


def table_of(figures: Report) -> Table:
    """The figures for a terminal."""
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


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM now, or at its highest where the system tells only that; else `None`."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """By nearest rank."""
    return {f"p{share}": round(percentile(times_ms, share / 100), 2) for share in (50, 95)}


def _ms_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000


def _mib(n_bytes: int) -> float:
    return round(n_bytes / MIB, 1)
