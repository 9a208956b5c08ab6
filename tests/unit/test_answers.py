"""Answers from memory, from a generation under way, and from new ones; on an engine that writes when it is told to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from attrs import evolve

from starcoder_lsp.completion import Completion
from starcoder_lsp.documents.documents import Documents, Snapshot
from starcoder_lsp.documents.workspace import Surroundings
from starcoder_lsp.engine.engine import Cancelled, Engine, Generation, GenerationRequest, StopRule, Written
from starcoder_lsp.lsp.answers import Answers, Question
from starcoder_lsp.lsp.metrics import Metrics
from starcoder_lsp.lsp.scheduler import Scheduler, Superseded
from starcoder_lsp.prompting import Model
from starcoder_lsp.settings import Settings

URI = "file:///a.py"
SETTINGS = Settings()
PATIENCE_S = 20


class Told:
    """Writes the letters of `text` one by one, each when it is told to, and remembers how each generation ended."""

    def __init__(self, engine: Engine, text: str) -> None:
        self.info, self.tokenizer, self.prefill_speed = engine.info, engine.tokenizer, engine.prefill_speed
        self.text = text
        self.rival = b""
        """A letter with which another answer parts from the text, again and again."""
        self.ends: list[str] = []
        self.n_begun = 0
        self._allowed, self._wrote = threading.Semaphore(0), threading.Semaphore(0)
        self.begun, self.ended = threading.Semaphore(0), threading.Semaphore(0)

    def generate(self, request: GenerationRequest, stop: StopRule, cancelled: Cancelled) -> Generation:
        self.n_begun += 1
        self.begun.release()
        text, reason = b"", None
        for letter in self.text.encode():
            if self.rival:
                stop(text + self.rival)
            while reason is None and not self._allowed.acquire(timeout=0.002):
                reason = "cancelled" if cancelled() else None
            if reason is None:
                text += bytes([letter])
                reason = stop(text) or ("cancelled" if cancelled() else None)
                self._wrote.release()
            if reason is not None:
                break
        self.ends.append(reason or "stop_token")
        self.ended.release()
        written = Written(text, (1,), (0.0,), reason or "stop_token")
        return Generation((written,) * request.n_answers, 1, 0, 1, 0.0, 0.0, 0.0)

    async def write(self, n: int) -> None:
        """Let it write `n` letters and wait for them."""
        for _ in range(n):
            self._allowed.release()
            await asyncio.to_thread(self._wrote.acquire, timeout=PATIENCE_S)

    def write_on(self) -> None:
        """Let it write as much as it wants to."""
        for _ in range(1000):
            self._allowed.release()


@pytest.fixture
def told(engine: Engine) -> Told:
    return Told(engine, "foo(a)")


@pytest.fixture
async def answers() -> AsyncIterator[Answers]:
    scheduler = Scheduler()
    yield Answers(scheduler, Metrics())
    assert scheduler.close(PATIENCE_S)


class Person:
    """Types into one document and asks at the end of its first line."""

    def __init__(self, answers: Answers, told: Told) -> None:
        self.answers, self.documents = answers, Documents()
        self.model = Model.of(told)
        self.version = 0
        self.snapshot = self.type("x = ")

    def type(self, line: str, below: str = "y = 2\n") -> Snapshot:
        """The document is `line` with the cursor behind it, and what is below."""
        self.version += 1
        self.line = line
        self.snapshot = self.documents.open(URI, "python", self.version, f"{line}\n{below}")
        self.answers.edited(URI, self.snapshot.text.data, len(line))
        return self.snapshot

    def question(self, n_items: int = 1) -> Question:
        return Question(URI, self.snapshot, len(self.line), self.model, SETTINGS, Surroundings(), n_items)

    def ask(self, n_items: int = 1) -> asyncio.Future[Completion]:
        return asyncio.ensure_future(self.answers.answer(self.question(n_items), 0))


@pytest.fixture
def person(answers: Answers, told: Told) -> Iterator[Person]:
    yield Person(answers, told)
    told.write_on()


async def test_a_generation_goes_on_while_the_person_types_what_it_writes(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(3)
    person.type("x = f")
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    await asyncio.sleep(0)  # it is asked before the next letter
    person.type("x = fo")
    with pytest.raises(Superseded):
        await second
    third = person.ask()
    told.write_on()
    assert (await third).text == "o(a)"
    assert (told.n_begun, told.ends) == (1, ["stop_token"])


async def test_it_goes_on_with_whichever_of_two_answers_is_typed(person: Person, told: Told) -> None:
    told.rival = b"~"
    first = person.ask()
    await told.write(3)
    person.type("x = f")
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    told.write_on()
    assert (await second).text == "oo(a)"
    assert (told.n_begun, told.ends) == (1, ["stop_token"])


async def test_its_answer_is_there_for_who_asks_later(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(2)
    person.type("x = f")
    with pytest.raises(Superseded):
        await first
    told.write_on()
    await asyncio.to_thread(told.ended.acquire, timeout=PATIENCE_S)
    assert (await person.ask()).text == "oo(a)"
    assert told.n_begun == 1


async def test_another_letter_ends_it(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(2)
    person.type("x = b")
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    told.write_on()
    assert (await second).text == "foo(a)"
    assert told.ends == ["cancelled", "stop_token"]


@pytest.mark.parametrize(("line", "below"), [("x = f", "y = 3\n"), ("z = f", "y = 2\n"), ("x =", "y = 2\n")])
async def test_an_edit_elsewhere_ends_it(person: Person, told: Told, line: str, below: str) -> None:
    first = person.ask()
    await told.write(2)
    person.type(line, below)
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    told.write_on()
    await second
    assert told.ends[0] == "cancelled"


async def test_before_it_wrote_anything_it_begins_anew(person: Person, told: Told) -> None:
    first = person.ask()
    await asyncio.to_thread(told.begun.acquire, timeout=PATIENCE_S)
    person.type("x = f")
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    told.write_on()
    assert (await second).text == "foo(a)", "the engine writes the same again"
    assert told.n_begun == 2


async def test_who_types_faster_than_it_writes_and_parts_from_it_is_answered_anew(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(1)
    person.type("x = fa")
    with pytest.raises(Superseded):
        await first
    second = person.ask()
    told.write_on()
    assert (await second).text == "foo(a)"
    assert told.ends == ["cancelled", "stop_token"]


async def test_a_newer_request_at_the_same_place_takes_it_over(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(1)
    second = person.ask()
    with pytest.raises(Superseded):
        await first
    told.write_on()
    assert (await second).text == "foo(a)"
    assert told.n_begun == 1


async def test_who_asks_for_several_gets_a_generation_of_its_own(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(1)
    second = person.ask(n_items=3)
    with pytest.raises(Superseded):
        await first
    told.write_on()
    assert (await second).text == "foo(a)"
    assert told.n_begun == 2


async def test_a_cancelled_request_ends_it(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(1)
    first.cancel()
    await asyncio.to_thread(told.ended.acquire, timeout=PATIENCE_S)
    assert told.ends == ["cancelled"]


async def test_a_cancel_right_before_an_agreeing_letter_does_not(person: Person, told: Told) -> None:
    """As VS Code sends them."""
    first = person.ask()
    await told.write(2)
    first.cancel()
    await asyncio.sleep(0)
    person.type("x = f")
    second = person.ask()
    told.write_on()
    assert (await second).text == "oo(a)"
    assert told.n_begun == 1


async def test_a_closed_document_ends_it(person: Person, told: Told) -> None:
    first = person.ask()
    await told.write(1)
    person.answers.forget_flight(URI)
    with pytest.raises(Superseded):
        await first


async def test_an_answer_from_memory_costs_nothing(person: Person, told: Told) -> None:
    told.write_on()
    assert (await person.ask()).text == "foo(a)"
    person.type("x = foo")
    assert (await person.ask()).text == "(a)"
    assert told.n_begun == 1
    assert person.answers.metrics.tokens.prompt == 1


async def test_what_comes_next_is_there_when_the_suggestion_is_accepted(person: Person, told: Told) -> None:
    told.write_on()
    (item,) = (await person.ask()).items
    window = person.model.anchors.copy()
    told.text = " + 1"
    await person.answers.prepare_next(person.question(), item)
    assert person.model.anchors._places == window._places, "the text is not accepted yet"
    counted = person.answers.metrics.tokens
    assert (counted.prompt, counted.ahead) == (1, 1)
    assert (await person.ask()).text == "foo(a)"
    person.type("x = foo(a)")
    assert (await person.ask()).text == " + 1"
    assert told.n_begun == 2
    await person.answers.prepare_next(person.question(), evolve(item, text=" + 1"))
    await person.answers.prepare_next(person.question(), evolve(item, text=" + 1"))
    assert told.n_begun == 3, "it is prepared once"
