"""Measure the gain of drafting tokens from the document: `python bench/drafts.py GGUF FOLDER... [--holes N]`.

A draft is the tokens that followed the last ones at their earlier occurrence in prompt or answer; the model would
verify it in the same batch as the next token. The answers are the hidden texts themselves, as of a model that is always
right, in the tokens of the file's vocabulary: no weights are needed. The unit is decode calls of one token. With
`--decode` the file is loaded, and a batch of one token is timed against batches of several, in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from attrs import evolve

from starcoder_lsp.cli.bench.holes import cut_holes, read_sources
from starcoder_lsp.cli.bench.pace import watching
from starcoder_lsp.cli.complete import configured
from starcoder_lsp.context.anchor import Anchors
from starcoder_lsp.documents.workspace import WorkspaceContext
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import model_path, opened, read_prompts
from starcoder_lsp.engine.local.llama import LlamaContext, LoadOptions
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import Settings

BATCH_COSTS = {1: 1.0, 2: 100 / 62, 3: 100 / 62, 4: 100 / 62}
"""A batch's time as a multiple of that of one token: 62 ms and 100 ms of a 3B model on two idle cores."""
N_TIMED = 12


def answers(
    model: PromptBuilder, settings: Settings, folders: Sequence[Path], n_holes: int, seed: int
) -> Iterator[list[int]]:
    """Yield the ids of each prompt and its answer, and then the number of tokens of the answer."""
    holes = cut_holes(read_sources(folders, settings, seed), n_holes, seed)
    with watching(holes, len(holes), "reading") as watched:
        for hole in watched:
            fresh, cursor_byte = evolve(model, anchors=Anchors()), len(hole.before.encode())
            context = WorkspaceContext(hole.root)
            request = CompletionRequest(hole.snapshot(""), cursor_byte, fresh, settings, context)
            prompt = build_prompt(choose_window(request), fresh)
            answer = model.tokenizer.encode(prompt.heal + hole.hidden.encode())
            yield [*prompt.ids, *answer, len(answer)]


def draft_of(ids: Sequence[int], n_gram: int, max_tokens: int) -> list[int]:
    """Return the tokens behind the earlier occurrence of the last `n_gram` tokens."""
    last = list(ids[-n_gram:])
    for at in range(len(ids) - n_gram - 1, -1, -1):
        if ids[at] == last[0] and list(ids[at : at + n_gram]) == last:
            return list(ids[at + n_gram : at + n_gram + max_tokens])
    return []


def decode(ids: list[int], n_answer: int, n_gram: int, max_tokens: int) -> tuple[float, int, int]:
    """Return the time of an answer in decodes of one token, and the numbers of drafted and of right tokens."""
    at, end, cost, n_drafted, n_right = len(ids) - n_answer, len(ids), 0.0, 0, 0
    while at < end:
        draft = draft_of(ids[:at], n_gram, max_tokens)
        right = next(
            (n for n, (one, other) in enumerate(zip(draft, ids[at:], strict=False)) if one != other), len(draft)
        )
        right = min(right, end - at - 1)
        cost += BATCH_COSTS[1 + len(draft)]
        n_drafted, n_right, at = n_drafted + len(draft), n_right + right, at + 1 + right
    return cost, n_drafted, n_right


async def find_caution(settings: Settings) -> Caution:
    """Return the rung of the ladder on which llama.cpp runs here, as a host finds it out."""
    async with opened(settings) as (_, engine):
        return engine.caution


def time_batches(settings: Settings) -> None:
    """Print how long batches take behind 512 tokens."""
    prompts, caution, sizes = read_prompts(settings), asyncio.run(find_caution(settings)), (1, 2, 3, 4, 8)
    options = LoadOptions(
        path=model_path(settings),
        n_cells=prompts.n_context,
        n_model_bytes=prompts.n_bytes,
        n_gpu_layers=settings.model.gpu_layers if caution < Caution.NO_GPU else 0,
        n_threads=settings.model.threads,
        use_extra_buffers=caution < Caution.PLAIN_WEIGHTS,
        use_flash_attention=caution < Caution.MINIMAL,
    )
    context = LlamaContext(options, prompts.tokenizer.pieces)
    for first in range(0, 512, 64):
        context.decode(0, [100] * 64, first)
    taken: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(N_TIMED):
        for size in sizes:
            began = time.perf_counter()
            context.decode(0, [100] * size, 512)
            taken[size].append((time.perf_counter() - began) * 1000)
            context.truncate(0, 512)
    one = median(taken[1])
    context.close()
    print("; ".join(f"{size} tokens {median(ms):.1f} ms, {median(ms) / one:.2f} times" for size, ms in taken.items()))


def main() -> None:
    """Print the table, or the times of batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--holes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--decode", action="store_true")
    arguments = parser.parse_args()
    settings = configured(arguments.model)
    if arguments.decode:
        time_batches(settings)
        return
    model = PromptBuilder.reading(read_prompts(settings))
    asked = list(answers(model, settings, arguments.folders, arguments.holes, arguments.seed))
    n_tokens = sum(ids[-1] for ids in asked)
    print(f"{len(asked)} answers of {n_tokens / len(asked):.1f} tokens")
    for n_gram in (1, 2, 3, 4):
        for max_tokens in (2, 3):
            costs = [decode(ids[:-1], ids[-1], n_gram, max_tokens) for ids in asked]
            cost, n_drafted, n_right = (sum(each) for each in zip(*costs, strict=True))
            print(
                f"behind {n_gram} tokens, at most {max_tokens}: {n_drafted / n_tokens:.2f} drafted for each token,"
                f" {n_right / max(1, n_drafted):.0%} of them right; time {cost / n_tokens:.2f} of none drafted"
            )


if __name__ == "__main__":
    main()
