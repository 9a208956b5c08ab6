"""Several clients of one model thread: the order of turns, the owners of cells, and agreement on every way out."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from starcoder_lsp.engine.engine import (
    Cancellation,
    CompletionOutput,
    EngineError,
    Generation,
    GenerationRequest,
    Prompt,
    Sampling,
)
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.loading import DEMONSTRATOR
from starcoder_lsp.engine.local import turns as turns_module
from starcoder_lsp.engine.local.backend import N_SLICE, Interrupted
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.jobs import Job
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.llama import N_BRANCHES, N_RESIDENTS, LlamaContext, LoadOptions
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.slices import batch_timer, measured
from starcoder_lsp.engine.local.turns import MAX_ANSWERS, Turns
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import Token, TokenStream, Usage
from tests.local_engine import LocalEngine, differences

N_CONTEXT = 768
N_CELLS = 2 * N_CONTEXT
N_PARKED_BYTES = 32 * 1024 * 1024


class Recorder:
    """The real context, and a record of its evaluations: `(sequence, ...)` of each."""

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self.evaluated: list[tuple[int, ...]] = []
        self.broken_off: list[int] = []
        self.gates: list[threading.Event] = []
        self.before: Callable[[], None] = lambda: None
        """Called before each evaluation, on the model thread."""
        self.looked: Callable[[], None] = lambda: None
        """Called whenever the model thread asks whether to break off."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:
        self.before()
        self.evaluated.append((sequence,))
        is_done = self._context.decode(sequence, ids, first_position, lambda: self.looked() or interrupted())
        if not is_done:
            self.broken_off.append(sequence)
        return is_done

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        self.before()
        self.evaluated.append(tuple(sequence for sequence, _, _ in tokens))
        self._context.step(tokens)


@pytest.fixture(scope="module")
def loaded(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """Cells for two prompts that fill the context."""
    small = evolve(prompts, n_context=N_CONTEXT)
    engine = LocalEngine.load(small, DEMONSTRATOR, caution, N_PARKED_BYTES, n_cells=N_CELLS)
    engine.worker.sequences.backend = Recorder(engine.context)
    yield engine
    engine.end()


@pytest.fixture
def host(loaded: LocalEngine) -> Iterator[LocalEngine]:
    """The model thread with empty cells and nothing parked; afterwards records and context agree."""
    recorder = loaded.worker.sequences.backend = Recorder(loaded.context._context)
    for resident in loaded.worker.sequences.residents:
        loaded.worker.leave(resident.cached.owner.client)
    wait_for(loaded.worker)
    loaded.worker.sequences.states = ParkedStates(N_PARKED_BYTES)
    yield loaded
    recorder.before = recorder.looked = lambda: None
    for gate in recorder.gates:
        gate.set()
    wait_for(loaded.worker)
    loaded.check_cells()


@pytest.fixture(scope="module")
def alone(prompts: PromptModel, caution: Caution) -> Iterator[LocalEngine]:
    """An engine with one client."""
    engine = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    yield engine
    engine.end()


def wait_for(worker: Worker) -> None:
    """Wait until the model thread has made all earlier calls."""
    done = threading.Event()
    worker.call(done.set)
    assert done.wait(60)


@contextmanager
def held(worker: Worker) -> Iterator[None]:
    """Block the model thread meanwhile, so that it receives all calls together."""
    gate = threading.Event()
    worker.call(gate.wait)
    try:
        yield
    finally:
        gate.set()


def text(name: str, n_tokens: int, prompts: PromptModel) -> tuple[int, ...]:
    """Ids of a prompt for the end of a file; no two names share more than the first marker."""
    functions = "".join(f"def {name}_{i}(x):\n    return x + {i}\n\n\n" for i in range(100))
    fim = prompts.fim
    ids = prompts.tokenizer.encode(f"{name} = 1\n{functions}".encode())
    return fim.infill(ids[: n_tokens - 3], ()).ids


def request(
    prompts: PromptModel, name: str, n_tokens: int = 40, document: str = "doc", **given: object
) -> GenerationRequest:
    prompt = evolve(prompts.fim.infill((), ()), ids=text(name, n_tokens, prompts))
    return GenerationRequest(document, prompt, **({"max_new_tokens": 6, "timeout_ms": 60_000.0} | given))


async def ask(engine: LocalEngine, asked: GenerationRequest) -> Generation:
    piece = engine.context.pieces.__getitem__
    generation = await generate(engine, asked, piece, lambda _text: None, Cancellation())
    await engine.settled()
    return generation


def check_answer(got: Generation, wanted: Generation) -> None:
    """Raise `AssertionError` unless answers are the same, ties apart."""
    (mine,), (theirs,) = got.written, wanted.written
    n_same = len(differences(mine, theirs))
    assert mine.ids == theirs.ids or n_same < min(len(mine.ids), len(theirs.ids))


def sequence_of(host: LocalEngine, client: str) -> int:
    return next(each.cached.sequence for each in host.worker.sequences.residents if each.cached.owner.client == client)


class Pause:
    """Stops the model thread before the `n`-th evaluation from now on, until `go_on`."""

    def __init__(self, host: LocalEngine, n: int) -> None:
        self._gate, self._reached = threading.Event(), asyncio.Event()
        host.worker.sequences.backend.gates.append(self._gate)
        loop, recorder = asyncio.get_running_loop(), host.worker.sequences.backend
        first = len(recorder.evaluated)

        def before() -> None:
            if len(recorder.evaluated) - first >= n - 1 and not self._gate.is_set():  # a batch counts several
                loop.call_soon_threadsafe(self._reached.set)
                self._gate.wait()

        recorder.before = before

    async def reached(self) -> None:
        await self._reached.wait()

    def go_on(self) -> None:
        self._gate.set()


# Turns


async def test_a_short_prompt_does_not_wait_for_a_long_one(host: LocalEngine, prompts: PromptModel) -> None:
    long, short = host.beside("long"), host.beside("short")
    pause = Pause(host, 3)
    answers = [asyncio.ensure_future(ask(long, request(prompts, "a", 700)))]
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


async def test_who_worked_alone_before_does_not_wait_for_who_comes(host: LocalEngine, prompts: PromptModel) -> None:
    """Time that a client had while no other wanted any does not count against it."""
    old, new = host.beside("old"), host.beside("new")
    await ask(old, request(prompts, "a", 700))
    pause = Pause(host, 3)
    answer = asyncio.ensure_future(ask(new, request(prompts, "b", 300)))
    await pause.reached()
    stream = old.generate(request(prompts, "c"))
    pause.go_on()
    async for _ in stream:
        break
    stream.close()
    await answer
    order = [sequences[0] for sequences in host.worker.sequences.backend.evaluated[-20:]]
    own, other = sequence_of(host, "old"), sequence_of(host, "new")
    at = order.index(other) + 2  # where the model thread was stopped
    assert own in order[at : at + 3]


async def test_answers_of_two_clients_share_a_batch(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    engines = host.beside("one"), host.beside("two")
    asked = [request(prompts, "a", max_new_tokens=12), request(prompts, "b", max_new_tokens=12)]
    with held(host.worker):
        answers = [asyncio.ensure_future(ask(*pair)) for pair in zip(engines, asked, strict=True)]
        await asyncio.wait(answers, timeout=0)
    for answer, each in zip(await asyncio.gather(*answers), asked, strict=True):
        check_answer(answer, await ask(alone, each))
    both = {sequence_of(host, "one"), sequence_of(host, "two")}
    n_shared = sum(set(sequences) == both for sequences in host.worker.sequences.backend.evaluated)
    assert n_shared >= 8


async def test_prompts_that_do_not_fit_beside_each_other_are_all_answered(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    asked = {name: request(prompts, name, 700) for name in ("a", "b", "c", "d", "e", "f")}
    answers = await asyncio.gather(*(ask(host.beside(name), each) for name, each in asked.items()))
    host.check_cells()
    for answer, each in zip(answers, asked.values(), strict=True):
        check_answer(answer, await ask(alone, each))
        assert answer.n_reused + answer.n_evaluated >= answer.n_prompt
    for name, each in asked.items():
        again = await ask(host.beside(name), each)
        assert again.n_evaluated in (0, 1), "it is still there, with its logits, or was copied out"


async def test_a_prefill_makes_room_for_who_had_much_less(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "MAX_UNFAIR_MS", 0.0)
    asked = {name: request(prompts, name, 700) for name in ("a", "b", "c", "d")}
    answers = await asyncio.gather(*(ask(host.beside(name), each) for name, each in asked.items()))
    host.check_cells()
    for answer, each in zip(answers, asked.values(), strict=True):
        check_answer(answer, await ask(alone, each))


async def test_a_large_prompt_is_not_passed_by_for_ever(
    host: LocalEngine, prompts: PromptModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small one that came later, and would fit, waits once others had more time than the large one."""
    pause = Pause(host, 20)
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


async def test_answers_that_nobody_reads_keep_no_room(host: LocalEngine, prompts: PromptModel) -> None:
    """As many clients as there are sequences got their answer and say nothing more."""
    silent = [host.beside(name).generate(request(prompts, name, 300, max_new_tokens=1)) for name in "abcd"]
    for stream in silent:
        async for _ in stream:
            break
    assert (await ask(host.beside("e"), request(prompts, "e", 700))).n_generated > 0
    for stream in silent:
        stream.close()


# Ahead of need


async def test_work_ahead_is_broken_off_and_goes_on_later(host: LocalEngine, prompts: PromptModel) -> None:
    loop, recorder = asyncio.get_running_loop(), host.worker.sequences.backend
    looks: list[int] = []
    asked: list[TokenStream] = []

    def ask_meanwhile() -> None:
        looks.append(1)
        if len(looks) == 100:  # in the middle of a slice
            is_asked = threading.Event()

            def begin() -> None:
                asked.append(host.beside("waits").generate(request(prompts, "b", max_new_tokens=2)))
                is_asked.set()

            loop.call_soon_threadsafe(begin)
            is_asked.wait()

    recorder.looked = ask_meanwhile
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
    asked[0].close()


async def test_an_answer_ahead_of_need_gives_its_room_to_one_that_somebody_waits_for(
    host: LocalEngine, prompts: PromptModel
) -> None:
    pause = Pause(host, 20)
    streams = [
        host.beside(name).generate(request(prompts, name, 500, max_new_tokens=250, is_ahead=True)) for name in "ab"
    ]
    await pause.reached()
    answer = asyncio.ensure_future(ask(host.beside("c"), request(prompts, "c", 700)))
    await asyncio.wait([answer], timeout=0)
    pause.go_on()
    assert (await answer).n_generated > 0
    streams[1].close()
    with pytest.raises(EngineError, match="needed the room"):
        await streams[0].ended()


# Whose cells


async def test_documents_of_two_clients_with_one_name_are_two(
    host: LocalEngine, prompts: PromptModel, alone: LocalEngine
) -> None:
    one, two = host.beside("one"), host.beside("two")
    first, second = request(prompts, "a", 200), request(prompts, "b", 300)
    for _ in range(2):
        check_answer(await ask(one, first), await ask(alone, first))
        check_answer(await ask(two, second), await ask(alone, second))
    assert max((await ask(one, first)).n_evaluated, (await ask(two, second)).n_evaluated) == 0
    for engine, asked in ((one, first), (two, second)):
        (cached,) = await engine.cached()
        assert (cached.document, cached.where) == ("doc", "device")
        assert len(asked.prompt.ids) <= cached.n_tokens <= len(asked.prompt.ids) + asked.max_new_tokens


async def test_what_two_clients_have_in_common_is_evaluated_once(host: LocalEngine, prompts: PromptModel) -> None:
    asked = request(prompts, "a", 300)
    await ask(host.beside("one"), asked)
    assert (await ask(host.beside("two"), asked)).n_evaluated == 1
    await ask(host.beside("two"), request(prompts, "b", 300))
    assert (await ask(host.beside("one"), asked)).n_evaluated == 0


async def test_a_copy_that_serves_another_client_stays(host: LocalEngine, prompts: PromptModel) -> None:
    """Only its beginning is of use there."""
    one, two = host.beside("one"), host.beside("two")
    asked = request(prompts, "a", 600)
    await ask(one, asked)
    await ask(one, request(prompts, "b", 300))
    ids = (*asked.prompt.ids[:200], *request(prompts, "c", 100).prompt.ids)
    answer = await ask(two, evolve(asked, prompt=evolve(asked.prompt, ids=ids)))
    assert answer.n_reused == 200
    assert (await ask(one, asked)).n_evaluated == 1


async def test_forget_drops_ones_own_only(host: LocalEngine, prompts: PromptModel) -> None:
    one, two = host.beside("one"), host.beside("two")
    asked = request(prompts, "a", 200), request(prompts, "b", 200)
    for engine in (one, two):
        for each in asked:
            await ask(engine, each)
    await one.forget()
    assert await one.cached() == []
    assert {each.where for each in await two.cached()} == {"device", "ram"}
    assert (await ask(two, asked[1])).n_evaluated == 0


async def test_a_client_that_leaves_is_parked(host: LocalEngine, prompts: PromptModel) -> None:
    asked = request(prompts, "a", 300)
    cold = await ask(host.beside("goes"), asked)
    host.worker.leave("goes")
    await host.settled()
    host.check_cells()
    assert not any(each.cached.ids for each in host.worker.sequences.residents)
    (parked,) = host.worker.sequences.states
    assert parked.owner == Owner("goes", "doc")
    back = await ask(host.beside("comes back"), asked)
    assert back.n_evaluated == 1
    check_answer(back, cold)


async def test_a_client_that_leaves_ends_its_jobs(host: LocalEngine, prompts: PromptModel) -> None:
    stream = host.beside("goes").generate(request(prompts, "a", 100, max_new_tokens=500))
    async for _ in stream:
        break
    host.worker.leave("goes")
    await stream.ended()
    host.check_cells()


async def test_copies_of_all_clients_share_one_limit(host: LocalEngine, prompts: PromptModel) -> None:
    states = host.worker.sequences.states = ParkedStates(1_500_000)
    for name in "abcd":
        await ask(host.beside(name), request(prompts, name, 300))
        host.worker.leave(name)
    await host.settled()
    kept = list(states)
    assert 0 < len(kept) < 4
    assert [each.owner.client for each in kept] == ["d", "c", "b", "a"][: len(kept)]
    assert sum(each.state.nbytes for each in kept) <= 1_500_000


async def test_a_few_tokens_are_not_copied(host: LocalEngine, prompts: PromptModel) -> None:
    await ask(host.beside("goes"), request(prompts, "a", 20))
    host.worker.leave("goes")
    await host.settled()
    assert list(host.worker.sequences.states) == []


# Edges


@pytest.mark.parametrize("ids", [(), (10**9,), (1, -1), (1, 2, 49152)], ids=str)
async def test_a_prompt_that_makes_no_sense_is_refused(
    host: LocalEngine, prompts: PromptModel, ids: tuple[int, ...]
) -> None:
    asked = request(prompts, "a")
    with pytest.raises(EngineError, match="prompt"):
        await ask(host, evolve(asked, prompt=evolve(asked.prompt, ids=ids)))
    assert (await ask(host, asked)).n_generated > 0


@pytest.mark.parametrize("n_tokens", [N_CONTEXT, N_CONTEXT + 1, N_CELLS])
async def test_a_prompt_as_long_as_the_context_is_refused(
    host: LocalEngine, prompts: PromptModel, n_tokens: int
) -> None:
    asked = request(prompts, "a", n_tokens)
    assert len(asked.prompt.ids) == n_tokens
    with pytest.raises(EngineError, match="no room"):
        await ask(host, asked)
    with pytest.raises(EngineError, match="no room"):
        await host.prefill("doc", asked.prompt, Cancellation())


@pytest.mark.parametrize("n_answers", [1, 2, 8, 99])
@pytest.mark.parametrize("n_room", [1, 2, 7, 40])
async def test_prompt_and_answers_fit_the_context(
    host: LocalEngine, prompts: PromptModel, n_room: int, n_answers: int
) -> None:
    asked = request(prompts, "a", N_CONTEXT - n_room, max_new_tokens=12, n_answers=n_answers)
    answer = await ask(host, asked)
    assert len(answer.written) == min(n_answers, MAX_ANSWERS, n_room)
    assert 0 < answer.n_generated <= n_room
    assert all(len(each.ids) <= 12 for each in answer.written)


async def test_an_answer_without_answers_is_a_prefill(host: LocalEngine, prompts: PromptModel) -> None:
    asked = request(prompts, "a", n_answers=0)
    stream = host.generate(asked)
    assert [tokens async for tokens in stream] == []
    usage = await stream.ended()
    assert (usage.n_evaluated, usage.is_complete) == (len(asked.prompt.ids), True)


async def test_two_clients_may_ask_for_eight_answers_each(host: LocalEngine, prompts: PromptModel) -> None:
    asked = [request(prompts, name, 100, n_answers=99) for name in "ab"]
    with held(host.worker):
        answers = [
            asyncio.ensure_future(ask(host.beside(each.document + str(i)), each)) for i, each in enumerate(asked)
        ]
        await asyncio.wait(answers, timeout=0)
    assert [len(each.written) for each in await asyncio.gather(*answers)] == [8, 8]


async def test_a_plain_answer_takes_no_sequence_for_further_ones(host: LocalEngine, prompts: PromptModel) -> None:
    stream = host.generate(request(prompts, "a", max_new_tokens=500))
    async for _ in stream:
        break
    branches = await host.ask(lambda: list(host.worker.sequences.branches))
    stream.close()
    assert len(branches) == N_BRANCHES


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


def test_an_error_that_nobody_expected_is_told(host: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _error: None)
    is_told = threading.Event()
    worker = Worker(Sequences.of(host.context, ParkedStates(0), 1, 1), 8, is_told.set)
    worker.start()
    worker.call(lambda: 1 / 0)
    assert is_told.wait(60)
    assert worker.close(60)


def test_the_end_ends_every_job(prompts: PromptModel, caution: Caution) -> None:
    engine = LocalEngine.load(prompts, DEMONSTRATOR, caution)
    reader = Reader()
    asked = Decoding(text("a", 40, prompts), prompts.fim.stop_ids, b"", 500)
    with held(engine.worker):
        engine.worker.submit(Owner("one", "doc"), asked, reader, is_ahead=False)
        threading.Thread(target=engine.worker.close, args=(60,)).start()
    engine.end()
    assert reader.n_ends == 1


# Anything in any order


class Reader:
    """Receives the results of a job, without an event loop."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.n_ends = 0
        self.error = ""
        self.dropped: set[int] = set()
        self.changed = threading.Condition()

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:  # noqa: ARG002
        with self.changed:
            assert not self.n_ends, "the end is the last call"
            self.tokens += tokens
            self.changed.notify_all()

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:  # noqa: ARG002
        with self.changed:
            self.n_ends += 1
            self.error = error
            self.changed.notify_all()

    def wait(self, n_tokens: int = 10**9) -> None:
        """Wait for so many tokens, or until no more will come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.n_ends or len(self.tokens) >= n_tokens or self._is_silent(), 60)

    def _is_silent(self) -> bool:
        """Whether all answers ended that began."""
        ended = {token.answer for token in self.tokens if token.end} | self.dropped
        return bool(self.tokens) and ended >= {token.answer for token in self.tokens}

    def first_answer(self) -> CompletionOutput:
        mine = [token for token in self.tokens if token.answer == 0 and token.end != "stop_token"]
        return CompletionOutput(b"", tuple(each.id for each in mine), tuple(each.logprob for each in mine), "")


class FailingContext(Recorder):
    """Fails in some of its evaluations, before or after the cells are there."""

    def __init__(self, context: LlamaContext, failures: dict[int, bool]) -> None:
        super().__init__(context)
        self._failures = failures

    def decode(self, *given: object) -> bool:
        self._fail(before=True)
        is_done = super().decode(*given)
        self._fail(before=False)
        return is_done

    def step(self, *given: object) -> None:
        self._fail(before=True)
        super().step(*given)
        self._fail(before=False)

    def _fail(self, *, before: bool) -> None:
        n = len(self.evaluated)
        if self._failures.get(n) is before:
            del self._failures[n]
            raise EngineError("made up")


@frozen
class Ask:
    client: str
    document: str
    prompt: str
    n_tokens: int
    n_answers: int
    beam: float
    max_new_tokens: int
    temperature: float
    is_ahead: bool


@frozen
class Wait:
    n_tokens: int


@frozen
class Drop:
    job: int
    answer: int


@frozen
class Cancel:
    job: int
    kept: int


@frozen
class Of:
    """`forget`, `leave`, `persist` or `settle`."""

    what: str
    client: str
    document: str


CLIENTS, DOCUMENTS, PROMPTS = st.sampled_from("pqr"), st.sampled_from(["x", "y"]), st.sampled_from("abc")
ASKS = st.builds(
    Ask,
    CLIENTS,
    DOCUMENTS,
    PROMPTS,
    st.sampled_from([4, 30, 100, 200, 400, N_CONTEXT - 3]),
    st.sampled_from([0, 1, 1, 2, 3, 8]),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([1, 2, 6, 300]),
    st.sampled_from([0.0, 0.0, 1.0]),
    st.booleans(),
)
DEEDS = st.one_of(
    ASKS,
    ASKS,
    ASKS,
    st.builds(Wait, st.sampled_from([1, 3])),
    st.builds(Drop, st.integers(0, 9), st.integers(0, 3)),
    st.builds(Cancel, st.integers(0, 9), st.integers(0, 3)),
    st.builds(Of, st.sampled_from(["forget", "leave", "persist", "settle"]), CLIENTS, DOCUMENTS),
)


@pytest.fixture(scope="module")
def longest(alone: LocalEngine, prompts: PromptModel) -> Callable[[Ask], CompletionOutput]:
    """Return the first 6 tokens that an engine with one client answers to a prompt; each prompt is run once."""
    known: dict[tuple[str, int], CompletionOutput] = {}

    def answer(asked: Ask) -> CompletionOutput:
        key = asked.prompt, asked.n_tokens
        if key not in known:
            reader = Reader()
            ids = text(*key, prompts)
            asked_for = Decoding(ids, prompts.fim.stop_ids, b"", 6)
            alone.worker.forget("alone")
            job = alone.worker.submit(Owner("alone", "doc"), asked_for, reader, is_ahead=False)
            reader.wait()
            alone.worker.cancel(job)
            wait_for(alone.worker)
            known[key] = reader.first_answer()
        return known[key]

    return answer


class Play:
    """Runs the calls of several clients."""

    def __init__(self, worker: Worker, prompts: PromptModel) -> None:
        self.jobs: list[tuple[Job, Reader, Ask]] = []
        self._worker, self._prompts = worker, prompts

    def do(self, deed: object) -> None:
        match deed:
            case Ask():
                self._ask(deed)
            case Of("settle"):
                wait_for(self._worker)
            case Of("persist", client, document):
                self._worker.persist(Owner(client, document))
            case Of(what, client):
                getattr(self._worker, what)(client)
            case _ if self.jobs:
                self._go_on(deed)

    def _ask(self, asked: Ask) -> None:
        owner = Owner(asked.client, asked.document)
        for job, _, _ in self.jobs:
            if job.owner == owner:
                self._worker.cancel(job)
        decoding = Decoding(
            text(asked.prompt, asked.n_tokens, self._prompts),
            self._prompts.fim.stop_ids,
            b"",
            asked.max_new_tokens,
            asked.n_answers,
            asked.beam,
            Sampling(asked.temperature, 1),
        )
        reader = Reader()
        self.jobs.append((self._worker.submit(owner, decoding, reader, is_ahead=asked.is_ahead), reader, asked))

    def _go_on(self, deed: object) -> None:
        match deed:
            case Wait(n_tokens):
                self.jobs[-1][1].wait(n_tokens)
            case Drop(number, answer):
                job, reader, _ = self.jobs[number % len(self.jobs)]
                self._worker.drop(job, answer)
                reader.dropped.add(answer)
            case Cancel(job, kept):
                self._worker.cancel(self.jobs[job % len(self.jobs)][0], kept)

    def end(self) -> None:
        """Wait for short answers, and cancel everything."""
        for _, reader, asked in self.jobs:
            if asked.max_new_tokens <= 6:
                reader.wait()
        for job, _, _ in self.jobs:
            self._worker.cancel(job)
        wait_for(self._worker)


@settings(max_examples=60)
@given(
    deeds=st.lists(DEEDS, min_size=5, max_size=14),
    failures=st.dictionaries(st.integers(0, 12), st.booleans(), max_size=3),
)
def test_after_anything_in_any_order_all_is_clean(
    loaded: LocalEngine,
    prompts: PromptModel,
    longest: Callable[[Ask], CompletionOutput],
    deeds: list[object],
    failures: dict[int, bool],
) -> None:
    worker = loaded.worker
    for client in "pqr":
        worker.leave(client)
    wait_for(worker)
    worker.sequences.states = ParkedStates(1_000_000)
    worker.sequences.backend = FailingContext(loaded.context._context, dict(failures))
    play = Play(worker, prompts)
    for deed in deeds:
        play.do(deed)
    play.end()
    loaded.check_cells()
    assert worker._turns.jobs == []
    assert [each.job for each in worker.sequences.residents] == [None] * N_RESIDENTS
    for _, reader, asked in play.jobs:
        assert reader.n_ends == 1
        assert reader.error == "" or failures or asked.is_ahead
        if asked.temperature == 0 and not (asked.beam and asked.n_answers == 1):
            differences(reader.first_answer(), longest(asked))


@pytest.mark.parametrize("n_slice", [64, 100, 256])
async def test_a_slice_of_any_size_gives_the_same_text(prompts: PromptModel, caution: Caution, n_slice: int) -> None:
    extra, flash = caution < Caution.PLAIN_WEIGHTS, caution < Caution.MINIMAL
    options = LoadOptions(DEMONSTRATOR, N_CELLS, prompts.n_bytes, 0, 1, extra, flash, n_slice=32)
    context = LlamaContext(options, prompts.tokenizer.pieces)
    context.decode(0, [5] * 32, 0)
    context.reopen(n_slice)
    assert context.n_cells_of(0) == 0
    recorder = Recorder(context)
    sequences = Sequences.of(recorder, ParkedStates(0), N_RESIDENTS, N_BRANCHES)
    engine = LocalEngine(Worker(sequences, N_CONTEXT))
    engine.worker.start()
    source = b"import os\n\n\ndef read(path):\n    with open(path) as file:\n        return file.read()\n" * 12
    prompt = prompts.fim.infill(prompts.tokenizer.encode(source), ())
    request = GenerationRequest("a", prompt, max_new_tokens=1, timeout_ms=60_000)
    generation = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
    assert generation.n_evaluated == len(prompt.ids)
    assert len(recorder.evaluated) == -(-len(prompt.ids) // n_slice)
    best = int(context.logits().argmax())
    context.truncate(generation_sequence := recorder.evaluated[0][0], 0)
    for first in range(0, len(prompt.ids), 50):
        context.decode(generation_sequence, prompt.ids[first : first + 50], first)
    assert int(context.logits().argmax()) == best
    engine.end()


async def test_slices_become_shorter_where_they_take_too_long(prompts: PromptModel, caution: Caution) -> None:
    extra, flash = caution < Caution.PLAIN_WEIGHTS, caution < Caution.MINIMAL
    options = LoadOptions(DEMONSTRATOR, N_CELLS, prompts.n_bytes, 0, 1, extra, flash, n_slice=256)
    context = LlamaContext(options, prompts.tokenizer.pieces)
    size = measured(256, batch_timer(context), context.reopen)
    assert size.n_batch == context.n_slice
    size.n_tokens, size.target_ms = size.n_batch, 0.001
    recorder = Recorder(context)
    sequences = Sequences.of(recorder, ParkedStates(0), N_RESIDENTS, N_BRANCHES)
    engine = LocalEngine(Worker(sequences, N_CONTEXT, slices=size))
    engine.worker.start()
    ids = prompts.tokenizer.encode(b"x = 1\n" * 200)[: size.n_batch + 3 * N_SLICE]
    request = GenerationRequest("a", Prompt(tuple(ids), frozenset(), "none"), max_new_tokens=1, timeout_ms=60_000)
    generation = await generate(engine, request, prompts.tokenizer.piece, lambda _text: None, Cancellation())
    assert generation.n_evaluated == len(ids)
    assert len(recorder.evaluated) == 1 + -(-(len(ids) - size.n_batch) // N_SLICE)
    engine.end()
