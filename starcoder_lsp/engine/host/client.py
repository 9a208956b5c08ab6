"""An `Engine` whose model runs in a host: found or started, watched, and started again when it dies.

While the host is away requests wait. One that was under way when it died fails with `EngineLostError`, and a prompt
that ended it twice in a row is not sent a third time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field

from starcoder_lsp.engine.engine import (
    CachedDocument,
    Cancellation,
    Capabilities,
    EngineError,
    EngineLostError,
    GenerationRequest,
    Prefilled,
    Prompt,
)
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.host.address import Address
from starcoder_lsp.engine.host.ladder import WHAT_IT_COSTS, Caution, LadderFile, careful, is_crash, next_rung
from starcoder_lsp.engine.host.launch import (
    LIBRARY_STAGES,
    HostConnection,
    HostProcess,
    how_it_ended,
    join_or_start,
    last_words,
)
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.rebuild import rebuild_command
from starcoder_lsp.engine.stream import Token, TokenStream, Usage

N_FIRST_STARTS = 4
"""Starts in a row that may end before the model is loaded for the first time, crashes that the ladder answers apart."""
PAUSES_S = (0.0, 0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before the next start, after deaths with no answer in between; the last one again and again."""
N_CRASHES_A_RUNG = 3
"""Crashes in a row, with no answer in between, after which a loaded model is run more carefully."""
N_DEATHS_A_PROMPT = 2
"""Deaths in a row after which a prompt is not sent again."""
SILENCE_S = 1.0
"""How long the host's event loop may take to say what is kept; it does nothing that takes long."""
OUTSIDE_PATIENCE = 10
"""Deaths from outside that count as one: whoever kills a host again and again wants to see it come back."""
ENDED_FROM_OUTSIDE = {-9, -15, 0}
"""SIGKILL and SIGTERM, which a host answers by an orderly end: no prompt's fault."""


@define(eq=False)
class _Request:
    """A request under way."""

    stream: TokenStream
    message: wire.Generate
    is_sent: bool = False
    is_read: bool = False
    """Whether its reader has what it wanted, and only the host is not done with it."""


@define(eq=False)
class HostEngine:
    """The engine, and what it keeps. `kind` names the model's architecture for the ladder. On the event loop."""

    options: HostOptions
    kind: str
    on_message: Callable[[str], None] = lambda _message: None
    """Told what a user should know: that something was turned off."""
    on_progress: Callable[[float], None] = lambda _share: None
    on_state: Callable[[str], None] = lambda _error: None
    """Told when the model is loading again (`"loading"`), is there (an empty text), or is lost (an error)."""
    ladder: LadderFile = field(factory=LadderFile)
    client: str = "starcoder-lsp"
    capabilities: Capabilities = field(factory=Capabilities)
    n_gpu_layers: int = 0
    prefill_speed: float = 0.0
    caution: Caution = Caution.FULL
    _address: Address = field(init=False)
    _connection: HostConnection | None = None
    _is_ready: bool = False
    _failure: EngineError | None = None
    _numbers: itertools.count[int] = field(factory=itertools.count)
    _requests: dict[int, _Request] = field(factory=dict)
    _questions: dict[int, asyncio.Future[Any]] = field(factory=dict)
    _deaths: dict[int, int] = field(factory=dict)
    """How often in a row the host died with a prompt under way, by the prompt's hash."""
    _n_deaths: int = 0
    _n_crashes: int = 0
    _supervisor: asyncio.Task[None] | None = None
    _is_closing: bool = False

    @property
    def cache(self) -> HostEngine:
        """What it keeps: itself."""
        return self

    @property
    def host_process_id(self) -> int | None:
        """The host's process, if it is there."""
        return self._connection.process_id if self._connection is not None else None

    async def start(self) -> None:
        """Wait until the model is loaded, and go on watching it. Raises `EngineError`."""
        own = "" if self.options.is_shared else f"-{os.getpid()}-{secrets.token_hex(4)}"
        name = self.options.key + own
        self._address = Address.of(name, self.options.transport)
        self.caution = self.ladder.caution(self.kind)
        connection = await self._load(N_FIRST_STARTS)
        self._supervisor = asyncio.ensure_future(self._supervise(connection))

    async def close(self, *, is_restart: bool = False) -> None:
        """Leave the host. One of this server's own ends now, which is waited for, others after their last client.

        With `is_restart` a shared one ends now, too, unless somebody else uses it.
        """
        if is_restart and self._is_ready:
            self._send(wire.End())
        self._is_closing, self._is_ready = True, False
        self._failure = lost = EngineLostError("the model was let go of")  # for whoever asks from now on
        connection = self._connection
        if self._supervisor is not None:
            self._supervisor.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervisor
        if connection is not None:
            if is_restart:
                await connection.ended()
            connection.close()
            if not self.options.is_shared and connection.process is not None:
                await connection.process.exit_code()
        self._lose(lost)

    # Requests

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Begin to answer; with the host away, as soon as it is back."""
        prompt, sampling = request.prompt, request.sampling
        return self._begin(
            wire.Generate(
                request=next(self._numbers),
                document=request.document,
                ids=list(prompt.ids),
                stop_ids=list(prompt.stop_ids),
                heal=prompt.heal,
                max_new_tokens=request.max_new_tokens,
                n_answers=request.n_answers,
                beam_margin_nats=request.beam_margin_nats,
                temperature=sampling.temperature,
                seed=sampling.seed,
                is_ahead=request.is_ahead,
            )
        )

    async def prefill(self, document: str, prompt: Prompt, cancellation: Cancellation) -> Prefilled:
        """Evaluate a prompt ahead of the request for it. Raises `EngineError`."""
        stream = self._begin(
            wire.Generate(
                request=next(self._numbers), document=document, ids=list(prompt.ids), n_answers=0, is_ahead=True
            )
        )
        cancellation.when_cancelled(stream.close)
        usage = await stream.ended()
        return Prefilled(usage.n_evaluated, usage.is_complete)

    async def score(self, prompt: Prompt, targets: Sequence[int]) -> list[float]:
        """Log-probabilities in nats of `targets` behind a prompt, each given the ones before. Raises `EngineError`."""
        scores: list[float] = await self._ask(
            lambda number: wire.Score(number, list(prompt.ids), prompt.heal, list(targets))
        )
        return scores

    async def measure(self, n_tokens: int) -> dict[str, Any]:
        """Speed and memory with so many tokens; for a private host. Raises `EngineError`."""
        figures: dict[str, Any] = await self._ask(lambda number: wire.Measure(number, n_tokens))
        return figures

    async def status(self) -> dict[str, Any]:
        """Who is there, and how the host is. Raises `EngineError`."""
        status: dict[str, Any] = await self._ask(wire.Status)
        return status

    # What is kept

    async def forget(self) -> None:
        """Drop everything that is kept for this server."""
        with suppress(EngineError):
            await self._ask(wire.Forget)

    def persist(self, document: str) -> None:
        """Let the host write a document's state to disk, if states go there."""
        if self._is_ready and self._connection is not None:
            self._connection.send(wire.Persist(document))

    async def cached(self) -> list[CachedDocument]:
        """What is kept for this server; nothing while the host is away."""
        if not self._is_ready:
            return []
        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(SILENCE_S):
                return [CachedDocument(*row) for row in await self._ask(wire.Cached)]
        return []

    # Under way

    def _begin(self, message: wire.Generate) -> TokenStream:
        number = message.request
        stream = TokenStream(
            lambda answer: self._send(wire.Drop(number, answer)), lambda kept: self._close(number, kept)
        )
        if self._failure is not None:
            stream.end(None, self._failure)
        elif self._deaths.get(hash(tuple(message.ids)), 0) >= N_DEATHS_A_PROMPT:
            stream.end(None, EngineError("this prompt ended the process of the model twice; it is not sent again"))
        else:
            request = self._requests[number] = _Request(stream, message)
            if self._is_ready:
                self._submit(request)
        return stream

    def _submit(self, request: _Request) -> None:
        request.is_sent = True
        self._send(request.message)

    def _close(self, number: int, kept: int) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        if request.is_sent:
            request.is_read = True
            self._send(wire.Close(number, kept))
        else:
            del self._requests[number]
            request.stream.end(None)

    def _send(self, message: wire.ToHost) -> None:
        if self._connection is not None:
            self._connection.send(message)

    async def _ask(self, question: Callable[[int], wire.ToHost]) -> Any:
        """Ask a question and wait for its answer. Raises `EngineError`."""
        if not self._is_ready:
            raise self._failure or EngineLostError("the process of the model is not there")
        number = next(self._numbers)
        answer = self._questions[number] = asyncio.get_running_loop().create_future()
        self._send(question(number))
        try:
            return await answer
        finally:
            self._questions.pop(number, None)

    # The host's life

    async def _load(self, max_starts: float = math.inf) -> HostConnection:
        """Bring up a host with its model, rung by rung after crashes. Raises `EngineError`."""
        n_starts, stepped_down = 0, ""
        while True:
            host = await join_or_start(careful(self.options, self.caution), self._address, self.client)
            if isinstance(host, HostConnection):
                self._connection = host
                if await self._hear_until_ready(host):
                    if stepped_down:
                        self.on_message(stepped_down)
                    return host
                host.close()
                self._connection = None
            process = host if isinstance(host, HostProcess) else host.process
            code = await process.exit_code() if process is not None else None
            if process is not None and is_crash(code):
                stepped_down = self._step_down(process.stage, code)
                continue
            n_starts += 1
            if n_starts == max_starts:
                words = last_words(self._address)
                message = f"the process of the model ended while it was loaded, {n_starts} times: {how_it_ended(code)}"
                raise EngineError(message + (f" ({words})" if words else ""))
            self.caution = max(self.caution, self.ladder.caution(self.kind))  # another server may have seen a crash
            await asyncio.sleep(_pause_s(n_starts, code))

    def _step_down(self, stage: str, code: int | None) -> str:
        """Go on more carefully after a crash; the message about it. Raises `EngineError` if nothing is left."""
        how, words = how_it_ended(code), last_words(self._address)
        what = f"llama.cpp crashed while it was {stage or 'being started'} ({how}{f': {words}' if words else ''})"
        rung = next_rung(self.caution, self.options)
        if stage in LIBRARY_STAGES or rung is None:
            message = f"{what}. It may be built for another CPU; build it anew: {rebuild_command()}"
            raise EngineError(message)
        self.caution = rung
        self.ladder.remember(self.kind, rung, crash={"stage": stage, "how": how, "words": words})
        return f"{what}. It runs more carefully now: {WHAT_IT_COSTS[rung]}. `starcoder-lsp doctor` says more."

    async def _hear_until_ready(self, host: HostConnection) -> bool:
        """Listen to a host that loads; false if it is gone. Raises `EngineError` if the model cannot be loaded."""
        while True:
            try:
                message = await wire.read_from_host(host.reader)
            except wire.WireError:
                return False
            match message:
                case wire.Loading(share):
                    self.on_progress(share)
                case wire.Failed(text):
                    host.close()
                    raise EngineError(text)
                case wire.Ready(n_gpu_layers, speed, caution):
                    self.n_gpu_layers, self.prefill_speed, self.caution = n_gpu_layers, speed, Caution(caution)
                    self._is_ready = True
                    for request in list(self._requests.values()):
                        self._submit(request)
                    return True
                case None | wire.Refused():
                    return False

    async def _supervise(self, connection: HostConnection) -> None:
        """Hear what the host says, and bring it up again whenever it dies."""
        while not self._is_closing:
            await self._hear(connection)
            self._is_ready = False
            self._connection = None
            code = await connection.process.exit_code() if connection.process is not None else None
            if self._is_closing:
                return
            self._n_deaths += 1
            self._n_crashes = self._n_crashes + 1 if is_crash(code) else 0
            self._note_deaths(code)
            self._lose(EngineLostError(f"the process of the model ended while it worked: {how_it_ended(code)}"))
            self.on_state("loading")
            try:
                if self._n_crashes == N_CRASHES_A_RUNG and next_rung(self.caution, self.options) is not None:
                    self.on_message(self._step_down("answering", code))
                    self._n_crashes = 0
                await asyncio.sleep(_pause_s(self._n_deaths, code))
                connection = await self._load()
            except EngineError as error:
                self._failure = error
                self._lose(error)
                self.on_state(str(error))
                return
            self.on_state("")

    async def _hear(self, host: HostConnection) -> None:
        """Take in messages until the host is gone."""
        while True:
            try:
                message = await wire.read_from_host(host.reader)
            except wire.WireError:
                message = None
            match message:
                case wire.Tokens(number, rows, n_reused, n_evaluated, evaluation_ms):
                    if number in self._requests:
                        tokens = tuple(Token(*row) for row in rows)
                        self._requests[number].stream.feed(tokens, Usage(n_reused, n_evaluated, evaluation_ms))
                case wire.Ended():
                    self._end(message)
                case wire.Done(number, _, error):
                    answer = self._questions.get(number)
                    if answer is not None and not answer.done():
                        if error:
                            answer.set_exception(EngineError(error))
                        else:
                            answer.set_result(wire.value_of(message))
                case None:
                    host.close()
                    return
                case _:
                    pass

    def _end(self, ended: wire.Ended) -> None:
        self.prefill_speed = ended.prefill_speed
        request = self._requests.pop(ended.request, None)
        if request is None:
            return
        usage = Usage(ended.n_reused, ended.n_evaluated, ended.evaluation_ms, ended.is_complete)
        request.stream.end(usage, EngineError(ended.error) if ended.error else None)
        if not ended.error:
            self._deaths.pop(hash(tuple(request.message.ids)), None)
            self._n_deaths = self._n_crashes = 0

    def _note_deaths(self, code: int | None) -> None:
        """Count which prompts were under way, unless somebody ended the host from outside."""
        if code not in ENDED_FROM_OUTSIDE:
            for request in self._requests.values():
                if request.is_sent and not request.is_read:
                    key = hash(tuple(request.message.ids))
                    self._deaths[key] = self._deaths.get(key, 0) + 1

    def _lose(self, error: EngineError) -> None:
        """Nothing that was sent will be answered. What was not sent yet waits, unless there is no hope."""
        for number, request in list(self._requests.items()):
            if request.is_sent or self._failure is not None or self._is_closing:
                del self._requests[number]
                request.stream.end(None, error)
        for answer in self._questions.values():
            if not answer.done():
                answer.set_exception(error)
        self._questions.clear()


def _pause_s(n_deaths: int, code: int | None) -> float:
    """Seconds before the next start, after so many deaths in a row; they grow slowly where somebody ended the host."""
    n_pauses = n_deaths // OUTSIDE_PATIENCE if code in ENDED_FROM_OUTSIDE else n_deaths
    return PAUSES_S[max(0, min(n_pauses, len(PAUSES_S)) - 1)]
