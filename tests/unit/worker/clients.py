"""Clients of the model thread: prompts, answers, a record of evaluations, and a way to block the thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from attrs import evolve

from starcoder_lsp.engine.engine import (
    Cancellation,
    CompletionOutput,
    Generation,
    GenerationRequest,
)
from starcoder_lsp.engine.generation import generate
from starcoder_lsp.engine.local.backend import Interrupted
from starcoder_lsp.engine.local.llama import LlamaContext
from starcoder_lsp.engine.local.worker import Worker
from starcoder_lsp.engine.prompt_model import PromptModel
from starcoder_lsp.engine.stream import Token, Usage
from tests.local_engine import LocalEngine, differences

N_CONTEXT = 768


N_CELLS = 2 * N_CONTEXT


N_PARKED_BYTES = 32 * 1024 * 1024


class Recorder:
    """The real context, which records the sequences `(sequence, ...)` of each evaluation."""

    def __init__(self, context: LlamaContext) -> None:
        self._context = context
        self.evaluated: list[tuple[int, ...]] = []
        self.broken_off: list[int] = []
        self.gates: list[threading.Event] = []
        self.before: Callable[[], None] = lambda: None
        """Called before each evaluation, on the model thread."""
        self.looked: Callable[[], None] = lambda: None
        """Called whenever the model thread checks for an interruption."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)

    def decode(self, sequence: int, ids: Sequence[int], first_position: int, interrupted: Interrupted) -> bool:
        self.before()
        self.evaluated.append((sequence,))
        is_done = self._context.decode(sequence, ids, first_position, lambda: self.looked() or interrupted())
        if not is_done:
            self.broken_off.append(sequence)
        return is_done

    def step(self, tokens: Sequence[tuple[int, int, int]]) -> None:
        self.before()
        self.evaluated.append(tuple(sequence for sequence, _, _ in tokens))
        self._context.step(tokens)


def wait_for(worker: Worker) -> None:
    """Wait until the model thread has made all earlier calls."""
    done = threading.Event()
    worker.call(done.set)
    assert done.wait(60)


@contextmanager
def blocked(worker: Worker) -> Iterator[None]:
    """Block the model thread during the block, so that it receives all calls of the block together."""
    gate = threading.Event()
    worker.call(gate.wait)
    try:
        yield
    finally:
        gate.set()


def text(name: str, n_tokens: int, prompts: PromptModel) -> tuple[int, ...]:
    """Return the ids of a prompt; prompts of different names share only the first marker."""
    functions = "".join(f"def {name}_{i}(x):\n    return x + {i}\n\n\n" for i in range(100))
    fim = prompts.fim
    ids = prompts.tokenizer.encode(f"{name} = 1\n{functions}".encode())
    return fim.infill(ids[: n_tokens - 3], ()).ids


def request(
    prompts: PromptModel, name: str, n_tokens: int = 40, document: str = "doc", **given: object
) -> GenerationRequest:
    """Return a request whose answers end after `max_new_tokens` only: any other end would depend on rounding."""
    prompt = evolve(prompts.fim.infill((), ()), ids=text(name, n_tokens, prompts), stop_ids=frozenset())
    return GenerationRequest(document, prompt, **({"max_new_tokens": 6, "timeout_ms": 60_000.0} | given))


async def run_request(engine: LocalEngine, generation_request: GenerationRequest) -> Generation:
    piece = engine.context.pieces.__getitem__
    generation = await generate(engine, generation_request, piece, lambda _text: None, Cancellation())
    await engine.settled()
    return generation


def check_answer(got: Generation, wanted: Generation) -> None:
    """Raise `AssertionError` unless answers are the same, ties apart."""
    (mine,), (theirs,) = got.written, wanted.written
    n_same = len(differences(mine, theirs))
    assert mine.ids == theirs.ids or n_same < min(len(mine.ids), len(theirs.ids))


def sequence_of(host: LocalEngine, client: str) -> int:
    return next(each.cached.sequence for each in host.worker.sequences.residents if each.cached.owner.client == client)


class Reader:
    """Receives the results of a job, without an event loop."""

    def __init__(self) -> None:
        self.tokens: list[Token] = []
        self.n_ends = 0
        self.error = ""
        self.dropped: set[int] = set()
        self.changed = threading.Condition()

    def on_tokens(self, tokens: tuple[Token, ...], usage: Usage) -> None:  # noqa: ARG002
        with self.changed:
            assert not self.n_ends, "the end is the last call"
            self.tokens += tokens
            self.changed.notify_all()

    def on_end(self, usage: Usage, *, is_complete: bool, error: str) -> None:  # noqa: ARG002
        with self.changed:
            self.n_ends += 1
            self.error = error
            self.changed.notify_all()

    def wait(self, n_tokens: int = 10**9) -> None:
        """Wait for `n_tokens` tokens, or until no more will come."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.n_ends or len(self.tokens) >= n_tokens or self._is_silent(), 60)

    def _is_silent(self) -> bool:
        """Return whether all answers that began have ended."""
        ended = {token.answer for token in self.tokens if token.end} | self.dropped
        return bool(self.tokens) and ended >= {token.answer for token in self.tokens}

    def first_answer(self) -> CompletionOutput:
        mine = [token for token in self.tokens if token.answer == 0 and token.end != "stop_token"]
        return CompletionOutput(b"", tuple(each.id for each in mine), tuple(each.logprob for each in mine), "")
