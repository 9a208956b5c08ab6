"""The model thread in the test's own process, as an `Engine`: a host without the process and the socket."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from attrs import define, field

from starcoder_lsp.engine.engine import (
    CachedDocument,
    Cancellation,
    Capabilities,
    CompletionOutput,
    EngineError,
    GenerationRequest,
    Prefilled,
    Prompt,
)
from starcoder_lsp.engine.host.ladder import Caution
from starcoder_lsp.engine.local.backend import Interrupted
from starcoder_lsp.engine.local.decoding import Decoding
from starcoder_lsp.engine.local.jobs import Job
from starcoder_lsp.engine.local.kv_cache import Owner
from starcoder_lsp.engine.local.llama import N_BRANCHES, N_RESIDENTS, LlamaContext, LoadOptions
from starcoder_lsp.engine.local.parking import ParkedStates
from starcoder_lsp.engine.local.sequences import Sequences
from starcoder_lsp.engine.local.state_files import StateFiles
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import StopReason, Token, TokenStream, Usage

T = TypeVar("T")
ROUNDING_NATS = 0.25
"""The largest difference of a token's log-probability between two runs: batches of another size, and other kernels, sum
in another order, and cells are rounded to 16 bits. Measured for 229 tokens: at most 0.087 with these kernels, 0.138
with those of llama.cpp without flash attention. Cells of other tokens change it by several nats."""
NEAR_TIE_NATS = 0.1
"""Invariant 6 in ARCHITECTURE.md: evaluated anew, no token is likelier by more than the chosen one. Measured for 181
tokens: 0.001 with these kernels, 0.032 without flash attention."""


END_OF_TEXT = 0
"""The stop token that the demonstrator writes."""


def chosen_ids(output: CompletionOutput) -> tuple[int, ...]:
    """Return the tokens that the model chose: those of the text, and the stop token if one ended it."""
    return (*output.ids, END_OF_TEXT) if output.stop_reason is StopReason.STOP_TOKEN else output.ids


def differences(got: CompletionOutput, wanted: CompletionOutput) -> list[float]:
    """Return the differences of two answers' log-probabilities, in nats, up to where the answers differ.

    They may only differ where two candidates are equally likely but for rounding.
    """
    pairs = list(zip(got.ids, wanted.ids, strict=False))
    at = next((i for i, (mine, theirs) in enumerate(pairs) if mine != theirs), len(pairs))
    n_compared = min(at + 1, len(pairs))
    found = np.abs(np.subtract(got.logprobs[:n_compared], wanted.logprobs[:n_compared])).tolist()
    assert max(found, default=0) < ROUNDING_NATS
    return found[:at]


@define(eq=False)
class Listener:
    """Passes tokens from the model thread to a stream while the test runs."""

    stream: TokenStream
    loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        self._report(self.stream.feed, tokens, usage)

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:
        whole = Usage(usage.n_reused, usage.n_evaluated, usage.evaluation_ms, is_complete)
        self._report(self.stream.end, whole, EngineError(error) if error else None)

    def _report(self, call: Callable[..., None], *given: object) -> None:
        with suppress(RuntimeError):  # the test has ended, and its loop is closed
            self.loop.call_soon_threadsafe(call, *given)


@define(eq=False)
class LocalEngine:
    """One client of a model thread."""

    worker: Worker
    client: str = "test"
    capabilities: Capabilities = field(factory=partial(Capabilities, avoidance=True))
    n_gpu_layers: int = 0

    @classmethod
    def load(
        cls,
        prompts: PromptModel,
        path: Path,
        caution: Caution,
        n_parked_bytes: int = 0,
        files: StateFiles | None = None,
        n_cells: int = 0,
        *,
        has_spares: bool = False,
    ) -> LocalEngine:
        options = LoadOptions(
            path,
            n_cells or prompts.n_context,
            prompts.n_bytes,
            n_gpu_layers=0,
            n_threads=1,
            use_extra_buffers=caution < Caution.PLAIN_WEIGHTS,
            use_flash_attention=caution < Caution.MINIMAL,
        )
        context = LlamaContext(options, prompts.tokenizer.pieces)
        context.warm_up()
        states = ParkedStates(n_parked_bytes, files)
        sequences = Sequences.of(context, states, N_RESIDENTS, N_BRANCHES, has_spares=has_spares)
        worker = Worker(sequences, prompts.n_context)
        worker.start()
        return cls(worker)

    def beside(self, client: str) -> LocalEngine:
        """Return another client of the same model thread."""
        return LocalEngine(self.worker, client)

    @property
    def context(self) -> LlamaContext:
        return self.worker.sequences.backend

    @property
    def cache(self) -> LocalEngine:
        return self

    @property
    def prefill_speed(self) -> float:
        return self.worker.sequences.backend.prefill_speed

    def generate(self, request: GenerationRequest) -> TokenStream:
        prompt = request.prompt
        decoding = Decoding(
            prompt.ids,
            prompt.stop_ids,
            prompt.heal,
            request.max_new_tokens,
            request.n_answers,
            request.beam_margin_nats,
            request.sampling,
            prompt.avoid,
        )
        return self._begin(request.document, decoding, is_ahead=request.is_ahead)

    async def prefill(self, document: str, prompt: Prompt, cancellation: Cancellation) -> Prefilled:
        stream = self._begin(document, Decoding(prompt.ids, frozenset(), b"", 1, 0), is_ahead=True)
        cancellation.when_cancelled(stream.close)
        usage = await stream.ended()
        return Prefilled(usage.n_evaluated, usage.is_complete)

    def _begin(self, document: str, decoding: Decoding, *, is_ahead: bool) -> TokenStream:
        jobs: list[Job] = []
        stream = TokenStream(
            lambda answer: self.worker.drop(jobs[0], answer),
            lambda kept_answer: self.worker.cancel(jobs[0], kept_answer),
        )
        jobs.append(self.worker.submit(Owner(self.client, document), decoding, Listener(stream), is_ahead=is_ahead))
        return stream

    async def forget(self) -> None:
        self.worker.forget(self.client)
        await self.settled()

    def persist(self, document: str) -> None:
        self.worker.persist(Owner(self.client, document))

    async def cached(self) -> Sequence[CachedDocument]:
        await self.settled()
        return self.worker.cached(self.client)

    async def run_on_thread(self, work: Callable[[], T]) -> T:
        """Call `work` on the model thread, between two turns, and return its result."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        results: list[T] = []

        def run() -> None:
            try:
                results.append(work())
            finally:
                loop.call_soon_threadsafe(done.set)

        self.worker.call(run)
        await done.wait()
        return results[0]

    async def settled(self) -> None:
        """Wait until the model thread has made all earlier calls."""
        await self.run_on_thread(lambda: None)

    @contextmanager
    def cancelling(self, cancellation: Cancellation, n_looks: int) -> Iterator[list[int]]:
        """Cancel at the `n_looks`-th check of the model thread; yield a list that grows with each check.

        It checks before each node of a prefill's graph; a check is also counted before each token of the answers.
        """
        context, loop = self.context, asyncio.get_running_loop()
        decode, step, looks = context.decode, context.step, []

        def look() -> None:
            looks.append(1)
            if len(looks) == n_looks:
                is_cancelled = threading.Event()
                loop.call_soon_threadsafe(lambda: (cancellation.cancel(), is_cancelled.set()))
                is_cancelled.wait()

        def watched_decode(sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:
            return decode(sequence, ids, first_position, lambda: look() or interrupted())

        def watched_step(tokens: Sequence[tuple[int, int, int]]) -> None:
            look()
            step(tokens)

        context.decode, context.step = watched_decode, watched_step
        try:
            yield looks
        finally:
            del context.decode, context.step

    async def shortfalls(self, ids: Sequence[int], answer: Sequence[int], rank: int = 1) -> list[float]:
        """Evaluate a prompt and an answer anew, and return by how many nats each token of it misses the likeliest one.

        The first token is compared with the one of that `rank`: several answers begin with the likeliest ones.
        """

        def evaluate() -> list[float]:
            context, sequence, missed = self.context, self.worker.sequences.scratch(), []
            for first in range(0, len(ids), context.n_slice):
                context.decode(sequence, ids[first : first + context.n_slice], first)
            for position, token_id in enumerate(answer, len(ids)):
                found = np.sort(logits := context.logits().astype(np.float64))
                missed.append(float(found[-1 if missed else -rank] - logits[token_id]))
                context.decode(sequence, [token_id], position)
            context.truncate(sequence, 0)
            return missed

        return await self.run_on_thread(evaluate)

    def check_cells(self) -> None:
        """Raise `AssertionError` unless the records and the context agree. Only without running jobs."""
        context = self.worker.sequences.backend
        residents = self.worker.sequences.residents
        held = {each.cached.sequence: len(each.cached.ids) for each in residents}
        held |= {each.aside.sequence: each.aside.end for each in residents if each.aside is not None}
        for sequence in range(context.n_sequences):
            assert context.n_cells_of(sequence) == held.get(sequence, 0), f"sequence {sequence}"
        assert sorted(self.worker.sequences.branches) == list(range(N_RESIDENTS, N_RESIDENTS + N_BRANCHES))

    async def close(self, *, is_restart: bool = False) -> None:
        """Do nothing: the fixture ends the model thread."""

    def end(self) -> None:
        assert self.worker.close(60)
        self.worker.sequences.backend.close()
