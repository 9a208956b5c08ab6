"""One client of the host: its messages become jobs of the model thread, and their results become messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from attrs import define, field

from starcoder_lsp.engine.engine import EngineError, Sampling
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.model import LoadedModel
from starcoder_lsp.engine.stream import Token, Usage

if TYPE_CHECKING:
    from starcoder_lsp.engine.local.jobs import Job
    from starcoder_lsp.engine.local.measure import Measurement

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""A client with more unread bytes is disconnected. An answer of 64 tokens has some 3 KB; not measured."""


class HostState(Protocol):
    """The part of the host that a connection needs."""

    model: LoadedModel | None

    def status(self) -> dict[str, object]:
        """Return the host's state and its clients."""

    def end_for(self, connection: Connection) -> None:
        """End the host if no other client is connected."""


@define(eq=False)
class Connection:
    """One client and its requests. On the event loop."""

    host: HostState
    name: str
    process_id: int
    client: str
    writer: asyncio.StreamWriter
    jobs: dict[int, Job] = field(factory=dict)
    measurement: Measurement | None = None
    """The measurement of `bench synthetic`, from its first step on."""

    def send(self, message: wire.ToClient) -> None:
        """Send a message, or disconnect a client that has stopped reading."""
        if self.writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.writer.transport.abort()
        elif not self.writer.is_closing():
            self.writer.write(wire.framed(message))

    def receive(self, message: wire.ToHost) -> None:
        """Handle a message. Raises `wire.WireError` for one that is not expected."""
        model = self.host.model
        if model is None or isinstance(message, wire.Hello | wire.Inquiry):
            error = "this message is not expected now"
            raise wire.WireError(error)
        match message:
            case wire.Generate():
                self._generate(model, message)
            case wire.Close(request, kept_answer):
                job = self.jobs.pop(request, None)
                if job is not None:
                    model.worker.cancel(job, kept_answer)
            case wire.Drop(request, answer):
                if request in self.jobs:
                    model.worker.drop(self.jobs[request], answer)
            case wire.Persist(document):
                from starcoder_lsp.engine.local.kv_cache import Owner

                model.worker.persist(Owner(self.name, document))
            case wire.End():
                self.host.end_for(self)
            case _:
                self._answer(model, message)

    def _answer(
        self, model: LoadedModel, message: wire.Cached | wire.Forget | wire.Measure | wire.Score | wire.Status
    ) -> None:
        """Answer a question, with `Done`."""
        worker, context = model.worker, model.context
        match message:
            case wire.Cached(request):
                rows = [(each.document, each.n_tokens, each.where) for each in worker.cached(self.name)]
                self.send(wire.Done(request, wire.raw(rows)))
            case wire.Status(request):
                self.send(wire.Done(request, wire.raw(self.host.status())))
            case wire.Forget(request):
                worker.forget(self.name)
                self._answer_later(model, request, lambda: None)
            case wire.Score(request, ids, heal, targets):
                from starcoder_lsp.engine.local.measure import score

                self._answer_later(model, request, lambda: score(context, worker.scratch(), ids, heal, targets))
            case wire.Measure(request, step, n):
                self._answer_later(model, request, lambda: self._measured(model, step, n))

    def _measured(self, model: LoadedModel, step: str, n: int) -> dict[str, object]:
        """Measure a step. On the model thread. Raises `EngineError`."""
        from starcoder_lsp.engine.local.measure import Measurement

        if self.measurement is None:
            self.measurement = Measurement(model.context, model.worker.scratch())
        return self.measurement.step(step, n)

    def _generate(self, model: LoadedModel, message: wire.Generate) -> None:
        from starcoder_lsp.engine.local.decoding import Decoding
        from starcoder_lsp.engine.local.kv_cache import Owner

        decoding = Decoding(
            ids=tuple(message.ids),
            stop_ids=frozenset(message.stop_ids),
            heal=message.heal,
            max_new_tokens=max(1, message.max_new_tokens),
            n_answers=message.n_answers,
            beam_margin_nats=message.beam_margin_nats,
            sampling=Sampling(message.temperature, message.seed),
            avoid=message.avoid,
        )
        listener = _JobListener(self, message.request, model)
        owner = Owner(self.name, message.document)
        self.jobs[message.request] = model.worker.submit(owner, decoding, listener, is_ahead=message.is_ahead)

    def _answer_later(self, model: LoadedModel, request: int, work: Callable[[], object]) -> None:
        """Call `work` on the model thread, and send its result."""
        loop = asyncio.get_running_loop()

        def run() -> None:
            try:
                done = wire.Done(request, wire.raw(work()))
            except EngineError as error:
                done = wire.Done(request, wire.raw(None), str(error))
            loop.call_soon_threadsafe(self.send, done)

        model.worker.call(run)


@define(eq=False)
class _JobListener:
    """Sends the results of a job. Called on the model thread."""

    connection: Connection
    request: int
    model: LoadedModel
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Send the tokens of a step."""
        rows = [(token.answer, token.id, token.logprob, token.end) for token in tokens]
        message = wire.Tokens(self.request, rows, usage.n_reused, usage.n_evaluated, usage.evaluation_ms)
        self._loop.call_soon_threadsafe(self.connection.send, message)

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:
        """Send the end of the job."""
        speed = self.model.context.prefill_speed
        cost = (usage.n_reused, usage.n_evaluated, usage.evaluation_ms)
        message = wire.Ended(self.request, *cost, is_complete, speed, error)
        self._loop.call_soon_threadsafe(self._end, message)

    def _end(self, message: wire.Ended) -> None:
        self.connection.jobs.pop(self.request, None)
        self.connection.send(message)
