"""Compare the text with `cache.type` q8_0 and f16: `python bench/cache_type.py FOLDER... [--model GGUF] [--places N]`.

At random line ends of Python files, the same prompt is evaluated with keys and values in 16 and in 8 bits, and 12
tokens are decoded greedily. The report counts equal answers and equal first tokens, and gives the difference in
log-probability of the first token and the bytes of a parked state.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from attrs import evolve

from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.decoding import Choice, choices
from starcoder_lsp.engine.local.llama import LlamaContext
from starcoder_lsp.engine.local.load_options import LoadOptions
from starcoder_lsp.engine.prompt_model import read_prompt_model

N_PROMPT, N_ANSWER = 384, 12


def greedy(context: LlamaContext, ids: Sequence[int]) -> tuple[list[int], Choice, int]:
    """Return the greedy answer, its first choice, and the bytes of the prompt's state."""
    context.truncate(0, 0)
    for first in range(0, len(ids), context.n_slice):
        context.decode(0, ids[first : first + context.n_slice], first)
    state = context.save(0)
    answer, first_choice = [], choices(context.logits(), 1)[0]
    for n in range(N_ANSWER):
        answer.append(int(np.argmax(context.logits())))
        context.decode(0, answer[-1:], len(ids) + n)
    return answer, first_choice, 0 if state is None else state.nbytes


def main() -> None:
    """Compare at each place and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", type=Path, default=DEMONSTRATOR)
    parser.add_argument("--places", type=int, default=100)
    arguments = parser.parse_args()
    prompts = read_prompt_model(arguments.model, 1024)
    options = LoadOptions(arguments.model, 1024, prompts.n_bytes)
    contexts = [LlamaContext(evolve(options, cache_type=each), prompts.tokenizer.pieces) for each in ("f16", "q8_0")]
    rng = random.Random(1)  # noqa: S311  not a secret
    files = sorted(path for folder in arguments.folders for path in folder.rglob("*.py"))
    sources = [data for data in (path.read_bytes() for path in files) if len(data) > 4 * N_PROMPT]
    n_equal = n_same_first = 0
    differences, n_bytes = [], (0, 0)
    for _ in range(arguments.places):
        data = rng.choice(sources)
        end = data.rfind(b"\n", 0, rng.randrange(4 * N_PROMPT // 2, len(data))) + 1
        prefix = prompts.tokenizer.encode(data[:end][-8 * N_PROMPT :])[-N_PROMPT:]
        ids = prompts.fim.infill(prefix, prompts.tokenizer.encode(data[end : end + 200])).ids
        (one, first, n_one), (other, second, n_other) = (greedy(context, ids) for context in contexts)
        n_equal += one == other
        n_same_first += first[0] == second[0]
        differences.append(abs(first[1] - second[1]))
        n_bytes = n_bytes[0] + n_one, n_bytes[1] + n_other
    print(
        f"{arguments.places} places: equal answers {n_equal}, equal first tokens {n_same_first}, first token's"
        f" log-probability differs by {fmean(differences):.4f} nats on average, {max(differences):.4f} at most;"
        f" a state takes {n_bytes[1] / n_bytes[0]:.3f} of the memory"
    )


if __name__ == "__main__":
    main()
