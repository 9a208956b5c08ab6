"""Measure the effect of rounding on answers, in nats: `python bench/rounding.py FOLDER [--places N]`.

At random places of files the demonstrator answers greedily, with its prompt evaluated in slices of random sizes, as
after cache hits. Then other contexts evaluate prompt and answer again: with other slices, and with other kernels of
llama.cpp, which add in other orders as other CPUs do. For the tokens of the answers this prints the change of the
log-probability, and the margin of the likeliest token.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.llama import LlamaContext, LoadOptions
from starcoder_lsp.engine.prompt_model import read_prompt_model

N_CONTEXT = 2048
N_TOKENS = 8
PROMPTS = read_prompt_model(DEMONSTRATOR, N_CONTEXT)
KINDS = {
    "slices of 64": (64, True, True),
    "slices of 32": (32, True, True),
    "slices of 512": (512, True, True),
    "weights not rearranged": (64, False, True),
    "no flash attention": (64, True, False),
}
"""Tokens of a slice, whether weights are rearranged for the CPU, and whether flash attention is used."""


def opened(n_slice: int, *, use_extra_buffers: bool, use_flash_attention: bool) -> LlamaContext:
    """Return an empty context of one thread."""
    options = LoadOptions(
        DEMONSTRATOR, N_CONTEXT, PROMPTS.n_bytes, 0, 1, use_extra_buffers, use_flash_attention, n_slice=n_slice
    )
    return LlamaContext(options, PROMPTS.tokenizer.pieces)


def logprobs(context: LlamaContext) -> NDArray[np.float64]:
    """Return the log-probabilities behind the last evaluated token, in nats."""
    logits = context.logits().astype(np.float64)
    return logits - np.logaddexp.reduce(logits)


def answer(context: LlamaContext, ids: tuple[int, ...], rng: random.Random) -> list[tuple[int, float]]:
    """Return the greedy answer as ids and log-probabilities; the prompt is evaluated in slices of random sizes."""
    context.truncate(0, 0)
    at, written = 0, []
    while at < len(ids):
        n = rng.randint(1, context.n_slice)
        context.decode(0, ids[at : at + n], at)
        at += n
    for position in range(len(ids), len(ids) + N_TOKENS):
        found = logprobs(context)
        written.append((int(found.argmax()), float(found.max())))
        context.decode(0, [written[-1][0]], position)
    return written


def again(context: LlamaContext, ids: tuple[int, ...], written: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Evaluate prompt and answer anew; return `(difference, margin)` of each token of the answer, in nats."""
    context.truncate(0, 0)
    for at in range(0, len(ids), context.n_slice):
        context.decode(0, ids[at : at + context.n_slice], at)
    moved = []
    for position, (token_id, logprob) in enumerate(written, len(ids)):
        found = logprobs(context)
        moved.append((abs(float(found[token_id]) - logprob), float(found.max() - found[token_id])))
        context.decode(0, [token_id], position)
    return moved


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--places", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)  # noqa: S311  not a secret
    files = [path for path in sorted(arguments.folder.rglob("*.py")) if path.stat().st_size > N_CONTEXT]
    contexts = {
        name: opened(n, use_extra_buffers=extra, use_flash_attention=flash) for name, (n, extra, flash) in KINDS.items()
    }
    cached = opened(64, use_extra_buffers=True, use_flash_attention=True)
    moved: dict[str, list[tuple[float, float]]] = {name: [] for name in KINDS}
    for _ in range(arguments.places):
        data = rng.choice(files).read_bytes()
        cut = rng.randrange(N_CONTEXT, len(data))
        encode = PROMPTS.tokenizer.encode
        ids = PROMPTS.fim.infill(encode(data[cut - N_CONTEXT : cut]), encode(data[cut : cut + 400])).ids
        written = answer(cached, ids, rng)
        for name, context in contexts.items():
            moved[name] += again(context, ids, written)
    for name, pairs in moved.items():
        differences, margins = np.array(pairs).T
        figures = {
            "tokens": len(pairs),
            "mean": float(differences.mean()),
            "p99": float(np.quantile(differences, 0.99)),
            "max": float(differences.max()),
            "others": int((margins > 0).sum()),
            "largestMargin": float(margins.max()),
        }
        print(json.dumps({"kind": name} | figures) if arguments.json else f"{name:24} {_in_words(figures)}")


def _in_words(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )


if __name__ == "__main__":
    main()
