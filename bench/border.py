"""Measure the cost of the host as a process of its own: `python bench/border.py FILE [--keystrokes N] [--model GGUF]`.

The same requests go in turns to a model thread in this process and to a host: a file is typed on, one character a
request, and each answer has `N_TOKENS` tokens. The report compares, request by request, the milliseconds outside of
llama.cpp's decode calls, and those of each token behind the first one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

from attrs import evolve, frozen

sys.path.insert(0, str(Path(__file__).parents[1]))

from starcoder_lsp.engine.engine import Cancellation, Engine, GenerationRequest
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.loading import model_path, opened
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.percentile import percentile
from starcoder_lsp.settings import Settings
from tests.local_engine import LocalEngine

N_TOKENS = 16
N_BYTES = 4000
"""The bytes of the file before the place of typing."""


@frozen
class Spent:
    """The milliseconds of one request outside of llama.cpp, and of each token behind the first one."""

    request_ms: float
    token_ms: float


async def ask(engine: Engine, prompts: PromptModel, text: bytes) -> Spent:
    """Request `N_TOKENS` tokens behind a text."""
    encode = prompts.tokenizer.encode
    prompt = prompts.fim.infill(encode(text[:N_BYTES]), encode(b"\n"), encode(text[N_BYTES:]))
    request = GenerationRequest("typed", evolve(prompt, stop_ids=frozenset()), N_TOKENS, 60_000)
    at_tokens: list[float] = []
    started = time.perf_counter()

    def rule(_text: bytes) -> None:
        at_tokens.append(time.perf_counter())

    generation = await generate(engine, request, prompts.tokenizer.piece, rule, Cancellation())
    request_ms = (time.perf_counter() - started) * 1000 - generation.evaluation_ms
    return Spent(request_ms, median((later - earlier) * 1000 for earlier, later in pairwise(at_tokens)))


async def run(settings: Settings, typed: bytes, n_keystrokes: int) -> tuple[list[Spent], list[Spent]]:
    """Send the requests to both in turns."""
    here, there = [], []
    async with opened(settings) as (prompts, host):
        own = LocalEngine.load(prompts, model_path(settings), host.caution)
        engines: list[tuple[Engine, list[Spent]]] = [(own, here), (host, there)]
        for engine, _ in engines:
            await ask(engine, prompts, typed[:N_BYTES])
        for number in range(n_keystrokes):
            for engine, spent in engines[:: 1 if number % 2 else -1]:
                spent.append(await ask(engine, prompts, typed[: N_BYTES + number + 1]))
        own.end()
    return here, there


def row(name: str, here: Sequence[float], there: Sequence[float]) -> str:
    """Return a line of the table."""
    more = [one - other for one, other in zip(there, here, strict=True)]
    cells = [f"{median(each):.2f} | {percentile(each, 0.95):.2f}" for each in (here, there, more)]
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--keystrokes", type=int, default=200)
    parser.add_argument("--model", default="")
    arguments = parser.parse_args()
    settings = Settings()
    settings = evolve(settings, model=evolve(settings.model, path=arguments.model, threads=1, gpu_layers=0))
    here, there = asyncio.run(run(settings, arguments.file.read_bytes(), arguments.keystrokes))
    print("| ms | here, p50 | p95 | host, p50 | p95 | more, p50 | p95 |\n|---|---|---|---|---|---|---|")
    print(row("a request, less llama.cpp", [each.request_ms for each in here], [each.request_ms for each in there]))
    print(row("a token, all of it", [each.token_ms for each in here], [each.token_ms for each in there]))


if __name__ == "__main__":
    main()
