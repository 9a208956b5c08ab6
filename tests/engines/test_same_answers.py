"""A remote engine generates the same text as the local one, and reports its own counts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from starcoder_lsp.documents.documents import Documents
from starcoder_lsp.engine import loading
from starcoder_lsp.engine.engine import Cancellation, Engine, Generation, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, PromptBuilder, build_prompt, choose_window
from starcoder_lsp.settings import ContextSettings, ModelSettings, Settings
from tests.engines.conftest import opened
from tests.engines.servers import EngineServer

ROOT = Path(__file__).parents[2]
N_PLACES = 50
N_TOKENS = 12
NEAR_TIE_NATS = 0.1
"""Two tokens whose log-probabilities differ by less may change places, since engines add in another order."""
SETTINGS = Settings(context=ContextSettings(max_tokens=256))
LOCAL = Settings(model=ModelSettings(threads=1))


def prompts_at_places(prompts: PromptModel, seed: int = 0) -> Iterator[Prompt]:
    """Prompts at random cursors of the program's own source, half of them inside a word."""
    rng, files = random.Random(seed), sorted((ROOT / "starcoder_lsp").rglob("*.py"))
    while True:
        path = rng.choice(files)
        data = path.read_bytes()
        if len(data) < 1000:
            continue
        cursor = rng.randrange(200, len(data))
        is_word = data[cursor - 1 : cursor].isalnum() and data[cursor : cursor + 1].isalnum()
        if is_word != (rng.random() < 0.5):
            continue
        text = data[:cursor].decode(errors="ignore") + "\n" + data[cursor:].partition(b"\n")[2].decode(errors="ignore")
        snapshot = Documents().open("file:///a.py", "python", 1, text)
        at = len(data[:cursor].decode(errors="ignore").encode())
        builder = PromptBuilder.reading(prompts)
        request = CompletionRequest(snapshot, at, builder, SETTINGS)
        yield build_prompt(choose_window(request), builder)


async def answer(engine: Engine, prompts: PromptModel, prompt: Prompt) -> Generation:
    request = GenerationRequest("file:///a.py", prompt, N_TOKENS, 60_000)
    return await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())


async def test_greedy_text_equals_that_of_the_local_engine(
    server: EngineServer, capsys: pytest.CaptureFixture[str]
) -> None:
    n_equal, n_healed, ties = 0, 0, []
    async with opened(server) as (prompts, remote), loading.opened(LOCAL) as (_, local):
        places = prompts_at_places(prompts)
        for place in range(N_PLACES):
            prompt = next(places)
            n_healed += bool(prompt.heal)
            mine, theirs = [(await answer(each, prompts, prompt)).written[0] for each in (local, remote)]
            if mine.text == theirs.text:
                n_equal += 1
                continue
            at = next(i for i, pair in enumerate(zip(mine.ids, theirs.ids, strict=False)) if pair[0] != pair[1])
            scores = await local.score(prompt, mine.ids[: at + 1]), await local.score(prompt, theirs.ids[: at + 1])
            margin = scores[0][-1] - scores[1][-1]
            ties.append((place, at, round(margin, 3)))
            assert margin <= NEAR_TIE_NATS, (place, mine.text, theirs.text)
    with capsys.disabled():
        print(f"\n{server.kind}: {n_equal} of {N_PLACES} places equal; near ties (place, token, nats): {ties}")
    assert n_healed > N_PLACES // 4
