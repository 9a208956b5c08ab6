"""Measure how fast the model runs, in a host of its own."""

from __future__ import annotations

import time

from starcoder_lsp.cli import coroutines
from starcoder_lsp.cli.doctor.facts import Speed
from starcoder_lsp.engine.engine import Cancellation, EngineError, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.loading import Listeners, opened
from starcoder_lsp.settings import Settings

N_PROMPT_TOKENS = 256
N_DECODED_TOKENS = 32
MEASURE_MS = 120_000.0
"""The deadline of the measurement. Not measured."""
SAMPLE = b"def area(width, height):\n    return width * height\n\n\n"
"""The text of the prompt, repeated."""


def measure(settings: Settings) -> tuple[Speed | None, str]:
    """Return the model's speed in a host of its own, or why it does not run."""
    try:
        return coroutines.run(_measured(settings)), ""
    except EngineError as error:
        return None, str(error)


async def _measured(settings: Settings) -> Speed:
    """Evaluate a prompt and generate after it. Raises `EngineError`."""
    messages: list[str] = []
    started_s = time.perf_counter()
    async with opened(settings, Listeners(on_message=messages.append)) as (prompts, engine):
        load_s = time.perf_counter() - started_s
        n_tokens = min(N_PROMPT_TOKENS, prompts.n_context - N_DECODED_TOKENS)
        ids = prompts.fim.infill(prompts.tokenizer.encode(SAMPLE * n_tokens), ()).ids[:n_tokens]
        request = GenerationRequest("doctor", Prompt(ids, frozenset(), "doctor"), N_DECODED_TOKENS, MEASURE_MS)
        done = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
        if done.n_generated < 2 or not done.decode_ms or not done.prefill_ms:  # noqa: PLR2004  a first and a next one
            message = f"the model wrote {done.n_generated} tokens in {MEASURE_MS / 1000:.0f} s"
            raise EngineError(message)
        return Speed(
            prefill=done.n_evaluated / done.prefill_ms * 1000,
            decode=(done.n_generated - 1) / done.decode_ms * 1000,
            load_s=load_s,
            n_gpu_layers=engine.n_gpu_layers,
            messages=tuple(messages),
        )
