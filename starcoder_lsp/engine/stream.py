"""The tokens of one request: the engine feeds them, `generation.py` reads them. On the event loop."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    import asyncio


class StopReason(StrEnum):
    """The reason for an answer's end. A stop rule has further reasons of its own."""

    STOP_TOKEN = "stop_token"  # noqa: S105  no password
    """The model wrote a token that ends answers. It is no part of the answer."""
    MAX_TOKENS = "max_tokens"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    LOW_CONFIDENCE = "low_confidence"
    LOST = "lost"
    """The other answer of a beam of two was likelier."""
    DROPPED = "dropped"
    """The reader ended the answer. Engines use this for every end that the reader decides."""


@frozen
class Token:
    """One sampled token of the `answer`-th answer; `logprob` in nats, before temperature.

    `end` is why the engine ends the answer with this token: `STOP_TOKEN` or `MAX_TOKENS`.
    """

    answer: int
    id: int
    logprob: float
    end: StopReason | None = None


@frozen
class Usage:
    """The cost of a request: prompt tokens reused and evaluated, and milliseconds inside decode calls."""

    n_reused: int = 0
    n_evaluated: int = 0
    evaluation_ms: float = 0.0
    is_complete: bool = False
    """True if the whole prompt was evaluated; only known at the end."""
    is_counted: bool = True
    """True if the engine reported these counts; if not, `n_reused` and `n_evaluated` are 0 and mean nothing."""


def _new_queue() -> asyncio.Queue[tuple[Token, ...] | None]:
    import asyncio  # a quarter of the start of `models list`, which has no stream

    return asyncio.Queue()


def _new_event() -> asyncio.Event:
    import asyncio

    return asyncio.Event()


@define(eq=False)
class TokenStream:
    """The answers to one request. `on_drop` and `on_close` pass the reader's decisions to the engine."""

    on_drop: Callable[[int], None]
    on_close: Callable[[int], None]
    usage: Usage = field(factory=Usage)
    """The cost so far."""
    n_answers: int = 0
    """The number of answers that have begun; 0 until the prompt is evaluated."""
    _queue: asyncio.Queue[tuple[Token, ...] | None] = field(factory=_new_queue)
    _ended: asyncio.Event = field(factory=_new_event)
    _error: Exception | None = None
    _is_closed: bool = False

    def __aiter__(self) -> TokenStream:
        """Return this stream, to be read once. No generator: a reader that stops early would have to close it."""
        return self

    async def __anext__(self) -> tuple[Token, ...]:
        """Return the tokens of a step together, until the stream is closed or lost. Raises `EngineError`."""
        tokens = await self._queue.get()
        if tokens is not None:
            return tokens
        if self._error is not None and not self._is_closed:
            raise self._error
        raise StopAsyncIteration

    def drop(self, answer: int) -> None:
        """End one answer. The reader ignores further tokens of it."""
        if not self._is_closed:
            self.on_drop(answer)

    def close(self, kept_answer: int = 0) -> None:
        """End all answers. The KV cells of `kept_answer` stay, as far as it was decoded."""
        if not self._is_closed:
            self._is_closed = True
            self.on_close(kept_answer)
            self._queue.put_nowait(None)

    async def ended(self) -> Usage:
        """Wait until the engine is done with the request, and return its cost. Raises `EngineError`."""
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        return self.usage

    def feed(self, tokens: tuple[Token, ...], usage: Usage) -> None:
        """Add the tokens of a step. The engine calls this."""
        self.n_answers = max(self.n_answers, *(token.answer + 1 for token in tokens))
        self.usage = usage
        self._queue.put_nowait(tokens)

    def end(self, usage: Usage | None, error: Exception | None = None) -> None:
        """End the stream, with an error if the request failed. The engine calls this."""
        self.usage = usage or self.usage
        self._error = error
        self._ended.set()
        self._queue.put_nowait(None)
