"""The cost of prompts: while typing, on slow machines, and when they are prefilled ahead of need."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from starcoder_lsp.completion import complete
from starcoder_lsp.engine.engine import Cancellation, Prefilled, Prompt
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import (
    MIN_COLD_TOKENS,
    CompletionRequest,
    Model,
    choose_window,
    n_cold_tokens,
    prepare,
)
from tests.local_engine import LocalEngine
from tests.scripted import Scripted
from tests.unit.completion.requests import DEFAULTS, LONG_FILE, opened


async def test_a_typed_letter_evaluates_few_tokens(model: Model) -> None:
    """The first request in a long file evaluates the whole prompt, and each typed letter a few tokens more."""
    text = LONG_FILE[:60_000]
    settings = evolve(DEFAULTS, completion=evolve(DEFAULTS.completion, max_tokens=1))
    costs = []
    for letter in "\n\ndef total(values):\n    return sum(":
        text += letter
        request = CompletionRequest(opened(text), len(text.encode()), model, settings)
        completion = await complete(request, Cancellation())
        assert completion.generation is not None
        costs.append(completion.generation.n_evaluated)
    assert costs[0] > 1000
    assert sorted(costs)[-2] < 32
    assert sum(costs[1:]) / len(costs[1:]) < 4


class Slow:
    """The demonstrator with a reported speed of `prefill_speed` prompt tokens a second."""

    def __init__(self, engine: LocalEngine, prefill_speed: float) -> None:
        self._engine, self.prefill_speed = engine, prefill_speed

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


LONG = "import os\n\n" + "def f(x):\n    return x + 1\n\n\n" * 300


TYPED_AT = len(LONG) // 2


@given(st.floats(0, 1e5), st.integers(50, 120_000))
def test_a_cold_prompt_is_prefilled_within_its_time_limit(
    prompts: PromptModel, tokens_per_s: float, max_prefill_ms: int
) -> None:
    model = Model.of(prompts, Scripted(prompts, prefill_speed=tokens_per_s))
    n_tokens = n_cold_tokens(model, max_prefill_ms)
    if n_tokens > MIN_COLD_TOKENS and tokens_per_s:
        assert n_tokens / tokens_per_s * 1000 <= max_prefill_ms
    assert n_tokens >= MIN_COLD_TOKENS


async def test_a_slow_machine_gets_a_small_window_first_and_the_whole_one_after_prefill(
    prompts: PromptModel, engine: LocalEngine
) -> None:
    model = Model.of(prompts, Slow(engine, 100.0))
    settings = evolve(DEFAULTS, context=evolve(DEFAULTS.context, max_prefill_ms=2000))
    cursor_byte, cancelled = TYPED_AT, Cancellation(is_cancelled=True)
    narrow = await complete(CompletionRequest(opened(LONG, "python"), cursor_byte, model, settings), Cancellation())
    assert 100 < narrow.window.n_tokens <= 200
    before = opened(LONG, "python")
    assert not (await prepare(CompletionRequest(before, cursor_byte, model, settings), cancelled)).is_complete
    assert choose_window(CompletionRequest(before, cursor_byte, model, settings)).budget == narrow.window.budget
    assert (await prepare(CompletionRequest(before, cursor_byte, model, settings), Cancellation())).is_complete
    typed = opened(LONG[:cursor_byte] + "x" + LONG[cursor_byte:], "python")
    whole = await complete(CompletionRequest(typed, cursor_byte + 1, model, settings), Cancellation())
    assert whole.window.n_tokens > 1000
    assert whole.generation.n_evaluated <= 2
    assert (await prepare(CompletionRequest(typed, cursor_byte + 1, model, settings), Cancellation())).n_evaluated <= 1


async def test_a_cancelled_prefill_does_not_store_its_window(prompts: PromptModel, engine: LocalEngine) -> None:
    """A window of a later text may be stored already, and the window of the earlier text would replace it."""
    cancellation = Cancellation()

    class Late(Slow):
        async def prefill(self, document: str, prompt: Prompt, given: Cancellation) -> Prefilled:
            prefilled = await self._engine.prefill(document, prompt, given)
            cancellation.cancel()
            return prefilled

    model = Model.of(prompts, Late(engine, 100.0))
    prefilled = await prepare(CompletionRequest(opened(LONG, "python"), TYPED_AT, model, DEFAULTS), cancellation)
    assert prefilled.is_complete
    assert not model.anchors._by_uri["file:///src/a.py"].windows


@pytest.mark.parametrize("is_from_top", [True, False])
@pytest.mark.parametrize("cursor_byte", [0, 1, 2, 10**9])
async def test_a_prompt_can_be_prefilled_at_any_cursor(
    prompts: PromptModel, engine: LocalEngine, cursor_byte: int, *, is_from_top: bool
) -> None:
    snapshot = opened("é = 'ö'\n" * 20, "python")
    request = CompletionRequest(snapshot, cursor_byte, Model.of(prompts, engine), DEFAULTS)
    assert (await prepare(request, Cancellation(), is_from_top=is_from_top)).is_complete
    off = evolve(request, settings=evolve(DEFAULTS, enabled=False))
    assert await prepare(off, Cancellation(), is_from_top=is_from_top) is None
