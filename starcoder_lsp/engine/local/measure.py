"""Measure a loaded model: speed, memory, and the likelihood of a text. On the model thread.

Other clients get no turn meanwhile, so this is for a private host.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field

from starcoder_lsp.engine.engine import EngineError
from starcoder_lsp.engine.local.backend import Backend
from starcoder_lsp.engine.local.decoding import Decoding, begin, choose_next, inputs
from starcoder_lsp.engine.local.kv_cache import CachedSequence, evaluate_slice, rewind
from starcoder_lsp.engine.local.llama import LlamaContext

N_DECODED = 64
"""Most tokens of a round of the generation loop, and of the bare loop."""


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


@define(eq=False)
class Measurement:
    """Speed and memory of a private host, a step at a time, so that a client can show progress and stop.

    `sequence` is empty before; `open` empties it. Each step raises `EngineError`.
    """

    context: LlamaContext
    sequence: int
    _cached: CachedSequence = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin with an empty sequence."""
        self._cached = CachedSequence(self.sequence)

    def step(self, what: str, n: int) -> dict[str, Any]:
        """Do a step and return its figures. The meaning of `n` is documented with each step."""
        steps = {"open": self._open, "prefill": self._prefill, "decode": self._decode, "copy": self._copy}
        if what not in steps:
            message = f"{what!r}: expected one of {', '.join(steps)}"
            raise EngineError(message)
        return steps[what](n)

    def _open(self, n_batch: int) -> dict[str, Any]:
        """Begin anew with batches of `n_batch` tokens; 0 leaves them as they are."""
        rewind(self.context, self._cached, 0)
        if n_batch and n_batch != self.context.n_slice:
            self.context.reopen(n_batch)
        return {
            "batch": self.context.n_slice,
            "threads": self.context.n_threads,
            "gpuLayers": self.context.n_gpu_layers,
        }

    def _prefill(self, n_tokens: int) -> dict[str, Any]:
        """Evaluate `n_tokens` more."""
        first = len(self._cached.ids)
        if not 0 < n_tokens <= self.context.n_cells - N_DECODED - first:
            message = f"{first + n_tokens} tokens and {N_DECODED} behind them do not fit {self.context.n_cells} cells"
            raise EngineError(message)
        ids = [token % len(self.context.pieces) for token in range(first, first + n_tokens)]
        started = time.perf_counter()
        _evaluate(self.context, self._cached, ids)
        self.context.logits()  # waits for a GPU
        return {"ms": _ms_since(started)}

    def _decode(self, n_tokens: int) -> dict[str, Any]:
        """Decode `n_tokens` in the generation loop, then by `llama_decode` alone, at the same positions.

        Both evaluate the prompt's last token, then each choice but the last.
        """
        context, cached, ids = self.context, self._cached, list(self._cached.ids)
        n_tokens = min(n_tokens, N_DECODED)
        decoding, first_position = Decoding(tuple(ids), frozenset(), b"", n_tokens), len(ids) - 1
        rewind(context, cached, first_position)
        started = time.perf_counter()
        _evaluate(context, cached, ids[first_position:])
        answers, _ = begin(context, decoding, [cached.sequence], n_tokens, context.logits())
        while not answers[0].end:
            context.step(inputs(decoding, answers))
            cached.ids.append(answers[0].ids[-1])
            choose_next(context, decoding, answers, 0)
        loop_ms = _ms_since(started)
        rewind(context, cached, first_position)
        started = time.perf_counter()
        context.decode_bare(cached.sequence, ids[-1], first_position, n_tokens)
        bare_ms = _ms_since(started)
        context.truncate(cached.sequence, first_position)  # the record does not have these
        _evaluate(context, cached, ids[first_position:])
        return {"loopMs": loop_ms, "bareMs": bare_ms}

    def _copy(self, n_times: int) -> dict[str, Any]:
        """Copy the sequence's cells out and in, `n_times`, and return the milliseconds of each and the memory."""
        save_ms, restore_ms, n_bytes, context, cached = [], [], 0, self.context, self._cached
        for _ in range(n_times):
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
        return {"saveMs": save_ms, "restoreMs": restore_ms, "stateBytes": n_bytes, "residentBytes": resident_bytes()}


def _evaluate(backend: Backend, cached: CachedSequence, ids: Sequence[int]) -> None:
    for first in range(0, len(ids), backend.n_slice):
        evaluate_slice(backend, cached, ids[first : first + backend.n_slice], lambda: False)


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
