"""An `Engine` whose model runs in a host.

Requests wait while no host is ready. A request that was running when the host died fails with `EngineLostError`, and a
prompt that was running at two deaths in a row is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
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
from starcoder_lsp.engine.host.ladder import Caution, LadderFile
from starcoder_lsp.engine.host.options import HostOptions
from starcoder_lsp.engine.host.pending import PendingRequests
from starcoder_lsp.engine.host.supervisor import Supervisor
from starcoder_lsp.engine.stream import TokenStream

CACHED_TIMEOUT_S = 1.0
"""The time in which the host must list its cached documents. Its event loop does no long work; not measured."""


@define(eq=False)
class HostEngine:
    """The engine and its KV cache. `kind` names the model's architecture for the ladder. On the event loop."""

    options: HostOptions
    kind: str
    on_message: Callable[[str], None] = lambda _message: None
    """Called with a message for the user: a feature was turned off."""
    on_progress: Callable[[float], None] = lambda _share: None
    """Called with the share of the model that is loaded, 0 to 1."""
    on_state: Callable[[str], None] = lambda _error: None
    """Called after the first load, when the state changes: `"loading"`, an empty text when ready, or an error."""
    ladder: LadderFile = field(factory=LadderFile)
    client: str = "starcoder-lsp"
    capabilities: Capabilities = field(factory=partial(Capabilities, avoidance=True))
    n_gpu_layers: int = 0
    prefill_speed: float = 0.0
    _supervisor: Supervisor = field(init=False)
    _pending: PendingRequests = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Connect the parts."""
        self._supervisor = Supervisor(self.options, self.kind, self.client, self.ladder, self)
        self._pending = PendingRequests(self._supervisor.send)

    @property
    def cache(self) -> HostEngine:
        """The KV cache: this engine."""
        return self

    @property
    def caution(self) -> Caution:
        """The rung of the ladder that the model runs on."""
        return self._supervisor.caution

    @property
    def host_process_id(self) -> int | None:
        """The host's process, or `None` while there is none."""
        connection = self._supervisor.connection
        return connection.process_id if connection is not None else None

    async def start(self) -> None:
        """Wait until the model is loaded, and keep a host running from then on. Raises `EngineError`."""
        await self._supervisor.start()

    async def close(self, *, is_restart: bool = False) -> None:
        """Leave the host. A private one ends now, and its end is awaited; a shared one ends after its last client.

        With `is_restart` a shared one ends now, too, unless another client uses it.
        """
        self._pending.failure = error = EngineLostError("the model was unloaded")
        await self._supervisor.close(is_restart=is_restart)
        self._pending.fail_sent(error)

    # Requests

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Begin to answer; while no host is ready, as soon as one is."""
        prompt, sampling = request.prompt, request.sampling
        return self._pending.begin(
            wire.Generate(
                request=self._pending.next_number(),
                document=request.document,
                ids=list(prompt.ids),
                stop_ids=list(prompt.stop_ids),
                heal=prompt.heal,
                avoid=prompt.avoid,
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
        number = self._pending.next_number()
        stream = self._pending.begin(
            wire.Generate(request=number, document=document, ids=list(prompt.ids), n_answers=0, is_ahead=True)
        )
        cancellation.when_cancelled(stream.close)
        usage = await stream.ended()
        return Prefilled(usage.n_evaluated, usage.is_complete)

    async def score(self, prompt: Prompt, targets: Sequence[int]) -> list[float]:
        """Return the log-probabilities in nats of `targets` behind a prompt, each given the ones before.

        Raises `EngineError`.
        """
        scores: list[float] = await self._pending.ask(
            lambda number: wire.Score(number, list(prompt.ids), prompt.heal, list(targets))
        )
        return scores

    async def measure(self, step: str, n: int) -> dict[str, Any]:
        """Measure a step, as `Measurement.step` has them; for a private host. Raises `EngineError`."""
        figures: dict[str, Any] = await self._pending.ask(lambda number: wire.Measure(number, step, n))
        return figures

    async def status(self) -> dict[str, Any]:
        """Return the host's state and its clients. Raises `EngineError`."""
        status: dict[str, Any] = await self._pending.ask(wire.Status)
        return status

    # The KV cache

    async def forget(self) -> None:
        """Drop everything that is cached for this server."""
        with suppress(EngineError):
            await self._pending.ask(wire.Forget)

    def persist(self, document: str) -> None:
        """Let the host write a document's state to disk, if states go there."""
        self._supervisor.send(wire.Persist(document))

    async def cached(self) -> list[CachedDocument]:
        """Return what is cached for this server; nothing while no host is ready."""
        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(CACHED_TIMEOUT_S):
                return [CachedDocument(*row) for row in await self._pending.ask(wire.Cached)]
        return []

    # The supervisor's reports

    def on_ready(self, message: wire.Ready) -> None:
        """Send the requests that waited."""
        self.n_gpu_layers, self.prefill_speed = message.n_gpu_layers, message.prefill_speed
        self._pending.send_all()

    def on_wire_message(self, message: wire.ToClient) -> None:
        """Pass a message on to the request that it answers."""
        match message:
            case wire.Tokens():
                self._pending.receive_tokens(message)
            case wire.Ended():
                self.prefill_speed = message.prefill_speed
                if self._pending.receive_end(message):
                    self._supervisor.count_answer()
            case wire.Done():
                self._pending.receive_answer(message)
            case _:
                pass

    def on_death(self, error: EngineError, *, is_from_outside: bool) -> None:
        """Fail the requests that were running."""
        if not is_from_outside:
            self._pending.count_death()
        self._pending.fail_sent(error)
        self.on_state("loading")

    def on_restarted(self) -> None:
        """Report that requests are answered again."""
        self.on_state("")

    def on_failure(self, error: EngineError) -> None:
        """Fail every request from now on."""
        self._pending.failure = error
        self._pending.fail_sent(error)
        self.on_state(str(error))
