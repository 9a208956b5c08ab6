"""Answer requests: from the cache, from a running generation, or by a new generation.

A running generation survives keystrokes that match its output: the old request is superseded, and the next one adopts
the generation. Any other edit ends it. On the event loop.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

from attrs import define, evolve, field

from starcoder_lsp.background import in_background
from starcoder_lsp.completion import Completion, Item, complete
from starcoder_lsp.documents.documents import spliced
from starcoder_lsp.engine.engine import Cancellation
from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.prompting import CompletionRequest, Model
from starcoder_lsp.session.admission import Admission, Turn
from starcoder_lsp.session.document_state import DocumentState
from starcoder_lsp.session.in_flight import InFlight
from starcoder_lsp.session.metrics import Metrics
from starcoder_lsp.session.scheduler import AHEAD, Scheduler, SupersededError
from starcoder_lsp.session.status import StatusReporter
from starcoder_lsp.session.suggestion_cache import CachedSuggestion

CANCEL_GRACE_S = 0.05
"""The time for which a cancelled request's generation goes on: some clients cancel just before they send the edit.

Not measured.
"""


@define(eq=False)
class RequestManager:
    """Answers the requests of one session."""

    scheduler: Scheduler
    metrics: Metrics
    status: StatusReporter = field(factory=StatusReporter)
    admission: Admission = field(factory=Admission)
    _tasks: set[asyncio.Future[None]] = field(factory=set)

    async def answer(
        self, state: DocumentState, request: CompletionRequest[Model], delay_ms: float, *, is_automatic: bool
    ) -> Completion:
        """Answer one request. A new generation begins after `delay_ms`, when its turn comes.

        Raises `SupersededError` if a newer request or an edit comes before the answer or the turn comes too late,
        `EngineError`, and `asyncio.CancelledError`.
        """
        cached = _lookup(state, request)
        if cached is not None:
            self.abandon(state)
            return cached
        state.newest_request = request
        new = partial(InFlight, request, counts_from_s=time.perf_counter() + delay_ms / 1000)
        try:
            in_flight = state.in_flight
            if in_flight is None or not in_flight.serves(request):
                in_flight = self._start(state, new(turn=Turn(is_automatic)), delay_ms)
            in_flight.turn.is_automatic &= is_automatic
            while True:
                await self._wait(state, in_flight)
                if state.newest_request is not request:  # something came since the answer was there
                    raise SupersededError
                cached = _lookup(state, request)
                if in_flight.request is request and in_flight.completion is not None:
                    return in_flight.completion
                if cached is not None:
                    return cached
                # what was typed and what was written parted after all
                in_flight = self._start(state, new(turn=Turn(is_automatic)), 0)
        finally:
            if state.newest_request is request:
                state.newest_request = None

    def edited(self, state: DocumentState, data: bytes, cursor_byte: int) -> None:
        """Supersede the request for the text before an edit.

        A running generation goes on if the edit typed the beginning of its output.
        """
        state.newest_request = None
        in_flight = state.in_flight
        if in_flight is None or not in_flight.matches(data, cursor_byte):
            self.abandon(state)
            return
        in_flight.release(SupersededError())
        self.scheduler.supersede(AHEAD)

    def abandon(self, state: DocumentState) -> None:
        """End all work for a document, and all prefetching."""
        state.newest_request = state.in_flight = None
        self.scheduler.supersede(state.key)

    async def prepare_next(self, state: DocumentState, request: CompletionRequest[Model], shown: Item) -> None:
        """Generate and cache the suggestion that follows if `shown` is accepted. Raises as `answer` does."""
        at, text = request.cursor_byte, shown.text.encode()
        accepted = spliced(request.snapshot, at, at + shown.n_replaced_bytes, text)
        following = evolve(request, snapshot=accepted, cursor_byte=at + len(text), n_items=1)
        if _lookup(state, following) is None:
            _store(state, following, await self.scheduler.run(AHEAD, partial(self._generate_ahead, following)))

    def _start(self, state: DocumentState, in_flight: InFlight, delay_ms: float) -> InFlight:
        self.scheduler.supersede(state.key)
        state.in_flight = in_flight
        task = asyncio.ensure_future(self._run(state, in_flight, delay_ms))
        self._tasks.add(task)  # the event loop itself would let go of it
        task.add_done_callback(self._tasks.discard)
        return in_flight

    async def _run(self, state: DocumentState, in_flight: InFlight, delay_ms: float) -> None:
        self.status.count_running(1)
        try:
            if state.in_flight is not in_flight:
                raise SupersededError  # noqa: TRY301  an edit came before this had its first turn
            work = partial(self._generate, in_flight)
            in_flight.completion = await self.scheduler.run(state.key, work, delay_ms=delay_ms)
            _store(state, in_flight.request, in_flight.completion)
            in_flight.release()
        except Exception as error:  # noqa: BLE001  it belongs to whoever waits
            in_flight.release(error)
        finally:
            self.status.count_running(-1)
            if state.in_flight is in_flight:
                state.in_flight = None

    async def _generate(self, in_flight: InFlight, cancellation: Cancellation) -> Completion:
        """Generate an answer, and count its tokens even if no request gets it."""
        work = partial(generated, in_flight, cancellation)
        completion = await self.admission.run(in_flight.turn, work, cancellation)
        self.metrics.count_tokens(completion)
        return completion

    async def _generate_ahead(self, request: CompletionRequest[Model], cancellation: Cancellation) -> Completion:
        """Generate with a copy of the cached windows: the document does not have the accepted text yet."""
        anchors = await in_background(request.model.anchors.copy)
        request = evolve(request, model=evolve(request.model, anchors=anchors), is_ahead=True)
        completion = await generated(InFlight(request), cancellation)
        if completion.generation is not None:
            self.metrics.count_ahead(completion.generation.n_evaluated, completion.generation.n_generated)
        return completion

    async def _wait(self, state: DocumentState, in_flight: InFlight) -> None:
        """Wait for a generation; a request that waits for it already gets `SupersededError`."""
        in_flight.release(SupersededError())
        waiter = in_flight.waiter = asyncio.get_running_loop().create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(CANCEL_GRACE_S, self._give_up, state, in_flight)
            raise

    def _give_up(self, state: DocumentState, in_flight: InFlight) -> None:
        """End a generation some time after a cancel, unless a request waits for it or its text is being typed."""
        if state.in_flight is in_flight and not in_flight.is_waited_for and not in_flight.typed:
            self.abandon(state)


def _lookup(state: DocumentState, request: CompletionRequest[Model]) -> Completion | None:
    """Return the cached answer to a request, or `None`."""
    data, at = request.snapshot.text.data, request.cursor_byte
    remainders = state.cache.lookup(request.settings, request.n_items, data, at)
    if remainders is None:
        return None
    items = tuple(Item(each.text.decode(), each.n_replaced_bytes) for each in remainders)
    return Completion(request.snapshot, at, items, "" if items else "nothing was suggested here")


def _store(state: DocumentState, request: CompletionRequest[Model], completion: Completion) -> None:
    """Cache an answer, unless it is empty because of a deadline or a cancel: the next try may find one."""
    generation, data, at = completion.generation, request.snapshot.text.data, request.cursor_byte
    was_early = generation is None or generation.written[0].stop_reason in (StopReason.TIMEOUT, StopReason.CANCELLED)
    if completion.items or not was_early:
        items = completion.items or (Item(""),)
        suggestions = (CachedSuggestion(data, at, at + item.n_replaced_bytes, item.text.encode()) for item in items)
        state.cache.store(request.settings, request.n_items, suggestions)


async def generated(in_flight: InFlight, cancellation: Cancellation) -> Completion:
    """Run the pipeline for as long as the text that the user types matches what the model writes."""

    def on_texts(texts: tuple[bytes, ...]) -> None:
        in_flight.texts = texts
        if not in_flight.agrees():
            cancellation.cancel()

    return await complete(in_flight.request, cancellation, on_texts=on_texts, waited_ms=in_flight.waited_ms)
