"""Measure the gain of a longer suffix: the log-probability of hidden text, with windows of different suffixes.

`python bench/suffix.py FOLDER... [--holes N] [--seed N]`. Holes hide the rest of a line (`bench context`), `--holes` of
each folder; nothing is generated. A row for each pair of `MIN_SUFFIX_TOKENS` and `MAX_WHOLE_SUFFIX_TOKENS`; the gain is
the mean difference to the first one, hole by hole, in nats, with its standard error.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from statistics import fmean, pstdev

from attrs import evolve

from starcoder_lsp.cli.bench.context import holes_in, log_probability
from starcoder_lsp.cli.bench.holes import Hole
from starcoder_lsp.context import new_window
from starcoder_lsp.engine.host.client import HostEngine
from starcoder_lsp.engine.loading import opened
from starcoder_lsp.prompting import CompletionRequest, Model, build_prompt, choose_window
from starcoder_lsp.settings import Settings

WAYS = ((384, 1920), (48, 128), (64, 128), (96, 192), (192, 384))


async def gains_of(holes: list[Hole]) -> tuple[dict[tuple[int, int], list[float]], dict[tuple[int, int], list[int]]]:
    """Return, for each way, the gain at each hole and the tokens of each suffix."""
    settings = Settings()
    gains: dict[tuple[int, int], list[float]] = {way: [] for way in WAYS}
    lengths: dict[tuple[int, int], list[int]] = {way: [] for way in WAYS}
    async with opened(settings) as (prompts, engine):
        model = Model.of(prompts, engine)
        for hole in holes:
            scores = [await score(hole, way, model, engine, settings) for way in WAYS]
            for way, (log_p, n_suffix) in zip(WAYS, scores, strict=True):
                gains[way].append(log_p - scores[0][0])
                lengths[way].append(n_suffix)
    return gains, lengths


async def score(
    hole: Hole, way: tuple[int, int], model: Model, engine: HostEngine, settings: Settings
) -> tuple[float, int]:
    """Return the log-probability of the hidden text, and the number of tokens in the suffix."""
    new_window.MIN_SUFFIX_TOKENS, new_window.MAX_WHOLE_SUFFIX_TOKENS = way
    fresh = evolve(model, anchors=type(model.anchors)())
    request = CompletionRequest(hole.snapshot(""), len(hole.before.encode()), fresh, settings)
    window = choose_window(request)
    await engine.forget()
    prompt = build_prompt(window, fresh)
    return await log_probability(model, engine, prompt, hole.hidden.encode()), len(window.suffix.ids)


def main() -> None:
    """Print the gains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--holes", type=int, default=75)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    holes = [
        hole for folder in arguments.folders for hole in holes_in(folder, Settings(), arguments.holes, arguments.seed)
    ]
    gains, lengths = asyncio.run(gains_of(holes))
    for way, gain in gains.items():
        error = pstdev(gain) / len(gain) ** 0.5
        print(f"{way!s:12} {fmean(gain):6.2f} ± {error:.2f} nats, {fmean(lengths[way]):5.0f} tokens, {len(gain)} holes")


if __name__ == "__main__":
    main()
