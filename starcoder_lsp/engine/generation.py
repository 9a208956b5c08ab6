"""Read an engine's tokens until something says stop: the stop rule, the beam of two, confidence, the deadline.

The rule runs here, where the documents are. The engine goes on meanwhile, so it may be a token or two ahead; those are
ignored.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from attrs import define, field

from starcoder_lsp.engine.engine import (
    Cancellation,
    CompletionOutput,
    Engine,
    EngineError,
    Generation,
    GenerationRequest,
    StopRule,
)
from starcoder_lsp.engine.stream import StopReason, Token, TokenStream

N_JUDGED_TOKENS = 8
"""By the likelihood of so many first tokens it is judged whether an answer is worth going on with."""
LAST_WORD_S = 1.0
"""How long a request that ended in its prompt waits to hear what of that was evaluated: longer than a slice takes."""

Piece = Callable[[int], bytes]
"""The bytes that a token stands for."""
OnTexts = Callable[[tuple[bytes, ...]], None]
"""Told, after each step, the texts of all answers that may still be shown, as far as there are any."""


@define
class Answer:
    """One answer as it grows."""

    number: int
    heal: bytes
    """What is still to be written again of the text before the cursor."""
    ids: list[int] = field(factory=list)
    logprobs: list[float] = field(factory=list)
    text: bytes = b""
    stop_reason: StopReason | str | None = None
    first_line_logprob: float = 0.0

    @property
    def has_first_line(self) -> bool:
        """Whether its first line will not grow any more."""
        return self.stop_reason is not None or b"\n" in self.text

    def add(self, token: Token, piece: bytes) -> None:
        """Take a token and the bytes that it stands for."""
        self.first_line_logprob += 0.0 if b"\n" in self.text else token.logprob
        if token.end == StopReason.STOP_TOKEN:
            self.stop_reason = token.end
            return
        self.ids.append(token.id)
        self.logprobs.append(token.logprob)
        self.heal, piece = self.heal[len(piece) :], piece[len(self.heal) :]
        self.text += piece

    def written(self) -> CompletionOutput:
        """Return the answer as it is now."""
        return CompletionOutput(
            text=self.text,
            ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            stop_reason=self.stop_reason or StopReason.CANCELLED,
            first_line_logprob=self.first_line_logprob,
        )


def confidence(logprobs: Sequence[float]) -> float:
    """The mean natural logarithm of the first tokens' probabilities; 0 if there are none."""
    judged = logprobs[:N_JUDGED_TOKENS]
    return sum(judged) / len(judged) if judged else 0.0


@define(eq=False)
class Reading:
    """The answers to one request as they are read."""

    request: GenerationRequest
    piece: Piece
    rule: StopRule
    on_texts: OnTexts
    stream: TokenStream
    answers: list[Answer] = field(factory=list)
    """Those that may still be shown, in the order of their numbers."""
    _all: dict[int, Answer] = field(factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is wanted."""
        return all(answer.stop_reason for answer in self.answers)

    def take(self, tokens: Iterable[Token]) -> None:
        """Take in the tokens of a step."""
        for token in tokens:
            answer = self._all.setdefault(token.answer, Answer(token.answer, self.request.prompt.heal))
            if not answer.stop_reason:
                answer.add(token, self.piece(token.id))
                self._judge(answer, token)
        self.answers = [self._all[number] for number in sorted(self._all)]
        self._race()
        texts = tuple(answer.text for answer in self.answers if answer.text)
        if texts:
            self.on_texts(texts)

    def close(self) -> None:
        """Read no more. The cells of the answer that leads a race stay, and otherwise those of the first one."""
        leads = self.answers and self.request.n_answers == 1
        self.stream.close(_leader(self.answers).number if leads else 0)

    def written(self, early: StopReason) -> tuple[CompletionOutput, ...]:
        """The answers as they are at the end, at least an empty one; `early` is why some had to end now."""
        for answer in self.answers:
            answer.stop_reason = answer.stop_reason or early
        self._race()
        return tuple(answer.written() for answer in self.answers) or (CompletionOutput(b"", (), (), early),)

    def _judge(self, answer: Answer, token: Token) -> None:
        """End an answer that is long enough, and tell the engine."""
        if answer.stop_reason:
            return
        n_tokens = len(answer.ids)
        reason = self.rule(answer.text) if answer.text else None
        is_judged = reason is None and n_tokens == N_JUDGED_TOKENS
        if is_judged and confidence(answer.logprobs) < self.request.min_confidence:
            reason = StopReason.LOW_CONFIDENCE
        answer.stop_reason = reason or token.end
        if reason is not None and not token.end:
            self.stream.drop(answer.number)

    def _race(self) -> None:
        """Where one answer is wanted and two are written, drop the one that has lost.

        The race is open until the better one has its first line: what is behind a whole line cannot catch up.
        """
        if self.request.n_answers > 1 or not self.answers:
            return
        best = _leader(self.answers)
        if not best.has_first_line:
            return
        for answer in self.answers:
            if answer is not best and not answer.stop_reason:
                answer.stop_reason = StopReason.LOST
                self.stream.drop(answer.number)
        self.answers = [best]


def _leader(answers: Iterable[Answer]) -> Answer:
    """The answer with the likeliest first line so far."""
    return max(answers, key=lambda answer: (answer.first_line_logprob, -answer.number))


async def generate(
    engine: Engine,
    request: GenerationRequest,
    piece: Piece,
    rule: StopRule,
    cancellation: Cancellation,
    *,
    on_texts: OnTexts = lambda _texts: None,
) -> Generation:
    """Answer `request`. A cancelled one ends with what there is, as one that is late does.

    One that is late or cancelled before its first token ends with an empty answer; what is evaluated of its prompt
    stays. One that was cancelled before never gets to the engine. Raises `EngineError` when the engine cannot.
    """
    n_prompt = len(request.prompt.ids)
    if cancellation.is_cancelled:
        return Generation((CompletionOutput(b"", (), (), StopReason.CANCELLED),), n_prompt, 0, 0, 0.0, 0.0, 0.0)
    started = time.perf_counter()
    prefilled = 0.0
    stream = engine.generate(request)
    reading = Reading(request, piece, rule, on_texts, stream)
    timer = asyncio.get_running_loop().call_later(request.timeout_ms / 1000, reading.close)
    cancellation.when_cancelled(reading.close)
    try:
        async for tokens in stream:
            prefilled = prefilled or time.perf_counter()
            reading.take(tokens)
            if reading.is_over or cancellation.is_cancelled:
                break
    finally:
        timer.cancel()
        reading.close()
    if not prefilled:
        with suppress(EngineError, TimeoutError):  # what of the prompt was evaluated until then counts
            await asyncio.wait_for(stream.ended(), LAST_WORD_S)
    now, usage = time.perf_counter(), stream.usage
    return Generation(
        written=reading.written(StopReason.CANCELLED if cancellation.is_cancelled else StopReason.TIMEOUT),
        n_prompt=n_prompt,
        n_reused=usage.n_reused,
        n_evaluated=usage.n_evaluated,
        prefill_ms=((prefilled or now) - started) * 1000,
        decode_ms=(now - prefilled) * 1000 if prefilled else 0.0,
        evaluation_ms=usage.evaluation_ms,
    )
