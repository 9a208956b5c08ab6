"""Steps that load a model into their own process: speeds by micro-batch, offload in parts, cancelling."""

from __future__ import annotations

import random
import threading
import time
from statistics import median

from attrs import define, evolve, field
from task import Task

from starcoder_lsp.engine.local import llama
from starcoder_lsp.engine.local.backend import N_SLICE
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.kv_cache import CachedSequence, Owner, evaluate_slice, rewind
from starcoder_lsp.engine.local.measure import N_DECODED, Measurement
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel, read_prompt_model
from starcoder_lsp.engine.stream import Token, Usage
from starcoder_lsp.percentile import percentile

N_CELLS = 4096
N_OFFLOADED_PROMPT = 512
"""The tokens of a timed prompt if some layers stay on the CPU."""
N_OFFLOADED_TOKENS = 16
N_ROUNDS = 5
N_COPIES = 20
WAIT_S = 20.0
"""The wait for the end of a cancelled prompt: longer than any slice takes."""


def opened(task: Task, n_gpu_layers: int = -1, n_slice: int = N_SLICE) -> tuple[llama.LlamaContext, PromptModel]:
    """Return the task's model, loaded and warmed up, and write a row about that."""
    path = task.model_file()
    prompts = read_prompt_model(path, N_CELLS)
    options = llama.LoadOptions(path, N_CELLS, prompts.n_bytes, n_gpu_layers, n_slice=n_slice)
    started = time.perf_counter()
    context = llama.LlamaContext(evolve(options, use_extra_buffers=task.use_extra_buffers), prompts.tokenizer.pieces)
    loaded = time.perf_counter()
    context.warm_up()
    task.row(
        "loaded",
        gpu_layers=context.n_gpu_layers,
        load_s=round(loaded - started, 2),
        warm_up_s=round(time.perf_counter() - loaded, 2),
        gpu_memory=task.ask_gpu("memory.used"),
    )
    return context, prompts


def prefill_s(context: llama.LlamaContext, n_tokens: int) -> float:
    """Return the seconds to evaluate a prompt of `n_tokens`, in slices of the context's size."""
    cached, ids = CachedSequence(0), [token % len(context.pieces) for token in range(n_tokens)]
    started = time.perf_counter()
    for first in range(0, n_tokens, context.n_slice):
        evaluate_slice(context, cached, ids[first : first + context.n_slice], lambda: False)
    context.logits()  # waits for a GPU
    elapsed_s = time.perf_counter() - started
    rewind(context, cached, 0)
    return elapsed_s


def speed(task: Task) -> None:
    """Prefill by micro-batch; decoding and copies behind many tokens."""
    sizes = task.sizes
    context, _ = opened(task)
    measurement, n_held = Measurement(context, 0), min(sizes["n_held"], N_CELLS - N_DECODED)
    measurement.step("prefill", n_held)
    rounds = [measurement.step("decode", N_DECODED) for _ in range(N_ROUNDS)]
    loop_ms, bare_ms = (median(each[name] for each in rounds) for name in ("loopMs", "bareMs"))
    copies = measurement.step("copy", N_COPIES)
    measurement.step("open", 0)
    task.row("decode", tokens_per_s=round(1000 * N_DECODED / loop_ms, 2), behind=n_held)
    task.row("decode alone", tokens_per_s=round(1000 * N_DECODED / bare_ms, 2), ratio=round(bare_ms / loop_ms, 4))
    task.row(
        "copies",
        tokens=n_held,
        mib=round(copies["stateBytes"] / 2**20, 1),
        park_ms=percentiles(copies["saveMs"]),
        restore_ms=percentiles(copies["restoreMs"]),
    )
    task.row("host memory", resident_mib=round((copies["residentBytes"] or 0) / 2**20))
    for n_slice in sizes["slices"]:
        if task.is_late:
            task.row("skipped", slices_from=n_slice)
            break
        context.reopen(n_slice)
        prefill_s(context, sizes["n_prompt"])
        runs = [sizes["n_prompt"] / prefill_s(context, sizes["n_prompt"]) for _ in range(sizes["n_runs"])]
        task.row(
            "prefill",
            slice=n_slice,
            tokens=sizes["n_prompt"],
            tokens_per_s=round(median(runs), 1),
            runs=[round(run, 1) for run in runs],
            gpu_memory=task.ask_gpu("memory.used"),
        )
    context.close()


def percentiles(times_ms: list[float]) -> dict[str, float]:
    """Return p50 and p95 in milliseconds."""
    return {"p50": round(percentile(times_ms, 0.5), 2), "p95": round(percentile(times_ms, 0.95), 2)}


def offload(task: Task) -> None:
    """Speeds with no layer, half of them and all of them on the GPU."""
    n_layers = read_layers(task)
    for n_gpu_layers in (n_layers, n_layers // 2, 0):
        if task.is_late:
            task.row("skipped", gpu_layers=n_gpu_layers)
            continue
        context, _ = opened(task, n_gpu_layers)
        n_prompt = min(N_OFFLOADED_PROMPT, task.sizes["n_prompt"])
        task.row(
            "prefill",
            gpu_layers=n_gpu_layers,
            slice=N_SLICE,
            tokens_per_s=round(n_prompt / prefill_s(context, n_prompt), 1),
        )
        prefill_s(context, 1)
        started = time.perf_counter()
        context.decode_bare(0, 0, 0, N_OFFLOADED_TOKENS)
        elapsed_s = time.perf_counter() - started
        task.row("decode alone", gpu_layers=n_gpu_layers, tokens_per_s=round(N_OFFLOADED_TOKENS / elapsed_s, 1))
        context.close()


def read_layers(task: Task) -> int:
    """Return the number of layers, the output layer included."""
    from starcoder_lsp.engine.model_file import check_model_file

    return check_model_file(task.model_file()).n_layers + 1


@define(eq=False)
class Listener:
    """Sets an event when a job ends."""

    ended: threading.Event = field(factory=threading.Event)
    is_complete: bool = False
    ended_s: float = 0.0

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Nothing is decoded here."""

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:  # noqa: ARG002  as it is called
        """Note that the model thread is done with the job."""
        self.ended_s, self.is_complete = time.perf_counter(), is_complete
        self.ended.set()


def cancel(task: Task) -> None:
    """Time from a cancel in the middle of a prefill until the model thread is free again, by size of slice."""
    context, _ = opened(task)
    rng = random.Random(0)  # noqa: S311  no secret
    n_prompt = min(N_CELLS - 1, task.sizes["n_prompt"] * 3 // 2)
    for n_slice in task.sizes["slices"]:
        if task.is_late:
            task.row("skipped", slices_from=n_slice)
            break
        context.reopen(n_slice)
        prefill_s(context, n_prompt)
        whole_s = prefill_s(context, n_prompt)
        sequences = Sequences.of(context, ParkedStates(0), llama.N_RESIDENTS, llama.N_BRANCHES)
        worker = Worker(sequences, N_CELLS)
        worker.start()
        delays = [whole_s * rng.uniform(0.1, 0.8) for _ in range(task.sizes["n_cancels"])]
        waited = [cancelled_ms(worker, n_prompt, number, delay_s) for number, delay_s in enumerate(delays)]
        worker.close(WAIT_S)
        times_ms = [each for each in waited if each is not None]
        if times_ms:
            task.row(
                "cancel",
                slice=n_slice,
                p50_ms=round(median(times_ms), 2),
                p95_ms=round(percentile(times_ms, 0.95), 2),
                max_ms=round(max(times_ms), 2),
                cancels=len(times_ms),
                whole_prompt_ms=round(whole_s * 1000, 1),
            )
    context.close()


def cancelled_ms(worker: Worker, n_prompt: int, number: int, delay_s: float) -> float | None:
    """Return the milliseconds from the cancel of a prompt to its end; `None` if it was done before."""
    listener = Listener()
    ids = tuple((number + 1) * 7 + token % 1000 for token in range(n_prompt))
    job = worker.submit(
        Owner("bench", "cancelled"), Decoding(ids, frozenset(), b"", 1, n_answers=0), listener, is_ahead=False
    )
    time.sleep(delay_s)
    started = time.perf_counter()
    worker.cancel(job)
    if not listener.ended.wait(WAIT_S) or listener.is_complete or listener.ended_s < started:
        return None
    return (listener.ended_s - started) * 1000
