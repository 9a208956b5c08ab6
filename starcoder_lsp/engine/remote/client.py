"""An `Engine` whose model runs on a server. While the server is away, requests fail at once and probes are sent.

The stop rule closes a stream, which ends the request at the server. On the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from attrs import define, evolve, field

from starcoder_lsp.engine.engine import (
    Cancellation,
    Capabilities,
    EngineError,
    EngineLostError,
    GenerationRequest,
    Prefilled,
    Prompt,
)
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.remote.answer import AnswerReader, HealError
from starcoder_lsp.engine.remote.breaker import Breaker
from starcoder_lsp.engine.remote.errors import EngineAwayError, RequestRefusedError
from starcoder_lsp.engine.remote.exchange import UNCOUNTED, Exchange
from starcoder_lsp.engine.remote.http import Http
from starcoder_lsp.engine.remote.pace import Pace
from starcoder_lsp.engine.remote.prompt_text import prompt_text
from starcoder_lsp.engine.remote.protocol import MAX_STOP_TEXTS, Adapter, Ask
from starcoder_lsp.engine.remote.sessions import Sessions
from starcoder_lsp.engine.stream import Token, TokenStream
from starcoder_lsp.engine.vocabulary import WHERE

SAMPLE: Final = "def f(x):\n    return 12 + x['é']  # <\t>\n"
"""A text that server and vocabulary must tokenize equally: words, digits, indentation, a character of two bytes."""
PROBE_DOCUMENT: Final = ""
"""The session of probes: no document has this URI."""


@define(eq=False)
class RemoteEngine:
    """The engine. `on_message` gets messages for the user; `on_state` why the server is away, then `""`.

    `on_refused` is called at each new kind of refusal: the server may have another model or context by now.
    """

    http: Http
    adapter: Adapter
    prompts: PromptModel
    on_message: Callable[[str], None] = lambda _message: None
    on_state: Callable[[str], None] = lambda _error: None
    on_refused: Callable[[], None] = lambda: None
    prefills: bool = False
    breaker: Breaker = field(factory=Breaker)
    pace: Pace = field(factory=Pace)
    n_gpu_layers: int = 0
    prefill_speed: float = 0.0
    cache: None = None
    _sessions: Sessions = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set)
    _probing: asyncio.Task[None] | None = None
    _is_closed: bool = False
    _is_plain: bool = False
    """True if the server refused optional fields."""
    _reported: set[int | str] = field(factory=set)
    """The refusals that were reported, by their status or text; the numbers in a text may differ."""
    _away: str = ""
    """The reason that was reported last while the server is away."""
    _silent_s: float = 0.0
    """The seconds for which requests waited up to their deadlines and got nothing, in a row."""

    def __attrs_post_init__(self) -> None:
        """Make the sessions."""
        self._sessions = Sessions(self.http.endpoint.session_headers)

    @property
    def capabilities(self) -> Capabilities:
        """The server's capabilities; prefill ahead of need only if the settings allow it."""
        return evolve(self.adapter.capabilities, prefill=self.prefills)

    @property
    def where(self) -> str:
        """The host that sees source text."""
        return self.http.endpoint.host

    async def check_vocabulary(self) -> None:
        """Raise `EngineError` if the server's token ids are not those of the vocabulary."""
        tokenizer, fim = self.prompts.tokenizer, self.prompts.fim
        marker_ids = [fim.prefix, fim.suffix, fim.middle]
        spelled = "".join(tokenizer.spelling(marker_id).decode() for marker_id in marker_ids)
        theirs = await self.adapter.tokenize(self.http, spelled + SAMPLE)
        if theirs is not None and list(theirs) != [*marker_ids, *tokenizer.encode(SAMPLE.encode())]:
            message = (
                f"the model at {self.where} has another vocabulary than engine.vocabulary: set that to {WHERE}, or"
                " choose another model by engine.model"
            )
            raise EngineError(message)

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Begin to answer. While the server is away, and after `close`, the stream fails at once."""
        exchange: Exchange
        stream = TokenStream(lambda _answer: exchange.close(), lambda _kept: exchange.close(), UNCOUNTED)
        exchange = Exchange(request, stream, pace=None if request.is_ahead else self.pace)
        if self._is_closed:
            stream.end(None, EngineLostError("the model was unloaded"))
        elif self.breaker.is_away:
            stream.end(None, EngineAwayError(f"{self.where} is away"))
        else:
            exchange.task = asyncio.ensure_future(self._run(exchange))
            self._tasks.add(exchange.task)
            exchange.task.add_done_callback(self._tasks.discard)
        return stream

    async def prefill(self, document: str, prompt: Prompt, cancellation: Cancellation) -> Prefilled:
        """Evaluate a prompt by asking for one token. Raises `EngineError`."""
        stream = self.generate(GenerationRequest(document, evolve(prompt, heal=b""), 1, 0.0, is_ahead=True))
        cancellation.when_cancelled(stream.close)
        usage = await stream.ended()
        return Prefilled(usage.n_evaluated, is_complete=not cancellation.is_cancelled)

    async def close(self, *, is_restart: bool = False) -> None:  # noqa: ARG002  the server is not ours to restart
        """End every request and close the connections. Nothing is reported any more."""
        self._is_closed = True
        tasks = [*self._tasks, *([self._probing] if self._probing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.http.close()

    # One request

    async def _run(self, exchange: Exchange) -> None:
        """Answer one request; its stream ends whatever happens."""
        try:
            if exchange.pace is not None:
                await exchange.pace.wait(exchange.request.timeout_ms)
            error = await self._failure(exchange)
        except asyncio.CancelledError:
            exchange.note_left()
            self._end(exchange, None)
            self._count_silence(exchange.silent_s)
            raise
        self._end(exchange, error)

    def _end(self, exchange: Exchange, error: EngineError | None) -> None:
        """End the stream, and note how the server did. Most readers leave an answer before its end.

        While the server is away, only probes tell: a request from before may end well although others were refused.
        """
        self.prefill_speed = exchange.prefill_speed or self.prefill_speed
        exchange.stream.end(exchange.usage, error)
        if not self.breaker.is_away and (error is not None or exchange.is_answered):
            self._judge(error)

    async def _failure(self, exchange: Exchange) -> EngineError | None:
        """Answer one request; return the error if that fails, whatever it is."""
        try:
            await self._answer(exchange)
        except EngineError as error:
            return error
        except Exception as error:  # noqa: BLE001  a bug; its request must end all the same
            return EngineError(f"the engine's answer could not be read: {type(error).__name__}")
        return None

    async def _answer(self, exchange: Exchange) -> None:
        """Request with healing, and again without if the answer does not begin with the text before the cursor."""
        request = exchange.request
        heal = request.prompt.heal
        is_healed = False
        with suppress(UnicodeDecodeError, HealError):  # what begins inside a character is no text for a constraint
            await self._read(exchange, request.prompt, heal.decode(), heal)
            is_healed = True
        if is_healed:
            return
        heal_ids = self.prompts.tokenizer.encode(heal)
        exchange.stream.feed(tuple(Token(0, token_id, 0.0) for token_id in heal_ids), exchange.usage)
        await self._read(exchange, evolve(request.prompt, ids=request.prompt.ids + heal_ids, heal=b""), "", b"")

    async def _read(self, exchange: Exchange, prompt: Prompt, heal_text: str, heal: bytes) -> None:
        """Read one answer. A refused request is sent once more without optional fields."""
        max_tokens = exchange.request.max_new_tokens
        ask = self._ask(prompt, heal_text, exchange.request)
        reader = AnswerReader(self.prompts.tokenizer, prompt.stop_ids, max_tokens, heal)
        try:
            await exchange.read(self.http, self.adapter, ask, reader, self._sessions)
        except RequestRefusedError:
            if ask.is_plain or not self.adapter.has_plain_form:
                raise
            plain = evolve(ask, is_plain=True)
            await exchange.read(self.http, self.adapter, plain, reader, self._sessions)
            self._is_plain = True

    def _ask(self, prompt: Prompt, heal_text: str, request: GenerationRequest) -> Ask:
        tokenizer, fim = self.prompts.tokenizer, self.prompts.fim
        markers = [fim.family.markers[role] for role in fim.markers]
        return Ask(
            ids=prompt.ids,
            text="" if self.capabilities.takes_ids else prompt_text(prompt.ids, tokenizer),
            heal=heal_text if self.adapter.constrains else "",
            stop_ids=tuple(sorted(prompt.stop_ids)),
            stop_texts=tuple(markers[:MAX_STOP_TEXTS]),
            max_tokens=request.max_new_tokens,
            sampling=request.sampling,
            ends_with_line=request.ends_with_line,
            is_plain=self._is_plain,
        )

    # While it is away

    def _count_silence(self, silent_s: float) -> None:
        """Count as a failure what would be one if the requests' deadlines were longer than `engine.timeoutMs`."""
        self._silent_s += silent_s
        if self._silent_s >= self.http.endpoint.timeout_s and not self.breaker.is_away:
            self._silent_s -= self.http.endpoint.timeout_s
            self._judge(EngineAwayError(f"{self.where} did not answer within {self.http.endpoint.timeout_s:g} s"))

    def _judge(self, error: EngineError | None) -> None:
        """Note how a request ended."""
        if self._is_closed:
            return
        if error is None:
            self._silent_s = 0.0
            if self.breaker.succeed():
                self._away = ""
                self.on_state("")
        elif isinstance(error, EngineAwayError):
            if self.breaker.fail(error.retry_after_s):
                self.on_message(f"{error}. Suggestions come back by themselves once it answers again.")
            if self.breaker.is_away and str(error) != self._away:
                self._away = str(error)
                self.on_state(self._away)
            if self.breaker.is_away and (self._probing is None or self._probing.done()):
                self._probing = asyncio.ensure_future(self._probe())
        else:
            kind = error.status if isinstance(error, RequestRefusedError) else str(error)
            if kind not in self._reported:
                self._reported.add(kind)
                self.on_message(str(error))
                self.on_refused()

    async def _probe(self) -> None:
        """Request one token after each pause until the server answers, and has a model of this vocabulary."""
        fim = self.prompts.fim
        prompt = fim.infill((), ())
        while self.breaker.is_away:
            await asyncio.sleep(self.breaker.pause_s)
            stream = TokenStream(lambda _answer: None, lambda _kept: None, UNCOUNTED)
            exchange = Exchange(GenerationRequest(PROBE_DOCUMENT, prompt, 1, 0.0), stream)
            error = await self._failure(exchange) or await self._vocabulary_error()
            if error is not None and not isinstance(error, EngineAwayError):
                self._judge(error)  # it is reported, and the server stays away
                error = EngineAwayError(str(error))
            self._judge(error)

    async def _vocabulary_error(self) -> EngineError | None:
        try:
            await self.check_vocabulary()
        except EngineError as error:
            return error
        return None
