"""Limits of the context and of the sequences, refused requests, and the end of the thread."""

from __future__ import annotations

import asyncio
import threading

import pytest
from attrs import evolve

from starcoder_lsp.engine.engine import (
    Cancellation,
    EngineError,
)
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.llama import N_BRANCHES
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.turns import MAX_ANSWERS
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from tests.local_engine import LocalEngine
from tests.unit.worker.clients import N_CELLS, N_CONTEXT, Reader, blocked, request, run_request, text


@pytest.mark.parametrize("ids", [(), (10**9,), (1, -1), (1, 2, 49152)], ids=str)
async def test_an_invalid_prompt_is_refused(host: LocalEngine, prompts: PromptModel, ids: tuple[int, ...]) -> None:
    wanted = request(prompts, "a")
    with pytest.raises(EngineError, match="prompt"):
        await run_request(host, evolve(wanted, prompt=evolve(wanted.prompt, ids=ids)))
    assert (await run_request(host, wanted)).n_generated > 0


@pytest.mark.parametrize("n_tokens", [N_CONTEXT, N_CONTEXT + 1, N_CELLS])
async def test_a_prompt_as_long_as_the_context_is_refused(
    host: LocalEngine, prompts: PromptModel, n_tokens: int
) -> None:
    wanted = request(prompts, "a", n_tokens)
    assert len(wanted.prompt.ids) == n_tokens
    with pytest.raises(EngineError, match="no room"):
        await run_request(host, wanted)
    with pytest.raises(EngineError, match="no room"):
        await host.prefill("doc", wanted.prompt, Cancellation())


@pytest.mark.parametrize("n_answers", [1, 2, 8, 99])
@pytest.mark.parametrize("n_room", [1, 2, 7, 40])
async def test_prompt_and_answers_fit_the_context(
    host: LocalEngine, prompts: PromptModel, n_room: int, n_answers: int
) -> None:
    wanted = request(prompts, "a", N_CONTEXT - n_room, max_new_tokens=12, n_answers=n_answers)
    answer = await run_request(host, wanted)
    assert len(answer.written) == min(n_answers, MAX_ANSWERS, n_room)
    assert 0 < answer.n_generated <= n_room
    assert all(len(each.ids) <= 12 for each in answer.written)


async def test_a_request_for_no_answers_is_a_prefill(host: LocalEngine, prompts: PromptModel) -> None:
    wanted = request(prompts, "a", n_answers=0)
    stream = host.generate(wanted)
    assert [tokens async for tokens in stream] == []
    usage = await stream.ended()
    assert (usage.n_evaluated, usage.is_complete) == (len(wanted.prompt.ids), True)


async def test_two_clients_may_request_eight_answers_each(host: LocalEngine, prompts: PromptModel) -> None:
    wanted = [request(prompts, name, 100, n_answers=99) for name in "ab"]
    with blocked(host.worker):
        answers = [
            asyncio.ensure_future(run_request(host.beside(each.document + str(i)), each))
            for i, each in enumerate(wanted)
        ]
        await asyncio.wait(answers, timeout=0)
    assert [len(each.written) for each in await asyncio.gather(*answers)] == [8, 8]


async def test_a_request_for_one_answer_reserves_no_further_sequences(host: LocalEngine, prompts: PromptModel) -> None:
    stream = host.generate(request(prompts, "a", max_new_tokens=500))
    async for _ in stream:
        break
    branches = await host.run_on_thread(lambda: list(host.worker.sequences.branches))
    stream.close()
    assert len(branches) == N_BRANCHES


def test_an_unexpected_error_is_reported_to_the_client(host: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _error: None)
    is_told = threading.Event()
    worker = Worker(Sequences.of(host.context, ParkedStates(0), 1, 1), 8, is_told.set)
    worker.start()
    worker.call(lambda: 1 / 0)
    assert is_told.wait(60)
    assert worker.close(60)


def test_the_end_of_the_thread_ends_every_job(prompts: PromptModel, caution: Caution) -> None:
    engine = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    reader = Reader()
    wanted = Decoding(text("a", 40, prompts), prompts.fim.stop_ids, b"", 500)
    with blocked(engine.worker):
        engine.worker.submit(Owner("one", "doc"), wanted, reader, is_ahead=False)
        threading.Thread(target=engine.worker.close, args=(60,)).start()
    engine.end()
    assert reader.n_ends == 1
