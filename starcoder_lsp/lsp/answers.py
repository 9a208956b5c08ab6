"""Who gets which answer: from memory, from a generation that is under way, or from a new one.

A generation under way outlives the request for it as long as what is typed agrees with what it wrote so far: the next
request takes it over. On the event loop.
"""

from __future__ import annotations

import asyncio
from functools import partial

from attrs import define, evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, Item, complete
from starcoder_lsp.documents.documents import Snapshot, spliced
from starcoder_lsp.documents.workspace import Surroundings
from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.lsp.metrics import Metrics
from starcoder_lsp.lsp.scheduler import AHEAD, Scheduler, Superseded
from starcoder_lsp.lsp.status import StatusTeller
from starcoder_lsp.prompting import Model
from starcoder_lsp.settings import Settings
from starcoder_lsp.suggestions.reuse import Memory, Shown, typed_since

CANCEL_GRACE_S = 0.05
"""How long a cancelled request's generation goes on: some clients cancel just before they tell what was typed."""


@frozen(eq=False)
class Question:
    """What is asked for: at most `n_items` suggestions at a place. `key` is the scheduler's for the document."""

    key: str
    snapshot: Snapshot
    cursor_byte: int
    model: Model
    settings: Settings
    around: Surroundings
    n_items: int = 1


@define(eq=False)
class Flight:
    """A generation under way, and the newest request that waits for it."""

    question: Question
    completion: Completion | None = None
    waiter: asyncio.Future[None] | None = None
    so_far: tuple[bytes, ...] = ()
    """What was written, of each answer that may still be the one; nothing before there is any text."""
    typed: bytes = b""
    """What the person typed at the place since."""

    def agrees(self) -> bool:
        """Whether what is typed and an answer that is written begin alike."""
        so_far, typed = self.so_far, self.typed
        return not so_far or any(text.startswith(typed) or typed.startswith(text) for text in so_far)

    def follow(self, data: bytes, cursor_byte: int) -> bool:
        """The text is `data` now: whether the generation is worth going on with.

        Before it wrote anything it is not: one for the newer text knows more, and what is evaluated is kept.
        """
        question = self.question
        place = Shown(question.snapshot.text.data, question.cursor_byte, question.cursor_byte, b"")
        typed = typed_since(place, data, cursor_byte)
        if typed is None or not self.so_far:
            return False
        self.typed = typed[0]
        return self.agrees()

    def serves(self, question: Question) -> bool:
        """Whether its answer will be one to a newer question."""
        mine = self.question
        is_alike = mine.model is question.model and mine.settings == question.settings
        is_enough = mine.n_items >= question.n_items
        is_same = mine.snapshot is question.snapshot and mine.cursor_byte == question.cursor_byte
        return is_alike and is_enough and (is_same or self.follow(question.snapshot.text.data, question.cursor_byte))

    def release(self, error: Exception | None = None) -> None:
        """Let go of the request that waits."""
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


@define(eq=False)
class Answers:
    """The answers of one session."""

    scheduler: Scheduler
    metrics: Metrics
    status: StatusTeller = field(factory=StatusTeller)
    memory: Memory = field(factory=Memory)
    last: dict[str, Completion] = field(factory=dict)
    """What was answered last in each document or cell."""
    _newest: dict[str, Question] = field(factory=dict)
    """What was asked last in each document, as long as somebody waits for the answer to that text."""
    _flights: dict[str, Flight] = field(factory=dict)
    _tasks: set[asyncio.Future[None]] = field(factory=set)

    async def answer(self, question: Question, delay_ms: float) -> Completion:
        """Answer one request; a new generation begins after `delay_ms` in which nothing newer came.

        Raises `Superseded` if something newer comes before, `EngineError`, and what a cancelled await raises.
        """
        known = self._recall(question)
        if known is not None:
            self.forget_flight(question.key)
            return known
        self._newest[question.key] = question
        try:
            flight = self._flights.get(question.key)
            if flight is None or not flight.serves(question):
                flight = self._take_off(question, delay_ms)
            while True:
                await self._wait(flight)
                if self._newest.get(question.key) is not question:  # something came since the answer was there
                    raise Superseded
                known = self._recall(question)
                if flight.question is question and flight.completion is not None:
                    return flight.completion
                if known is not None:
                    return known
                flight = self._take_off(question, 0)  # what was typed and what was written parted after all
        finally:
            if self._newest.get(question.key) is question:
                del self._newest[question.key]

    def edited(self, key: str, data: bytes, cursor_byte: int) -> None:
        """A document was edited: nobody waits for an answer to the text before any more.

        What is under way goes on if the edit types what it wrote.
        """
        self._newest.pop(key, None)
        flight = self._flights.get(key)
        if flight is None or not flight.follow(data, cursor_byte):
            self.forget_flight(key)
            return
        flight.release(Superseded())
        self.scheduler.supersede(AHEAD)

    def forget_flight(self, key: str) -> None:
        """Give up on what is under way for a document, and on what is done ahead of need."""
        self._newest.pop(key, None)
        self._flights.pop(key, None)
        self.scheduler.supersede(key)

    async def prepare_next(self, question: Question, shown: Item) -> None:
        """Generate what would come next if a suggestion were accepted. Raises as `answer` does."""
        at, text = question.cursor_byte, shown.text.encode()
        accepted = spliced(question.snapshot, at, at + shown.n_replaced_bytes, text)
        following = evolve(question, snapshot=accepted, cursor_byte=at + len(text), n_items=1)
        if self._recall(following) is None:
            self._remember(following, await self.scheduler.run(AHEAD, partial(self._work_ahead, following)))

    def _take_off(self, question: Question, delay_ms: float) -> Flight:
        flight = self._flights[question.key] = Flight(question)
        self.scheduler.supersede(question.key)
        task = asyncio.ensure_future(self._fly(flight, delay_ms))
        self._tasks.add(task)  # the event loop itself would let go of it
        task.add_done_callback(self._tasks.discard)
        return flight

    async def _fly(self, flight: Flight, delay_ms: float) -> None:
        question = flight.question
        self.status.think(1)
        try:
            if self._flights.get(question.key) is not flight:
                raise Superseded  # noqa: TRY301  an edit came before this had its first turn
            work = partial(self._work, flight)
            flight.completion = await self.scheduler.run(question.key, work, delay_ms=delay_ms)
            self._remember(question, flight.completion)
            flight.release()
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits
            flight.release(error)
        finally:
            self.status.think(-1)
            if self._flights.get(question.key) is flight:
                del self._flights[question.key]

    async def _work(self, flight: Flight, cancellation: Cancellation) -> Completion:
        """An answer counts even if nobody gets it."""
        completion = await generated(flight.question, flight, cancellation)
        self.metrics.count_tokens(completion)
        return completion

    async def _work_ahead(self, question: Question, cancellation: Cancellation) -> Completion:
        """With windows of its own: nobody wrote that text yet."""
        anchors = await in_background(question.model.anchors.copy)
        question = evolve(question, model=evolve(question.model, anchors=anchors))
        completion = await generated(question, Flight(question), cancellation, is_ahead=True)
        if completion.generation is not None:
            self.metrics.count_ahead(completion.generation.n_evaluated, completion.generation.n_generated)
        return completion

    async def _wait(self, flight: Flight) -> None:
        """Wait as the newest request; an older one gets `Superseded`."""
        flight.release(Superseded())
        waiter = flight.waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(CANCEL_GRACE_S, self._give_up, flight)
            raise

    def _give_up(self, flight: Flight) -> None:
        """Some time after a cancel, stop what nobody waits for, unless it is being typed."""
        key = flight.question.key
        is_waited_for = flight.waiter is not None and not flight.waiter.done()
        if self._flights.get(key) is flight and not is_waited_for and not flight.typed:
            self.forget_flight(key)

    def _recall(self, question: Question) -> Completion | None:
        """What an earlier answer under the same settings says, without the model."""
        data, at = question.snapshot.text.data, question.cursor_byte
        rests = self.memory.recall(question.snapshot.uri, question.settings, question.n_items, data, at)
        if rests is None:
            return None
        items = tuple(Item(rest.text.decode(), rest.n_replaced_bytes) for rest in rests)
        return Completion(question.snapshot, at, items, "" if items else "nothing was suggested here")

    def _remember(self, question: Question, completion: Completion) -> None:
        """Keep an answer for `_recall`; not that there was none in time, for there may be one next time."""
        generation, data, at = completion.generation, question.snapshot.text.data, question.cursor_byte
        was_early = generation is None or generation.written[0].stop_reason in ("timeout", "cancelled")
        if completion.items or not was_early:
            items = completion.items or (Item(""),)
            shown = (Shown(data, at, at + item.n_replaced_bytes, item.text.encode()) for item in items)
            self.memory.remember(question.snapshot.uri, question.settings, question.n_items, shown)


async def generated(
    question: Question, flight: Flight, cancellation: Cancellation, *, is_ahead: bool = False
) -> Completion:
    """Ask the model, for as long as what is typed agrees with what it writes."""

    def on_texts(texts: tuple[bytes, ...]) -> None:
        flight.so_far = texts
        if not flight.agrees():
            cancellation.cancel()

    return await complete(
        question.snapshot,
        question.cursor_byte,
        question.model,
        question.settings,
        cancellation,
        question.around,
        n_items=question.n_items,
        is_ahead=is_ahead,
        on_texts=on_texts,
    )
