"""Measure the time that a constraint adds to a token: `python bench/constraint.py FILE.gguf [--rounds N]`.

The constraint is the choice of a token among those without a line end (`Prompt.avoid`) and among those that agree with
a text (`Prompt.heal`), as at a fork. Tokens are chosen from random logits over the file's own vocabulary, with the
constraint and without, in milliseconds of CPU time. `--token-ms` is the time of a token of the model; by default that
of StarCoder2 3B on two CPU cores.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import median

import numpy as np

from starcoder_lsp.cli.bench.figures import machine
from starcoder_lsp.engine.local.decoding import choices
from starcoder_lsp.engine.local.pieces import PieceIndex, TokenIds
from starcoder_lsp.engine.vocabulary import read_vocabulary

TOKEN_MS_3B = 62.0
"""StarCoder2 3B in Q4_0 on two cores of an AMD EPYC, one token."""
N_TOKENS = 16
"""The tokens of a further draft: the constraint applies to the first one only."""


def timed_ms(work: Callable[[], object], n_rounds: int) -> float:
    """Return the median time of a call in milliseconds of this thread's CPU time."""
    times = []
    for _ in range(n_rounds):
        started = time.thread_time()
        work()
        times.append((time.thread_time() - started) * 1000)
    return median(times)


def main() -> None:
    """Choose, time, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--token-ms", type=float, default=TOKEN_MS_3B)
    options = parser.parse_args()
    _, tokenizer = read_vocabulary(options.file)
    pieces = [(piece, number) for number, piece in enumerate(tokenizer.pieces)]
    index = PieceIndex.of(pieces)
    without = lru_cache(maxsize=4)(index.without)
    logits = np.random.default_rng(1).normal(size=len(pieces)).astype(np.float32)

    def constrained(heal: bytes) -> TokenIds:
        others = without(b"\r\n")
        return np.intersect1d(index.agreeing(heal), others, assume_unique=True) if heal else others

    started = time.thread_time()
    without(b"\r\n")
    first_ms = (time.thread_time() - started) * 1000
    free_ms = timed_ms(lambda: choices(logits, 1, None), options.rounds)
    avoid_ms = timed_ms(lambda: choices(logits, 1, constrained(b"")), options.rounds)
    heal_ms = timed_ms(lambda: choices(logits, 1, constrained(b")")), options.rounds)
    dearest_ms = max(avoid_ms, heal_ms) - free_ms
    report = {
        "machine": machine(),
        "vocabulary": len(pieces),
        "freeMs": round(free_ms, 3),
        "withoutLineEndsMs": round(avoid_ms, 3),
        "agreeingWithATextMs": round(heal_ms, 3),
        "firstUseMs": round(first_ms, 1),
        "shareOfAToken": round(dearest_ms / options.token_ms, 4),
        "shareOfADraft": round(dearest_ms / (N_TOKENS * options.token_ms), 5),
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
