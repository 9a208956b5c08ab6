"""One request at a server, from its body to its last event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from attrs import define, evolve, field

from starcoder_lsp.engine.engine import GenerationRequest
from starcoder_lsp.engine.remote.answer import AnswerReader
from starcoder_lsp.engine.remote.errors import EngineAwayError
from starcoder_lsp.engine.remote.events import EventReader
from starcoder_lsp.engine.remote.http import Http, read_rest
from starcoder_lsp.engine.remote.pace import Pace
from starcoder_lsp.engine.remote.protocol import Adapter, Ask
from starcoder_lsp.engine.remote.sessions import Sessions
from starcoder_lsp.engine.stream import TokenStream, Usage

LAST_EVENT_S = 0.5
"""The time that a server has to send its counts after the end of an answer; they follow at once. Not measured."""
UNCOUNTED = Usage(is_counted=False)


@define(eq=False)
class Exchange:
    """A request while it runs, and its cost so far."""

    request: GenerationRequest
    stream: TokenStream
    task: asyncio.Task[None] | None = None
    is_answered: bool = False
    """True once the server has sent a part of the answer."""
    is_ended: bool = False
    """True if the server has ended the answer, and only counts may follow."""
    prefill_speed: float = 0.0
    pace: Pace | None = None
    """Records the time to the first token; `None` for a request that no user waits for."""
    silent_s: float = 0.0
    """The wait for the server, if that sent nothing until the request's deadline."""
    _begun_s: float = field(factory=time.perf_counter)
    _sent_s: float = 0.0
    """The time at which it was sent first; 0 before, and once it has a token."""
    _counts: Usage | None = None
    _waited_ms: float = 0.0
    _waits_since: float = 0.0
    """The start of the current wait for the server; 0 between two waits."""

    @property
    def usage(self) -> Usage:
        """The counts so far. `evaluation_ms` is the time spent waiting for the server."""
        waiting_ms = (time.perf_counter() - self._waits_since) * 1000 if self._waits_since else 0.0
        return evolve(self._counts or UNCOUNTED, evaluation_ms=self._waited_ms + waiting_ms)

    def close(self) -> None:
        """End the request at the server, unless that has ended it and only the counts are missing."""
        if self.task is None or self.task.done():
            return
        if self.is_ended:
            asyncio.get_running_loop().call_later(LAST_EVENT_S, self.task.cancel)
        else:
            self._note_silence()
            self.task.cancel()
            self.stream.end(self.usage)

    async def read(self, http: Http, adapter: Adapter, ask: Ask, reader: AnswerReader, sessions: Sessions) -> None:
        """Send the request and feed the stream until the answer ends. Raises `EngineError` and `HealError`."""
        document, events = self.request.document, EventReader(adapter.is_events)
        self._counts, self.is_ended = None, False
        body = adapter.body(ask)
        self._sent_s = self._sent_s or time.perf_counter()
        self._wait()
        try:
            async with http.stream(adapter.path, body, sessions.headers(document)) as (headers, chunks):
                sessions.receive(document, headers)
                async for chunk in chunks:
                    self._go_on()
                    for event in events.feed(chunk):
                        self._take(adapter, reader, event)
                    if events.is_done or (reader.is_over and (not self.is_ended or self._counts is not None)):
                        if self.is_ended:
                            await read_rest(chunks)
                        break
                    self._wait()
        finally:
            self._go_on()
        if not self.is_ended and not reader.is_over:
            message = f"{http.endpoint.host} broke off in the middle of an answer"
            raise EngineAwayError(message)

    def note_left(self) -> None:
        """Note that the request was left, if it was sent and has no token yet."""
        if self.pace is not None and self._sent_s:
            self.pace.left(time.perf_counter() - self._sent_s)

    def _note_silence(self) -> None:
        now, timeout_s = time.perf_counter(), self.request.timeout_ms / 1000
        if self._waits_since and not self.is_answered and 0 < timeout_s <= now - self._begun_s:
            self.silent_s = now - self._waits_since

    def _take(self, adapter: Adapter, reader: AnswerReader, event: Mapping[str, object]) -> None:
        part = adapter.read(event)
        self.is_answered = True
        self._counts = part.usage or self._counts
        self.prefill_speed = part.prefill_speed or self.prefill_speed
        tokens = () if reader.is_over else reader.take(part)
        self.is_ended = self.is_ended or bool(part.end) or part.is_last or reader.n_left <= 0
        if tokens:
            if self.pace is not None and self._sent_s:
                self.pace.begun(time.perf_counter() - self._sent_s)
                self._sent_s, self.pace = 0.0, None
            self.stream.feed(tokens, self.usage)

    def _wait(self) -> None:
        self._waits_since = time.perf_counter()

    def _go_on(self) -> None:
        if self._waits_since:
            self._waited_ms += (time.perf_counter() - self._waits_since) * 1000
            self._waits_since = 0.0
