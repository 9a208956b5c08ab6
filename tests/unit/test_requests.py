"""Answers from the cache, from a running generation, and from a new one, on an engine that a test drives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from attrs import define, evolve, field, frozen

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.session import in_flight as in_flight_module
from starcoder_lsp.session import requests as requests_module
from starcoder_lsp.session.admission import N_AT_ONCE
from starcoder_lsp.session.document_state import DocumentState
from starcoder_lsp.session.metrics import Metrics
from starcoder_lsp.session.requests import RequestManager
from starcoder_lsp.session.scheduler import Scheduler, SupersededError
from starcoder_lsp.session.suggestion_cache import SuggestionCache
from starcoder_lsp.settings import Settings
from tests.scripted import ManualEngine

URI = "file:///a.py"
SETTINGS = Settings()
PATIENCE_S = 20


@pytest.fixture
def engine(prompts: PromptModel) -> ManualEngine:
    return ManualEngine(prompts, "foo(a)")


@pytest.fixture
async def requests() -> AsyncIterator[RequestManager]:
    made = RequestManager(Scheduler(), Metrics())
    yield made
    made.scheduler.supersede_all()
    async with asyncio.timeout(PATIENCE_S):  # abandoned work ends by itself
        await asyncio.gather(*made._tasks, *made.scheduler._running)


class Typist:
    """Types into one document and requests completions at the end of its first line."""

    def __init__(self, requests: RequestManager, engine: ManualEngine) -> None:
        self.requests, self.documents = requests, Documents()
        self.state = DocumentState(URI)
        self.model = Model.of(engine.prompts, engine)
        self.version = 0
        self.snapshot = self.type("x = ")

    def type(self, line: str, below: str = "y = 2\n") -> Snapshot:
        """Replace the document by `line`, with the cursor at its end, and `below`."""
        self.version += 1
        self.line = line
        self.snapshot = self.documents.open(URI, "python", self.version, f"{line}\n{below}")
        self.requests.edited(self.state, self.snapshot.text.data, len(line))
        return self.snapshot

    def completion_request(self, n_items: int = 1) -> CompletionRequest[Model]:
        return CompletionRequest(self.snapshot, len(self.line), self.model, SETTINGS, n_items=n_items)

    def complete(self, n_items: int = 1) -> asyncio.Future[Completion]:
        return asyncio.ensure_future(
            self.requests.answer(self.state, self.completion_request(n_items), 0, is_automatic=n_items == 1)
        )


@pytest.fixture
async def typist(requests: RequestManager, engine: ManualEngine) -> AsyncIterator[Typist]:
    made = Typist(requests, engine)
    yield made
    engine.write_on()
    requests.abandon(made.state)


async def test_a_generation_survives_keystrokes_that_match_its_text(typist: Typist, engine: ManualEngine) -> None:
    first = typist.complete()
    await engine.write(3)
    typist.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    await asyncio.sleep(0)  # the request starts before the next letter
    typist.type("x = fo")
    with pytest.raises(SupersededError):
        await second
    third = typist.complete()
    engine.write_on()
    assert (await third).text == "o(a)"
    assert (engine.n_begun, engine.ends) == (1, ["stop_token"])


async def test_a_generation_of_two_answers_survives_keystrokes_that_match_either(
    typist: Typist, engine: ManualEngine
) -> None:
    engine.rivals = [engine.text[:n] + "~" for n in range(len(engine.text))]
    first = typist.complete()
    await engine.write(3)
    typist.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    engine.write_on()
    assert (await second).text == "oo(a)"
    assert (engine.n_begun, engine.ends) == (1, ["stop_token"])


async def test_a_later_request_gets_the_answer_of_a_generation_that_ended_meanwhile(
    typist: Typist, engine: ManualEngine
) -> None:
    first = typist.complete()
    await engine.write(2)
    typist.type("x = f")
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    await engine.ended.wait()
    assert (await typist.complete()).text == "oo(a)"
    assert engine.n_begun == 1


async def test_a_different_letter_ends_a_generation(typist: Typist, engine: ManualEngine) -> None:
    first = typist.complete()
    await engine.write(2)
    typist.type("x = b")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["cancelled", "stop_token"]


@pytest.mark.parametrize(("line", "below"), [("x = f", "y = 3\n"), ("z = f", "y = 2\n"), ("x =", "y = 2\n")])
async def test_an_edit_elsewhere_ends_a_generation(typist: Typist, engine: ManualEngine, line: str, below: str) -> None:
    first = typist.complete()
    await engine.write(2)
    typist.type(line, below)
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    engine.write_on()
    await second
    assert engine.ends[0] == "cancelled"


async def test_a_generation_without_text_is_replaced_after_a_keystroke(typist: Typist, engine: ManualEngine) -> None:
    first = typist.complete()
    await engine.begun.wait()
    typist.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    engine.write_on()
    assert (await second).text == "foo(a)", "the engine writes the same again"
    assert engine.n_begun == 2


async def test_typing_ahead_of_a_generation_and_differing_from_it_starts_a_new_one(
    typist: Typist, engine: ManualEngine
) -> None:
    first = typist.complete()
    await engine.write(1)
    typist.type("x = fa")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["cancelled", "stop_token"]


async def test_a_newer_request_at_the_same_place_takes_over_the_generation(
    typist: Typist, engine: ManualEngine
) -> None:
    first = typist.complete()
    await engine.write(1)
    second = typist.complete()
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.n_begun == 1


async def test_a_request_for_several_suggestions_starts_its_own_generation(
    typist: Typist, engine: ManualEngine
) -> None:
    first = typist.complete()
    await engine.write(1)
    second = typist.complete(n_items=3)
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.n_begun == 2


async def test_an_invoked_request_turns_an_automatic_generation_into_an_invoked_one(
    typist: Typist, engine: ManualEngine
) -> None:
    automatic = typist.complete()
    await engine.write(1)
    in_flight = typist.state.in_flight
    assert in_flight is not None
    assert in_flight.turn.is_automatic
    invoked = asyncio.ensure_future(
        typist.requests.answer(typist.state, typist.completion_request(), 0, is_automatic=False)
    )
    with pytest.raises(SupersededError):
        await automatic
    assert typist.state.in_flight is in_flight
    assert not in_flight.turn.is_automatic
    engine.write_on()
    assert (await invoked).text == "foo(a)"


async def test_a_cancelled_request_ends_its_generation(typist: Typist, engine: ManualEngine) -> None:
    first = typist.complete()
    await engine.write(1)
    first.cancel()
    await engine.ended.wait()
    assert engine.ends == ["cancelled"]


async def test_a_cancel_followed_by_a_matching_letter_keeps_the_generation(
    typist: Typist, engine: ManualEngine
) -> None:
    """VS Code sends the two in this order."""
    first = typist.complete()
    await engine.write(2)
    first.cancel()
    await asyncio.sleep(0)
    typist.type("x = f")
    second = typist.complete()
    engine.write_on()
    assert (await second).text == "oo(a)"
    assert engine.n_begun == 1


async def test_closing_the_document_ends_a_generation(typist: Typist, engine: ManualEngine) -> None:
    first = typist.complete()
    await engine.write(1)
    typist.requests.abandon(typist.state)
    with pytest.raises(SupersededError):
        await first


async def test_a_cached_answer_costs_no_tokens(typist: Typist, engine: ManualEngine) -> None:
    engine.write_on()
    assert (await typist.complete()).text == "foo(a)"
    typist.type("x = foo")
    assert (await typist.complete()).text == "(a)"
    assert engine.n_begun == 1
    assert typist.requests.metrics.tokens.prompt == len(engine.requests[0].prompt.ids)


async def test_the_suggestion_after_an_accepted_one_is_prepared(typist: Typist, engine: ManualEngine) -> None:
    engine.write_on()
    (item,) = (await typist.complete()).items
    window = typist.model.anchors.copy()
    engine.text = " + 1"
    await typist.requests.prepare_next(typist.state, typist.completion_request(), item)
    assert typist.model.anchors._by_uri == window._by_uri, "the text is not accepted yet"
    counted = typist.requests.metrics.tokens
    assert (counted.prompt, counted.ahead) == tuple(
        len(completion_request.prompt.ids) for completion_request in engine.requests
    )
    assert [completion_request.is_ahead for completion_request in engine.requests] == [False, True]
    assert (await typist.complete()).text == "foo(a)"
    typist.type("x = foo(a)")
    assert (await typist.complete()).text == " + 1"
    assert engine.n_begun == 2
    await typist.requests.prepare_next(typist.state, typist.completion_request(), evolve(item, text=" + 1"))
    await typist.requests.prepare_next(typist.state, typist.completion_request(), evolve(item, text=" + 1"))
    assert engine.n_begun == 3, "it is prepared once"


async def test_an_edit_before_the_first_step_of_a_generation_ends_it(typist: Typist, engine: ManualEngine) -> None:
    """The request and the edit may come in the same read."""
    first = typist.complete()
    await asyncio.sleep(0)  # the request has come, and its task is about to begin
    assert typist.state.in_flight
    typist.type("x = f")
    with pytest.raises(SupersededError):
        await first
    assert engine.n_begun == 0


@frozen
class HookedCache(SuggestionCache):
    """Calls functions after an answer is stored, before the request that waits for it continues."""

    callbacks: list[Callable[[], object]] = field(factory=list)

    def store(self, *args: object) -> None:
        SuggestionCache.store(self, *args)
        while self.callbacks:
            asyncio.get_running_loop().call_soon(self.callbacks.pop())


async def test_an_answer_for_a_text_that_was_edited_meanwhile_is_dropped(typist: Typist, engine: ManualEngine) -> None:
    typist.state.cache = HookedCache(callbacks=[lambda: typist.type("y = ")])
    first = typist.complete()
    engine.write_on()
    with pytest.raises(SupersededError):
        await first


async def test_an_older_request_does_not_supersede_a_newer_one(typist: Typist, engine: ManualEngine) -> None:
    """A request whose generation turns out not to match starts a new one, unless a newer request already did."""
    first = typist.complete()
    await engine.write(3)
    typist.type("x = foo")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    newer: list[asyncio.Future[Completion]] = []

    def complete_elsewhere() -> None:
        typist.type("z = ")
        newer.append(typist.complete())

    typist.state.cache = HookedCache(callbacks=[complete_elsewhere])
    engine.write_on()
    with pytest.raises(SupersededError):
        await second
    assert (await newer[0]).text == "foo(a)"
    assert engine.ends == ["stop_token", "stop_token"]


async def test_a_keystroke_may_match_only_one_of_two_answers(typist: Typist, engine: ManualEngine) -> None:
    """The matching answer is kept, whether or not all tokens of the step have been read."""
    engine.text, engine.rivals = "foo(a)", ["fob"]
    first = typist.complete()
    await engine.write(2)
    typist.type("x = fob")
    with pytest.raises(SupersededError):
        await first
    second = typist.complete()
    await engine.write(1)
    assert engine.ends == []
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["stop_token", "stop_token"], "the other one was likelier"


@define
class Clock:
    """A clock that a test moves, in place of `time` in the session's modules."""

    now_s: float = 0.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.mark.parametrize("waits_for", ["another generation", "its turn"])
async def test_a_deadline_counts_from_the_request_however_long_that_waited(
    requests: RequestManager, engine: ManualEngine, monkeypatch: pytest.MonkeyPatch, waits_for: str
) -> None:
    """The front answers a request at its deadline, and takes a session for stuck a second later."""
    clock, waited_s, is_typed_ahead = Clock(), 3, waits_for == "another generation"
    for module in (requests_module, in_flight_module):
        monkeypatch.setattr(module, "time", clock)
    typists = [Typist(requests, engine) for _ in range(1 if is_typed_ahead else N_AT_ONCE + 1)]
    for number, typist in enumerate(typists):
        typist.state.key = f"{URI}{number}"
    tasks = [typist.complete() for typist in typists[:N_AT_ONCE]]
    await engine.write(2)
    clock.now_s += 100
    if is_typed_ahead:
        typists[0].type("x = foo(a, b")
    tasks.append(typists[-1].complete())
    await asyncio.sleep(0)
    clock.now_s += waited_s
    if not is_typed_ahead:
        requests.abandon(typists[0].state)
    engine.write_on()
    await asyncio.gather(*tasks, return_exceptions=True)
    limit_ms = SETTINGS.completion.timeout_ms
    limits_ms = [limit_ms] * (len(tasks) - 1) + [limit_ms - waited_s * 1000]
    found_ms = [request.timeout_ms for request in engine.requests]
    assert all(limit - 1000 < found <= limit for found, limit in zip(found_ms, limits_ms, strict=True))
