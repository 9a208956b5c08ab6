"""What the rest of the program knows of a model: plain values in, plain values out.

Everything that crosses `Engine` is bytes, numbers, strings and tuples of them, so that the model can live in another
process or on another machine without a change above this line. Nothing here knows llama.cpp, editors or languages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from attrs import field, frozen

from starcoder_lsp.engine.tokens import Tokenizer

Cancelled = Callable[[], bool]
"""Asked between two pieces of work; true means that the answer is not wanted any more."""

StopRule = Callable[[bytes], str | None]
"""Asked after each token with the text so far; a string is the reason to stop, `None` means go on."""


class EngineError(Exception):
    """The model cannot answer. The text is one plain line for a person: what is wrong and what to do."""


@frozen
class ModelInfo:
    """What is loaded."""

    name: str
    architecture: str
    n_parameters: int
    n_bytes: int
    n_context: int
    """Tokens that a prompt and its answer may take together."""
    n_gpu_layers: int


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
    hesitation: float = 0.0
    """If one answer is asked for and the second likeliest first token is less likely by at most so many nats, both are
    followed to the end of their first line, and the likelier line wins. Not with a temperature."""
    min_confidence: float = -math.inf
    """An answer ends early when the mean natural logarithm of its first tokens' probabilities is below this."""


@frozen
class Written:
    """One answer: the text behind the prompt and its `heal`, the tokens of both, and their log-probabilities in nats.

    `stop_reason` is `"stop_token"`, `"max_tokens"`, `"timeout"`, `"cancelled"`, `"low_confidence"`, or the answer of
    the stop rule.
    """

    text: bytes
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    stop_reason: str
    first_line_logprob: float = 0.0
    """Log-probability in nats of all tokens up to the end of the first line, the one that ends it included."""


@frozen
class Generation:
    """What the model wrote, at least one answer, the likeliest beginning first, and what it cost.

    `n_evaluated` counts the prompt tokens that went through a decode call in this request; `n_reused` those whose KV
    cells were there already.
    """

    written: tuple[Written, ...]
    n_prompt: int
    n_reused: int
    n_evaluated: int
    prefill_ms: float
    decode_ms: float
    evaluation_ms: float
    """What of both was spent inside llama.cpp; the rest is the server's own."""

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


class Engine(Protocol):
    """A model that answers fill-in-the-middle prompts. Not thread-safe: one thread calls it."""

    @property
    def info(self) -> ModelInfo:
        """What is loaded."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's vocabulary."""

    def generate(self, request: GenerationRequest, stop: StopRule, cancelled: Cancelled) -> Generation:
        """Answer one request. Raises `EngineError` when the model cannot; its state stays usable."""

    def prefill(self, document: str, prompt: Prompt, cancelled: Cancelled) -> Prefilled:
        """Evaluate a prompt ahead of the request for it. Raises `EngineError` as `generate` does."""

    @property
    def prefill_speed(self) -> float:
        """Prompt tokens evaluated in a second, as measured lately on this machine; 0 before the first measurement."""

    def forget(self, document: str) -> None:
        """Drop what is kept for `document`."""

    def put_away(self, document: str) -> None:
        """Keep what is held for `document` beyond the end of the program, where that is on: it was closed."""

    def cached(self) -> Iterable[CachedDocument]:
        """What is kept, most recently used first. May be asked from any thread."""

    def close(self) -> None:
        """Put every document away, and give the memory back."""
