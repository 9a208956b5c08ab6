"""Turns: the client whose prompt or answers the model thread works on next."""

from __future__ import annotations

import asyncio
import threading

import pytest

from starcoder_lsp.engine.engine import (
    Cancellation,
    EngineError,
)
from starcoder_lsp.engine.local import turns as turns_module
from starcoder_lsp.engine.local.turns import Turns
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import TokenStream
from tests.local_engine import LocalEngine
from tests.unit.worker.clients import blocked, check_answer, request, run_request, sequence_of


class Pause:
    """Stops the model thread before the `n`-th evaluation of `n_sequences` or more from now on, until `go_on`."""

    def __init__(self, host: LocalEngine, n: int, n_sequences: int = 1) -> None:
        self._gate, self._reached = threading.Event(), asyncio.Event()
        host.worker.sequences.backend.gates.append(self._gate)
        loop, recorder = asyncio.get_running_loop(), host.worker.sequences.backend
        first = len(recorder.evaluated)

        def before() -> None:
            n_before = sum(len(sequences) >= n_sequences for sequences in recorder.evaluated[first:])
            if n_before >= n - 1 and not self._gate.is_set():
                loop.call_soon_threadsafe(self._reached.set)
                self._gate.wait()

        recorder.before = before

    async def reached(self) -> None:
        await self._reached.wait()

    def go_on(self) -> None:
        self._gate.set()


async def test_a_short_prompt_does_not_wait_until_a_long_one_ends(host: LocalEngine, prompts: PromptModel) -> None:
    long, short = host.beside("long"), host.beside("short")
    pause = Pause(host, 3)
    answers = [asyncio.ensure_future(run_request(long, request(prompts, "a", 700)))]
    await pause.reached()
    stream = short.generate(request(prompts, "b"))
    pause.go_on()
    async for tokens in stream:
        assert tokens
        break
    stream.close()
    await asyncio.gather(*answers)
    order = [sequences[0] for sequences in host.worker.sequences.backend.evaluated[2:]]
    assert order.index(sequence_of(host, "short")) <= 2
    assert len(order) > 8, "the long one was under way"


async def test_a_client_that_worked_alone_does_not_wait_for_a_new_one(host: LocalEngine, prompts: PromptModel) -> None:
    """The time that a client used while no other waited is not counted."""
    old, new = host.beside("old"), host.beside("new")
    await run_request(old, request(prompts, "a", 700))
    pause = Pause(host, 3)
    answer = asyncio.ensure_future(run_request(new, request(prompts, "b", 300)))
    await pause.reached()
    stream = old.generate(request(prompts, "c"))
    pause.go_on()
    async for _ in stream:
        break
    stream.close()
    await answer
    order = [sequences[0] for sequences in host.worker.sequences.backend.evaluated[-20:]]
    own, other = sequence_of(host, "old"), sequence_of(host, "new")
    at = order.index(other) + 2  # the evaluation at which the model thread was stopped
    assert own in order[at : at + 3]


async def test_answers_of_two_clients_share_a_batch(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    engines = host.beside("one"), host.beside("two")
    wanted = [request(prompts, "a", max_new_tokens=12), request(prompts, "b", max_new_tokens=12)]
    with blocked(host.worker):
        answers = [asyncio.ensure_future(run_request(*pair)) for pair in zip(engines, wanted, strict=True)]
        await asyncio.wait(answers, timeout=0)
    for answer, each in zip(await asyncio.gather(*answers), wanted, strict=True):
        check_answer(answer, await run_request(alone, each))
    both = {sequence_of(host, "one"), sequence_of(host, "two")}
    n_shared = sum(set(sequences) == both for sequences in host.worker.sequences.backend.evaluated)
    assert n_shared >= 8


async def test_prompts_that_do_not_fit_beside_each_other_are_all_answered(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    wanted = {name: request(prompts, name, 700) for name in ("a", "b", "c", "d", "e", "f")}
    answers = await asyncio.gather(*(run_request(host.beside(name), each) for name, each in wanted.items()))
    host.check_cells()
    for answer, each in zip(answers, wanted.values(), strict=True):
        check_answer(answer, await run_request(alone, each))
        assert answer.n_reused + answer.n_evaluated >= answer.n_prompt
    for name, each in wanted.items():
        again = await run_request(host.beside(name), each)
        assert again.n_evaluated in (0, 1), "it is still there, with its logits, or was copied out"


async def test_a_prefill_yields_to_a_client_that_used_much_less_time(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "MAX_UNFAIR_MS", 0.0)
    wanted = {name: request(prompts, name, 700) for name in ("a", "b", "c", "d")}
    answers = await asyncio.gather(*(run_request(host.beside(name), each) for name, each in wanted.items()))
    host.check_cells()
    for answer, each in zip(answers, wanted.values(), strict=True):
        check_answer(answer, await run_request(alone, each))


async def test_a_large_prompt_is_not_postponed_for_ever(
    host: LocalEngine, prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small prompt that came later waits once the others have used more time than the large one."""
    pause = Pause(host, 2, n_sequences=2)  # both have their prompts, and write
    streams = [host.beside(name).generate(request(prompts, name, 500, max_new_tokens=250)) for name in ("a", "b")]
    await pause.reached()
    monkeypatch.setattr(turns_module, "MAX_UNFAIR_MS", -1.0)
    firsts: list[str] = []

    async def first(name: str, n_tokens: int) -> None:
        stream = host.beside(name).generate(request(prompts, name, n_tokens))
        async for _ in stream:
            firsts.append(name)
            break
        stream.close()

    waiting = [asyncio.ensure_future(first("large", 760)), asyncio.ensure_future(first("small", 20))]
    await asyncio.wait(waiting, timeout=0)
    later = Pause(host, 4)
    pause.go_on()
    await later.reached()
    assert not any(each.cached.owner.client == "small" for each in host.worker.sequences.residents)
    streams[0].close()
    later.go_on()
    await asyncio.gather(*waiting)
    streams[1].close()
    assert sorted(firsts) == ["large", "small"]


async def test_answers_that_are_not_read_block_no_sequence(host: LocalEngine, prompts: PromptModel) -> None:
    """As many clients as there are sequences stop reading after their first answer."""
    silent = [host.beside(name).generate(request(prompts, name, 300, max_new_tokens=1)) for name in "abcd"]
    for stream in silent:
        async for _ in stream:
            break
    assert (await run_request(host.beside("e"), request(prompts, "e", 700))).n_generated > 0
    for stream in silent:
        stream.close()


async def test_work_ahead_of_need_is_interrupted_and_continued_later(host: LocalEngine, prompts: PromptModel) -> None:
    loop, recorder = asyncio.get_running_loop(), host.worker.sequences.backend
    looks: list[int] = []
    wanted: list[TokenStream] = []

    def request_meanwhile() -> None:
        looks.append(1)
        if len(looks) == 100:  # in the middle of a slice
            is_asked = threading.Event()

            def begin() -> None:
                wanted.append(host.beside("waits").generate(request(prompts, "b", max_new_tokens=2)))
                is_asked.set()

            loop.call_soon_threadsafe(begin)
            is_asked.wait()

    recorder.looked = request_meanwhile
    prompt = request(prompts, "a", 500).prompt
    ahead = await host.beside("ahead").prefill("doc", prompt, Cancellation())
    assert (ahead.n_evaluated, ahead.is_complete) == (len(prompt.ids), True)
    own, other = sequence_of(host, "ahead"), sequence_of(host, "waits")
    assert recorder.broken_off == [own]
    order = [sequences[0] for sequences in recorder.evaluated]
    at = order.index(other)
    assert set(order[:at]) == {own}
    assert order[at : at + 2] == [other, other], "the answer is not made to wait again"
    assert set(order[at + 2 :]) == {own}
    wanted[0].close()


async def test_an_answer_ahead_of_need_yields_its_sequence_to_one_that_a_user_waits_for(
    host: LocalEngine, prompts: PromptModel
) -> None:
    pause = Pause(host, 2, n_sequences=2)  # both have their prompts, and write
    streams = [
        host.beside(name).generate(request(prompts, name, 500, max_new_tokens=250, is_ahead=True)) for name in "ab"
    ]
    await pause.reached()
    answer = asyncio.ensure_future(run_request(host.beside("c"), request(prompts, "c", 700)))
    await asyncio.wait([answer], timeout=0)
    pause.go_on()
    assert (await answer).n_generated > 0
    ended = [asyncio.ensure_future(stream.ended()) for stream in streams]
    (given_up,), (other,) = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(EngineError, match="needed the room"):
        await given_up
    streams[ended.index(other)].close()


async def test_the_model_thread_sleeps_while_answers_wait_for_their_readers(
    host: LocalEngine, prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[bool] = []
    sleeps = threading.Event()
    turn, read_inbox = Turns.turn, Worker._read_inbox

    def read(worker: Worker, *, waits: bool) -> bool:
        if waits:
            sleeps.set()
        return read_inbox(worker, waits=waits)

    monkeypatch.setattr(Turns, "turn", lambda each: turns.append(turn(each)) or turns[-1])
    monkeypatch.setattr(Worker, "_read_inbox", read)
    stream = host.generate(request(prompts, "a", max_new_tokens=1))
    async for _ in stream:
        break
    assert await asyncio.to_thread(sleeps.wait, 60)
    assert len(host.worker._turns.jobs) == 1
    assert turns == [True, False]
    sleeps.clear()
    await host.settled()
    assert await asyncio.to_thread(sleeps.wait, 60)
    assert turns == [True, False, False]
    stream.close()
