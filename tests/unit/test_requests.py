"""Answers from memory, from a generation under way, and from new ones; on an engine that writes when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from attrs import evolve, field, frozen

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.prompting import CompletionRequest, Model
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
    async with asyncio.timeout(PATIENCE_S):  # all that was given up ends by itself
        await asyncio.gather(*made._tasks, *made.scheduler._running)


class Person:
    """Types into one document and asks at the end of its first line."""

    def __init__(self, requests: RequestManager, engine: ManualEngine) -> None:
        self.requests, self.documents = requests, Documents()
        self.state = DocumentState(URI)
        self.model = Model.of(engine.prompts, engine)
        self.version = 0
        self.snapshot = self.type("x = ")

    def type(self, line: str, below: str = "y = 2\n") -> Snapshot:
        """The document is `line` with the cursor behind it, and what is below."""
        self.version += 1
        self.line = line
        self.snapshot = self.documents.open(URI, "python", self.version, f"{line}\n{below}")
        self.requests.edited(self.state, self.snapshot.text.data, len(line))
        return self.snapshot

    def request(self, n_items: int = 1) -> CompletionRequest[Model]:
        return CompletionRequest(self.snapshot, len(self.line), self.model, SETTINGS, n_items=n_items)

    def ask(self, n_items: int = 1) -> asyncio.Future[Completion]:
        return asyncio.ensure_future(
            self.requests.answer(self.state, self.request(n_items), 0, is_automatic=n_items == 1)
        )


@pytest.fixture
async def person(requests: RequestManager, engine: ManualEngine) -> AsyncIterator[Person]:
    made = Person(requests, engine)
    yield made
    engine.write_on()
    requests.abandon(made.state)


async def test_a_generation_goes_on_while_the_person_types_what_it_writes(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(3)
    person.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    await asyncio.sleep(0)  # it is asked before the next letter
    person.type("x = fo")
    with pytest.raises(SupersededError):
        await second
    third = person.ask()
    engine.write_on()
    assert (await third).text == "o(a)"
    assert (engine.n_begun, engine.ends) == (1, ["stop_token"])


async def test_it_goes_on_with_whichever_of_two_answers_is_typed(person: Person, engine: ManualEngine) -> None:
    engine.rivals = [engine.text[:n] + "~" for n in range(len(engine.text))]
    first = person.ask()
    await engine.write(3)
    person.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    engine.write_on()
    assert (await second).text == "oo(a)"
    assert (engine.n_begun, engine.ends) == (1, ["stop_token"])


async def test_its_answer_is_there_for_who_asks_later(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(2)
    person.type("x = f")
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    await engine.ended.wait()
    assert (await person.ask()).text == "oo(a)"
    assert engine.n_begun == 1


async def test_another_letter_ends_it(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(2)
    person.type("x = b")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["cancelled", "stop_token"]


@pytest.mark.parametrize(("line", "below"), [("x = f", "y = 3\n"), ("z = f", "y = 2\n"), ("x =", "y = 2\n")])
async def test_an_edit_elsewhere_ends_it(person: Person, engine: ManualEngine, line: str, below: str) -> None:
    first = person.ask()
    await engine.write(2)
    person.type(line, below)
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    engine.write_on()
    await second
    assert engine.ends[0] == "cancelled"


async def test_before_it_wrote_anything_it_begins_anew(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.begun.wait()
    person.type("x = f")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    engine.write_on()
    assert (await second).text == "foo(a)", "the engine writes the same again"
    assert engine.n_begun == 2


async def test_who_types_faster_than_it_writes_and_parts_from_it_is_answered_anew(
    person: Person, engine: ManualEngine
) -> None:
    first = person.ask()
    await engine.write(1)
    person.type("x = fa")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["cancelled", "stop_token"]


async def test_a_newer_request_at_the_same_place_takes_it_over(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(1)
    second = person.ask()
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.n_begun == 1


async def test_who_asks_for_several_gets_a_generation_of_its_own(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(1)
    second = person.ask(n_items=3)
    with pytest.raises(SupersededError):
        await first
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.n_begun == 2


async def test_an_invoked_request_at_the_same_place_makes_it_patient(person: Person, engine: ManualEngine) -> None:
    automatic = person.ask()
    await engine.write(1)
    in_flight = person.state.in_flight
    assert in_flight is not None
    assert in_flight.turn.is_automatic
    invoked = asyncio.ensure_future(person.requests.answer(person.state, person.request(), 0, is_automatic=False))
    with pytest.raises(SupersededError):
        await automatic
    assert person.state.in_flight is in_flight
    assert not in_flight.turn.is_automatic
    engine.write_on()
    assert (await invoked).text == "foo(a)"


async def test_a_cancelled_request_ends_it(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(1)
    first.cancel()
    await engine.ended.wait()
    assert engine.ends == ["cancelled"]


async def test_a_cancel_right_before_an_agreeing_letter_does_not(person: Person, engine: ManualEngine) -> None:
    """As VS Code sends them."""
    first = person.ask()
    await engine.write(2)
    first.cancel()
    await asyncio.sleep(0)
    person.type("x = f")
    second = person.ask()
    engine.write_on()
    assert (await second).text == "oo(a)"
    assert engine.n_begun == 1


async def test_a_closed_document_ends_it(person: Person, engine: ManualEngine) -> None:
    first = person.ask()
    await engine.write(1)
    person.requests.abandon(person.state)
    with pytest.raises(SupersededError):
        await first


async def test_an_answer_from_memory_costs_nothing(person: Person, engine: ManualEngine) -> None:
    engine.write_on()
    assert (await person.ask()).text == "foo(a)"
    person.type("x = foo")
    assert (await person.ask()).text == "(a)"
    assert engine.n_begun == 1
    assert person.requests.metrics.tokens.prompt == len(engine.requests[0].prompt.ids)


async def test_what_comes_next_is_there_when_the_suggestion_is_accepted(person: Person, engine: ManualEngine) -> None:
    engine.write_on()
    (item,) = (await person.ask()).items
    window = person.model.anchors.copy()
    engine.text = " + 1"
    await person.requests.prepare_next(person.state, person.request(), item)
    assert person.model.anchors._by_uri == window._by_uri, "the text is not accepted yet"
    counted = person.requests.metrics.tokens
    assert (counted.prompt, counted.ahead) == tuple(len(request.prompt.ids) for request in engine.requests)
    assert [request.is_ahead for request in engine.requests] == [False, True]
    assert (await person.ask()).text == "foo(a)"
    person.type("x = foo(a)")
    assert (await person.ask()).text == " + 1"
    assert engine.n_begun == 2
    await person.requests.prepare_next(person.state, person.request(), evolve(item, text=" + 1"))
    await person.requests.prepare_next(person.state, person.request(), evolve(item, text=" + 1"))
    assert engine.n_begun == 3, "it is prepared once"


async def test_an_edit_before_a_generation_had_its_first_turn_ends_it(person: Person, engine: ManualEngine) -> None:
    """Both may stand in the same chunk of the client's bytes."""
    first = person.ask()
    await asyncio.sleep(0)  # it is asked, and what does the work is about to begin
    assert person.state.in_flight
    person.type("x = f")
    with pytest.raises(SupersededError):
        await first
    assert engine.n_begun == 0


@frozen
class Telling(SuggestionCache):
    """When the next answer is there, something happens before whoever asked for it hears of it."""

    happening: list[Callable[[], object]] = field(factory=list)

    def store(self, *args: object) -> None:
        SuggestionCache.store(self, *args)
        while self.happening:
            asyncio.get_running_loop().call_soon(self.happening.pop())


async def test_an_answer_is_no_answer_to_a_text_that_was_edited_meanwhile(person: Person, engine: ManualEngine) -> None:
    person.state.cache = Telling(happening=[lambda: person.type("y = ")])
    first = person.ask()
    engine.write_on()
    with pytest.raises(SupersededError):
        await first


async def test_who_asked_first_does_not_push_aside_who_asks_now(person: Person, engine: ManualEngine) -> None:
    """One finds that the generation was no answer after all, and begins anew; not if another did so meanwhile."""
    first = person.ask()
    await engine.write(3)
    person.type("x = foo")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    newer: list[asyncio.Future[Completion]] = []

    def ask_elsewhere() -> None:
        person.type("z = ")
        newer.append(person.ask())

    person.state.cache = Telling(happening=[ask_elsewhere])
    engine.write_on()
    with pytest.raises(SupersededError):
        await second
    assert (await newer[0]).text == "foo(a)"
    assert engine.ends == ["stop_token", "stop_token"]


async def test_two_answers_may_begin_alike(person: Person, engine: ManualEngine) -> None:
    """What is typed agrees with the one that parts from the other, before all of the step is read and after."""
    engine.text, engine.rivals = "foo(a)", ["fob"]
    first = person.ask()
    await engine.write(2)
    person.type("x = fob")
    with pytest.raises(SupersededError):
        await first
    second = person.ask()
    await engine.write(1)
    assert engine.ends == []
    engine.write_on()
    assert (await second).text == "foo(a)"
    assert engine.ends == ["stop_token", "stop_token"], "the other one was likelier"
