"""What the rest of the program knows of an engine, which runs tokens: plain values in, plain values out.

An engine lives in another process or on another machine, so all of it is asynchronous, and whatever crosses it is
bytes, numbers, strings and tuples of them. What choosing a prompt needs of a model is elsewhere, in `prompt_model.py`:
that is read from the model's file and needs no engine. Nothing here knows llama.cpp, editors or languages.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import define, field, frozen

from starcoder_lsp.engine.stream import StopReason, TokenStream

StopRule = Callable[[bytes], str | None]
"""Asked after each token with the text so far; a string is the reason to stop, `None` means go on."""


class EngineError(Exception):
    """The engine cannot answer. The text is one plain line for a user: what is wrong and what to do."""


class EngineLostError(EngineError):
    """The engine ended while it worked on a request, or before it could begin."""


@define(eq=False)
class Cancellation:
    """Tells work that its outcome is not wanted any more. On the event loop."""

    is_cancelled: bool = False
    _callbacks: list[Callable[[], None]] = field(factory=list)

    def cancel(self) -> None:
        """Cancel the work; the second time does nothing."""
        if not self.is_cancelled:
            self.is_cancelled = True
            for callback in self._callbacks:
                callback()

    def when_cancelled(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the cancellation: now, if it was cancelled already."""
        if self.is_cancelled:
            callback()
        else:
            self._callbacks.append(callback)


@frozen
class Sampling:
    """How the next token is chosen. `temperature` 0 takes the likeliest; otherwise `seed` makes the draw repeatable."""

    temperature: float = 0.0
    seed: int = 0


@frozen
class Prompt:
    """Token ids as they are sent, and the ids that end an answer to them."""

    ids: tuple[int, ...]
    stop_ids: frozenset[int]
    format_name: str
    """Which of `fim.py`'s layouts this is, for `explain`."""
    heal: bytes = b""
    """Text behind `ids` that the answer must begin with, in whichever tokens (token healing)."""


@frozen
class GenerationRequest:
    """One completion to compute. `document` names the KV state to continue from."""

    document: str
    prompt: Prompt
    max_new_tokens: int
    timeout_ms: float
    sampling: Sampling = field(factory=Sampling)
    n_answers: int = 1
    beam_margin_nats: float = 0.0
    """If one answer is asked for and the two likeliest first tokens are within this margin, decode both to the end of
    the first line and keep the likelier (a beam of 2). Not with a temperature."""
    min_confidence: float = -math.inf
    """An answer ends early when the mean natural logarithm of its first tokens' probabilities is below this."""
    is_ahead: bool = False
    """Whether nobody waits for the answer yet: every request that somebody waits for goes first."""


@frozen
class CompletionOutput:
    """One answer: the text behind the prompt and its `heal`, the tokens of both, and their log-probabilities in nats.

    `stop_reason` is a `StopReason` or a reason of the stop rule.
    """

    text: bytes
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: StopReason | str
    first_line_logprob: float = 0.0
    """Log-probability in nats of all tokens up to the end of the first line, the one that ends it included."""


@frozen
class Generation:
    """What the model wrote, at least one answer, the likeliest beginning first, and what it cost.

    `n_evaluated` counts the prompt tokens that went through a decode call in this request; `n_reused` those whose KV
    cells were there already.
    """

    written: tuple[CompletionOutput, ...]
    n_prompt: int
    n_reused: int
    n_evaluated: int
    prefill_ms: float
    decode_ms: float
    evaluation_ms: float
    """What of both was spent inside the engine's decode calls; the rest is the program's own."""

    @property
    def n_generated(self) -> int:
        """Tokens that were sampled and kept, of all answers."""
        return sum(len(one.ids) for one in self.written)


@frozen
class Prefilled:
    """What came of a prompt that was evaluated ahead of need. `is_complete` is false after a cancel."""

    n_evaluated: int
    is_complete: bool


@frozen
class CachedDocument:
    """How many tokens of a document's prompt are kept, and where: `device`, `ram` or `disk`."""

    document: str
    n_tokens: int
    where: str


@frozen
class Capabilities:
    """What an engine can do. A caller asks for no more than that."""

    healing: bool = True
    """`Prompt.heal` is obeyed."""
    n_answers: int = 8
    """Answers to one prompt, side by side."""
    logprobs: bool = True
    """Log-probabilities are those of the model; otherwise all are 0."""
    prefill: bool = True
    """A prompt can be evaluated ahead of the request for it."""


class KvCache(Protocol):
    """What an engine keeps of documents, where it keeps anything for us."""

    def forget(self) -> Awaitable[None]:
        """Drop everything that is kept for this client, on disk too."""

    def persist(self, document: str) -> None:
        """Keep what is held for `document` beyond the end of the engine, where that is on: it was closed."""

    def cached(self) -> Awaitable[Sequence[CachedDocument]]:
        """Return what is kept, most recently used first; nothing while the engine starts."""


class Engine(Protocol):
    """A model that answers fill-in-the-middle prompts. Used on the event loop."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @property
    def cache(self) -> KvCache | None:
        """What it keeps, or `None` if it keeps nothing for us."""

    @property
    def n_gpu_layers(self) -> int:
        """Layers of the model that run on a GPU."""

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens evaluated in a second, as measured lately on that machine; 0 before the first measurement."""

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Begin to answer; see `generation.generate`, which reads the stream."""

    def prefill(self, document: str, prompt: Prompt, cancellation: Cancellation) -> Awaitable[Prefilled]:
        """Evaluate a prompt ahead of the request for it. The await raises `EngineError`."""

    def close(self, *, is_restart: bool = False) -> Awaitable[None]:
        """Let go of the engine; with `is_restart`, so that the next one loads the model anew."""
