"""Measure a loaded model: how likely a text is, speed, and memory. On the model thread.

Other clients get no turn meanwhile, so this is for a private host.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.decoding import Decoding, begin, choose_next, inputs
from starcoder_lsp.engine.local.kv_cache import CachedSequence, evaluate_slice, rewind
from starcoder_lsp.engine.local.llama import LlamaContext
from starcoder_lsp.percentile import percentile

N_DECODED = 64
"""Tokens of a round of the generation loop, and of the bare loop."""
N_ROUNDS = 5
N_COPIES = 20
"""The number of times that the state is copied out and in."""


def score(backend: Backend, sequence: int, ids: Sequence[int], heal: bytes, targets: Sequence[int]) -> list[float]:
    """Return the log-probabilities in nats of `targets` behind a prompt, each given the ones before it.

    The first ones are conditional on `heal`: only tokens that agree with it count. `sequence` is empty before and
    after. Raises `EngineError`.
    """
    n_vocabulary = len(backend.pieces)
    if not ids or not all(0 <= token_id < n_vocabulary for token_id in (*ids, *targets)):
        message = f"there is nothing to score, or an id that is not among the {n_vocabulary} of the model's vocabulary"
        raise EngineError(message)
    cached = CachedSequence(sequence)
    scores = []
    try:
        _evaluate(backend, cached, ids)
        for token_id in targets:
            logits = backend.logits().astype(np.float64)
            possible = logits[backend.agreeing(heal)] if heal else logits
            scores.append(float(logits[token_id] - np.logaddexp.reduce(possible)))
            heal = heal[len(backend.pieces[token_id]) :]
            _evaluate(backend, cached, [token_id])
    finally:
        rewind(backend, cached, 0)
    return scores


def measure(context: LlamaContext, sequence: int, n_tokens: int) -> dict[str, Any]:
    """Return the speed of a prefill, the generation loop, `llama_decode` alone and copies, and the memory.

    `n_tokens` and the decoded ones must fit the context. `sequence` is empty before and after. Raises `EngineError`.
    """
    if not 0 < n_tokens <= context.n_cells - N_DECODED:
        message = f"{n_tokens} tokens and {N_DECODED} behind them do not fit a context of {context.n_cells}"
        raise EngineError(message)
    ids, cached = tuple(token % len(context.pieces) for token in range(n_tokens)), CachedSequence(sequence)
    try:
        started = time.perf_counter()
        _evaluate(context, cached, ids)
        context.logits()  # waits for a GPU
        prefill_s = time.perf_counter() - started
        decode = _decode(context, cached, ids)
        copies, n_state_bytes = _copies(context, cached)
    finally:
        rewind(context, cached, 0)
    return {
        "prefillS": prefill_s,
        "decode": decode,
        **copies,
        "stateBytes": n_state_bytes,
        "residentBytes": resident_bytes(),
        "threads": context.n_threads,
        "gpuLayers": context.n_gpu_layers,
    }


def _evaluate(backend: Backend, cached: CachedSequence, ids: Sequence[int]) -> None:
    for first in range(0, len(ids), backend.n_slice):
        evaluate_slice(backend, cached, ids[first : first + backend.n_slice], lambda: False)


def _decode(context: LlamaContext, cached: CachedSequence, ids: tuple[int, ...]) -> dict[str, Any]:
    """Run both loops in turn at the same positions: the prompt's last token, then each choice but the last."""
    decoding = Decoding(ids, frozenset(), b"", N_DECODED)
    first_position = len(ids) - 1
    loop_ms, bare_ms = [], []
    for _ in range(N_ROUNDS):
        rewind(context, cached, first_position)
        started = time.perf_counter()
        _evaluate(context, cached, ids[first_position:])
        answers, _ = begin(context, decoding, [cached.sequence], N_DECODED, context.logits())
        while not answers[0].end:
            context.step(inputs(decoding, answers))
            cached.ids.append(answers[0].ids[-1])
            choose_next(context, decoding, answers, 0)
        loop_ms.append(_ms_since(started))
        rewind(context, cached, first_position)
        started = time.perf_counter()
        context.decode_bare(cached.sequence, ids[-1], first_position, N_DECODED)
        bare_ms.append(_ms_since(started))
        context.truncate(cached.sequence, first_position)  # the record does not have these
    _evaluate(context, cached, ids[first_position:])
    return {
        "tokensPerSecond": round(1000 * N_DECODED / median(loop_ms), 2),
        "bareTokensPerSecond": round(1000 * N_DECODED / median(bare_ms), 2),
        "ratio": round(median(bare_ms) / median(loop_ms), 4),
        "tokens": N_DECODED,
        "rounds": N_ROUNDS,
    }


def _copies(context: LlamaContext, cached: CachedSequence) -> tuple[dict[str, Any], int]:
    """Measure how long copying the sequence's cells out and in takes, and return that and the bytes of a copy."""
    save_ms, restore_ms, n_bytes = [], [], 0
    for _ in range(N_COPIES):
        started = time.perf_counter()
        state = context.save(cached.sequence)
        if state is None:
            message = "there is no memory for a copy of the state; measure with fewer tokens"
            raise EngineError(message)
        n_bytes = state.nbytes
        parked = time.perf_counter()
        if not context.truncate(cached.sequence, 0) or not context.restore(cached.sequence, state):
            del cached.ids[:]
            message = "llama.cpp could not restore a state that it had just copied out"
            raise EngineError(message)
        save_ms.append((parked - started) * 1000)
        restore_ms.append(_ms_since(parked))
    return {"parkMs": _percentiles(save_ms), "restoreMs": _percentiles(restore_ms)}, n_bytes


def _percentiles(times_ms: Sequence[float]) -> dict[str, float]:
    """Return the median and the 95th percentile."""
    return {"p50": round(percentile(times_ms, 0.5), 2), "p95": round(percentile(times_ms, 0.95), 2)}


def _ms_since(started_s: float) -> float:
    return (time.perf_counter() - started_s) * 1000


def resident_bytes() -> int | None:
    """Return the process's resident memory, the peak where the system tells only that, or `None`."""
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
