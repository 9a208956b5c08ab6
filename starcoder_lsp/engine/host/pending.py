"""Requests that wait for the host: token streams, and questions with one answer. On the event loop."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from attrs import define, field

from starcoder_lsp.engine.engine import EngineError, EngineLostError
from starcoder_lsp.engine.host import wire
from starcoder_lsp.engine.stream import Token, TokenStream, Usage

MAX_DEATHS_A_PROMPT = 2
"""Deaths of the host in a row with one prompt running, after which that prompt is refused. Not measured: one death may
be chance, and each further one costs every client a restart."""


@define(eq=False)
class _Request:
    """A request whose stream has not ended."""

    stream: TokenStream
    message: wire.Generate
    is_sent: bool = False
    is_closed: bool = False
    """True if its reader has closed the stream and only the host's last message is missing."""


@define(eq=False)
class PendingRequests:
    """Requests and questions without their last message.

    `send` returns whether the message was sent: no host is ready while one starts. A request waits for it then, and a
    question fails.
    """

    send: Callable[[wire.ToHost], bool]
    failure: EngineError | None = None
    """The error with which every further request fails; `None` while requests can be answered."""
    _numbers: itertools.count[int] = field(factory=itertools.count)
    _requests: dict[int, _Request] = field(factory=dict)
    _questions: dict[int, asyncio.Future[Any]] = field(factory=dict)
    _n_deaths: dict[int, int] = field(factory=dict)
    """Deaths of the host in a row with a prompt running, by the prompt's hash."""

    def next_number(self) -> int:
        """Return the number of the next request."""
        return next(self._numbers)

    def begin(self, message: wire.Generate) -> TokenStream:
        """Send a request, now or as soon as a host is ready."""
        number = message.request
        stream = TokenStream(
            lambda answer: self._drop(number, answer), lambda kept_answer: self._close(number, kept_answer)
        )
        if self.failure is not None:
            stream.end(None, self.failure)
        elif self._n_deaths.get(hash(tuple(message.ids)), 0) >= MAX_DEATHS_A_PROMPT:
            stream.end(None, EngineError("this prompt ended the process of the model twice; it is not sent again"))
        else:
            request = self._requests[number] = _Request(stream, message)
            request.is_sent = self.send(message)
        return stream

    def send_all(self) -> None:
        """Send every request to a host that has just become ready."""
        for request in list(self._requests.values()):
            request.is_sent = self.send(request.message)

    async def ask(self, question: Callable[[int], wire.ToHost]) -> Any:
        """Send the message that `question` makes of a number, and return the answer. Raises `EngineError`."""
        number = self.next_number()
        answer = asyncio.get_running_loop().create_future()
        if not self.send(question(number)):
            raise self.failure or EngineLostError("the process of the model is not running")
        self._questions[number] = answer
        try:
            return await answer
        finally:
            self._questions.pop(number, None)

    def receive_tokens(self, message: wire.Tokens) -> None:
        """Feed the tokens of a step to their stream."""
        request = self._requests.get(message.request)
        if request is not None:
            tokens = tuple(Token(*row) for row in message.tokens)
            request.stream.feed(tokens, Usage(message.n_reused, message.n_evaluated, message.evaluation_ms))

    def receive_end(self, message: wire.Ended) -> bool:
        """End a stream; return whether the host has answered: a request that was left before that proves nothing."""
        request = self._requests.pop(message.request, None)
        if request is None:
            return False
        usage = Usage(message.n_reused, message.n_evaluated, message.evaluation_ms, message.is_complete)
        request.stream.end(usage, EngineError(message.error) if message.error else None)
        if message.error or not message.is_complete:
            return False
        self._n_deaths.pop(hash(tuple(request.message.ids)), None)
        return True

    def receive_answer(self, message: wire.Done) -> None:
        """Answer a question."""
        answer = self._questions.get(message.request)
        if answer is None or answer.done():
            return
        if message.error:
            answer.set_exception(EngineError(message.error))
        else:
            answer.set_result(wire.value_of(message))

    def count_death(self) -> None:
        """Count a death of the host against each prompt that was running."""
        for request in self._requests.values():
            if request.is_sent and not request.is_closed:
                key = hash(tuple(request.message.ids))
                self._n_deaths[key] = self._n_deaths.get(key, 0) + 1

    def fail_sent(self, error: EngineError) -> None:
        """Fail every question, and the requests that were sent; with a `failure` those that wait, too."""
        for number, request in list(self._requests.items()):
            if request.is_sent or self.failure is not None:
                del self._requests[number]
                request.stream.end(None, error)
        for answer in self._questions.values():
            if not answer.done():
                answer.set_exception(error)
        self._questions.clear()

    def _drop(self, number: int, answer: int) -> None:
        self.send(wire.Drop(number, answer))

    def _close(self, number: int, kept_answer: int) -> None:
        request = self._requests.get(number)
        if request is None:
            return
        if request.is_sent:
            request.is_closed = True
            self.send(wire.Close(number, kept_answer))
        else:
            del self._requests[number]
            request.stream.end(None)
