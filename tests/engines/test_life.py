"""Real engines: reused tokens, cancelled requests, and recovery after a kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import Cancellation, EngineLostError, Generation, GenerationRequest, Prompt
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.remote.breaker import Breaker
from starcoder_lsp.engine.remote.client import RemoteEngine
from tests.engines.conftest import opened
from tests.engines.servers import EngineServer
from tests.engines.test_same_answers import answer, prompts_at_places

MAX_EVALUATED = {"llama-server": 1, "vllm": 32 + 1}
"""The limit of prompt tokens for one more character: one token, and in vLLM at most a block of 32."""
RUNNING = {"llama-server": "llamacpp:requests_processing", "vllm": "vllm:num_requests_running"}
WRITTEN = {"llama-server": "llamacpp:tokens_predicted_total", "vllm": "vllm:generation_tokens_total"}
N_LONG = 900
"""The tokens of an answer that is cancelled before its end."""


def long_prompt(engine: RemoteEngine, n_tokens: int) -> Prompt:
    fim = engine.prompts.fim
    ids = engine.prompts.tokenizer.encode(b"".join(b"value_%d = compute(%d)\n" % (n, n) for n in range(n_tokens)))
    return fim.infill((), (), ids[: n_tokens - fim.frame.n_tokens])


async def run_request(
    engine: RemoteEngine, prompt: Prompt, n_tokens: int = 4, on_texts: Callable[[object], None] = lambda _texts: None
) -> Generation:
    request = GenerationRequest("file:///a.py", prompt, n_tokens, 120_000)
    piece = engine.prompts.tokenizer.piece
    return await generate(engine, request, piece, lambda _text: None, Cancellation(), on_texts=on_texts)


async def test_one_more_token_after_a_thousand_evaluates_one_block(server: EngineServer) -> None:
    async with opened(server) as (_, engine):
        prompt = long_prompt(engine, 1000)
        await run_request(engine, evolve(prompt, ids=prompt.ids[:-1]))
        generation = await run_request(engine, prompt)
        assert generation.is_counted
        assert generation.n_reused + generation.n_evaluated == len(prompt.ids) == 1000
        assert generation.n_evaluated <= MAX_EVALUATED[server.kind]


async def test_a_cancel_stops_the_engine(server: EngineServer) -> None:
    async with opened(server) as (prompts, engine):
        before = server.metrics()[WRITTEN[server.kind]]
        cancellation, has_begun = Cancellation(), asyncio.Event()
        request = GenerationRequest(
            "file:///a.py", evolve(long_prompt(engine, 50), stop_ids=frozenset({0})), N_LONG, 120_000
        )
        asking = asyncio.ensure_future(
            generate(
                engine,
                request,
                prompts.tokenizer.piece,
                lambda _text: None,
                cancellation,
                on_texts=lambda _texts: has_begun.set(),
            )
        )
        await has_begun.wait()
        cancellation.cancel()
        assert (await asking).written[0].stop_reason == "cancelled"
        async with asyncio.timeout(60):
            while (await asyncio.to_thread(server.metrics))[RUNNING[server.kind]]:
                pass
        stopped = await asyncio.to_thread(server.metrics)
        assert stopped[WRITTEN[server.kind]] - before < N_LONG / 2
        await asyncio.sleep(0.3)  # an engine that continued would have generated more
        assert (await asyncio.to_thread(server.metrics))[WRITTEN[server.kind]] == stopped[WRITTEN[server.kind]]


async def test_after_a_kill_the_engine_is_used_again_without_a_restart_of_the_server(
    server: EngineServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starcoder_lsp.engine.remote.breaker.MAX_PAUSE_S", 2.0)
    messages, states, is_back = [], [], asyncio.Event()
    async with opened(server, messages, states) as (_, engine):
        on_state = engine.on_state
        engine.on_state = lambda state: (on_state(state), None if state else is_back.set())
        engine.breaker = Breaker()
        asking = asyncio.ensure_future(
            run_request(engine, long_prompt(engine, 50), N_LONG, lambda _texts: server.stop())
        )
        with pytest.raises(EngineLostError):
            await asking
        while not engine.breaker.is_away:
            with pytest.raises(EngineLostError):
                await run_request(engine, long_prompt(engine, 50))
        assert len(states) == 1
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(60):
            await is_back.wait()
        assert all(states[:-1]), "unreachable, and perhaps not ready yet"
        assert states[-1] == ""
        assert (await run_request(engine, long_prompt(engine, 50))).written[0].ids
        assert len([message for message in messages if "come back by themselves" in message]) == 1


async def test_engines_of_text_heal_by_dropping_answers_that_do_not_fit(llama: EngineServer) -> None:
    """On llama.cpp's server with OpenAI's protocol, the answer must continue the word, however it is tokenized."""
    async with opened(llama, kind="openai") as (prompts, engine), opened(llama) as (_, exact):
        assert not engine.capabilities.takes_ids
        places = prompts_at_places(prompts, seed=1)
        n_equal, n_places = 0, 20
        for _ in range(n_places):
            prompt = next(places)
            by_text, by_ids = [(await answer(each, prompts, prompt)).written[0] for each in (engine, exact)]
            n_equal += by_text.text[:8] == by_ids.text[:8]
        assert n_equal >= n_places / 2, "the same model, without a constraint"


@pytest.mark.parametrize("heal", ["é", "中文", "x = '😀"])
async def test_an_answer_may_have_characters_that_are_cut_between_tokens(server: EngineServer, heal: str) -> None:
    async with opened(server) as (prompts, engine):
        ids = prompts.tokenizer.encode(heal.encode())
        assert any(not prompts.tokenizer.piece(each).isascii() for each in ids[:-1]), "cut between two tokens"
        prompt = evolve(long_prompt(engine, 50), heal=heal.encode())
        written = (await run_request(engine, prompt, len(ids) + 2)).written[0]
        assert b"".join(map(prompts.tokenizer.piece, written.ids)).startswith(heal.encode())
