"""The interface of an engine, which runs a model: requests in, a stream of tokens out.

An engine is in another process or on another machine. So its methods are asynchronous, and its values are made of
bytes, numbers, strings and tuples. Choosing a prompt needs no engine, only `prompt_model.py`. Nothing here knows
llama.cpp, editors or languages.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import define, field, frozen

from starcoder_lsp.engine.stream import StopReason, TokenStream

StopRule = Callable[[bytes], str | None]
"""Called after each token with the text so far; returns the reason to stop, or `None` to go on."""


class EngineError(Exception):
    """The engine cannot answer. The text is one plain line for the user: what is wrong and what to do."""


class EngineLostError(EngineError):
    """The engine ended while a request was running, or before it began."""


@define(eq=False)
class Cancellation:
    """A signal to running work that its result is not needed any more. On the event loop."""

    is_cancelled: bool = False
    _callbacks: list[Callable[[], None]] = field(factory=list)

    def cancel(self) -> None:
        """Cancel the work; a second call does nothing."""
        if not self.is_cancelled:
            self.is_cancelled = True
            for callback in self._callbacks:
                callback()

    def when_cancelled(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the cancellation, or now if that has happened."""
        if self.is_cancelled:
            callback()
        else:
            self._callbacks.append(callback)


@frozen
class Sampling:
    """The choice of tokens. `temperature` 0 takes the likeliest; above it `seed` makes the draw repeatable."""

    temperature: float = 0.0
    seed: int = 0


@frozen
class Prompt:
    """A prompt: the token ids that are sent, and the ids that end an answer."""

    ids: tuple[int, ...]
    stop_ids: frozenset[int]
    format_name: str
    """The name of the layout in `fim.py`, for `explain`."""
    heal: bytes = b""
    """Text behind `ids` that the answer must begin with, in any tokens (token healing)."""
    avoid: bytes = b""
    """Bytes that may not be in the answer up to the first token behind `heal`; nor may the answer end before that."""


_MEMORY_ONLY = "memory-only:"


def memory_only(document: str) -> str:
    """Return the name of a document whose state must never be written to disk."""
    return _MEMORY_ONLY + document


def is_memory_only(document: str) -> bool:
    """Return whether a name came from `memory_only`."""
    return document.startswith(_MEMORY_ONLY)


def uri_of(document: str) -> str:
    """Return the URI in the name of a document."""
    return document.removeprefix(_MEMORY_ONLY)


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
    """If one answer is requested and the two likeliest first tokens are within this margin, decode both to the end of
    the first line and keep the likelier (a beam of 2). Not with a temperature."""
    min_confidence: float = -math.inf
    """An answer ends early when the mean natural logarithm of its first tokens' probabilities is below this."""
    is_ahead: bool = False
    """True if no user waits for the answer yet. Requests that a user waits for go first."""
    ends_with_line: bool = False
    """True if only the first line of an answer will be used. An engine may end it there."""


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
    """At least one answer, the one with the likeliest beginning first, and their cost.

    `n_evaluated` counts the prompt tokens that went through a decode call, `n_reused` those whose KV cells were cached.
    """

    written: tuple[CompletionOutput, ...]
    n_prompt: int
    n_reused: int
    n_evaluated: int
    prefill_ms: float
    decode_ms: float
    evaluation_ms: float
    """The milliseconds inside the engine's decode calls, or the wait for a remote engine."""
    is_counted: bool = True
    """True if the engine reported `n_reused` and `n_evaluated`; if not, both are 0 and mean nothing."""

    @property
    def n_generated(self) -> int:
        """The number of tokens in all answers."""
        return sum(len(one.ids) for one in self.written)


@frozen
class Prefilled:
    """The result of evaluating a prompt ahead of need. `is_complete` is false after a cancel."""

    n_evaluated: int
    is_complete: bool


@frozen
class CachedDocument:
    """The number of cached tokens of a document's prompt, and where they are: `device`, `ram` or `disk`."""

    document: str
    n_tokens: int
    where: str


@frozen
class Capabilities:
    """Optional features of an engine. A caller uses only those that it has."""

    healing: bool = True
    """True if `Prompt.heal` has an effect."""
    n_answers: int = 8
    """The most answers to one prompt. Not measured."""
    logprobs: bool = True
    """True if log-probabilities are those of the model; otherwise all are 0."""
    avoidance: bool = False
    """True if `Prompt.avoid` has an effect."""
    prefill: bool = True
    """True if a prompt can be evaluated ahead of the request for it."""
    beam: bool = True
    """`beam_margin_nats` is obeyed."""
    counts: str = "all"
    """The requests for which the engine reports token counts: `"all"`, `"finished"` (it ended them) or `"none"`."""
    takes_ids: bool = True
    """Prompts are sent as token ids; otherwise as text."""


class KvCache(Protocol):
    """The KV states of documents that an engine caches for this client."""

    def forget(self) -> Awaitable[None]:
        """Drop everything that is cached for this client, on disk too."""

    def persist(self, document: str) -> None:
        """Write the state of `document`, which was closed, to disk if that is on."""

    def cached(self) -> Awaitable[Sequence[CachedDocument]]:
        """Return what is cached, most recently used first; nothing while the engine starts."""


class Engine(Protocol):
    """A model that answers fill-in-the-middle prompts. Used on the event loop."""

    @property
    def capabilities(self) -> Capabilities:
        """The features of this engine."""

    @property
    def cache(self) -> KvCache | None:
        """The KV cache, or `None` if the engine caches nothing for this client."""

    @property
    def n_gpu_layers(self) -> int:
        """The number of the model's layers on a GPU."""

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens evaluated in a second, as last measured on the engine's machine; 0 before that."""

    def generate(self, request: GenerationRequest) -> TokenStream:
        """Begin to answer, and return the stream that `generation.generate` reads."""

    def prefill(self, document: str, prompt: Prompt, cancellation: Cancellation) -> Awaitable[Prefilled]:
        """Evaluate a prompt ahead of the request for it. The await raises `EngineError`."""

    def close(self, *, is_restart: bool = False) -> Awaitable[None]:
        """Close the engine. With `is_restart` the next one loads the model again."""
