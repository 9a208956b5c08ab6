"""Read an engine's tokens until an answer ends: by the stop rule, the beam of two, low confidence or the deadline.

The stop rule runs here, where the documents are. The engine goes on meanwhile, so it may be a token or two ahead; these
are ignored.
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
"""The number of first tokens that give an answer's confidence. Not measured; thresholds are in `bench/RESULTS.md`
(`python bench/stages.py`, minConfidence)."""
USAGE_TIMEOUT_S = 1.0
"""The time for which a request that ended during its prefill waits for its token counts. On a CPU a slice is broken
off within milliseconds, and on a GPU it takes a few. Not measured."""

Piece = Callable[[int], bytes]
"""The bytes that a token stands for."""
OnTexts = Callable[[tuple[bytes, ...]], None]
"""Called after each step with the texts of all answers that may still be shown; not before one has text."""


@define
class Answer:
    """One answer as it grows."""

    number: int
    heal: bytes
    """The rest of the text before the cursor that the answer must begin with."""
    ids: list[int] = field(factory=list)
    logprobs: list[float] = field(factory=list)
    text: bytes = b""
    stop_reason: StopReason | str | None = None
    first_line_logprob: float = 0.0

    @property
    def has_first_line(self) -> bool:
        """Return whether its first line is complete."""
        return self.stop_reason is not None or b"\n" in self.text

    def add(self, token: Token, piece: bytes) -> None:
        """Append a token, and the bytes that it stands for."""
        self.first_line_logprob += 0.0 if b"\n" in self.text else token.logprob
        if token.end == StopReason.STOP_TOKEN:
            self.stop_reason = token.end
            return
        self.ids.append(token.id)
        self.logprobs.append(token.logprob)
        self.heal, piece = self.heal[len(piece) :], piece[len(self.heal) :]
        self.text += piece

    def output(self) -> CompletionOutput:
        """Return the answer as it is now."""
        return CompletionOutput(
            text=self.text,
            ids=tuple(self.ids),
            logprobs=tuple(self.logprobs),
            stop_reason=self.stop_reason or StopReason.CANCELLED,
            first_line_logprob=self.first_line_logprob,
        )


def confidence(logprobs: Sequence[float]) -> float:
    """Return the mean natural logarithm of the first tokens' probabilities; 0 without tokens."""
    judged = logprobs[:N_JUDGED_TOKENS]
    return sum(judged) / len(judged) if judged else 0.0


@define(eq=False)
class Reading:
    """The answers to one request while their tokens are read."""

    request: GenerationRequest
    piece: Piece
    rule: StopRule
    on_texts: OnTexts
    stream: TokenStream
    answers: list[Answer] = field(factory=list)
    """The answers that may still be shown, in the order of their numbers."""
    _all: dict[int, Answer] = field(factory=dict)

    @property
    def is_over(self) -> bool:
        """Return whether every answer has ended."""
        return all(answer.stop_reason for answer in self.answers)

    def add(self, tokens: Iterable[Token]) -> None:
        """Append the tokens of a step to their answers."""
        for token in tokens:
            answer = self._all.setdefault(token.answer, Answer(token.answer, self.request.prompt.heal))
            if not answer.stop_reason:
                answer.add(token, self.piece(token.id))
                self._check_end(answer, token)
        self.answers = [self._all[number] for number in sorted(self._all)]
        self._narrow_beam()
        texts = tuple(answer.text for answer in self.answers if answer.text)
        if texts:
            self.on_texts(texts)

    def close(self) -> None:
        """Stop reading. The cells of the leading answer of a beam stay, and otherwise those of the first answer."""
        is_beam = self.answers and self.request.n_answers == 1
        self.stream.close(_leader(self.answers).number if is_beam else 0)

    def outputs(self, reason: StopReason) -> tuple[CompletionOutput, ...]:
        """End the running answers for `reason`, and return all of them; an empty one if there are none."""
        for answer in self.answers:
            if not answer.stop_reason:
                answer.stop_reason = StopReason.LOW_CONFIDENCE if self._is_unsure(answer) else reason
        self._narrow_beam()
        return tuple(answer.output() for answer in self.answers) or (CompletionOutput(b"", (), (), reason),)

    def _check_end(self, answer: Answer, token: Token) -> None:
        """End an answer if the stop rule or its confidence says so, and notify the engine."""
        if answer.stop_reason:
            return
        reason = self.rule(answer.text) if answer.text else None
        if (reason or token.end or len(answer.ids) == N_JUDGED_TOKENS) and self._is_unsure(answer):
            reason = StopReason.LOW_CONFIDENCE
        answer.stop_reason = reason or token.end
        if reason is not None and not token.end:
            self.stream.drop(answer.number)

    def _is_unsure(self, answer: Answer) -> bool:
        """Return whether an answer that ends, or has its first tokens, is below the request's confidence."""
        return len(answer.ids) <= N_JUDGED_TOKENS and confidence(answer.logprobs) < self.request.min_confidence

    def _narrow_beam(self) -> None:
        """If one answer is requested and two are running, drop the less likely one.

        Wait until the likelier one has its first line: log-probabilities only fall, so the other cannot overtake it.
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
    """Return the answer with the likeliest first line so far."""
    return max(answers, key=lambda answer: (answer.first_line_logprob, -answer.number))


async def generate(  # noqa: PLR0913  # what runs, and the four callbacks and flags that read or end it
    engine: Engine,
    request: GenerationRequest,
    piece: Piece,
    rule: StopRule,
    cancellation: Cancellation,
    *,
    on_texts: OnTexts = lambda _texts: None,
) -> Generation:
    """Answer `request`. A cancel or the deadline ends it with the text so far, which may be empty.

    The evaluated part of the prompt stays cached. If it is cancelled already, the engine does not get it. Raises
    `EngineError`.
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
            reading.add(tokens)
            if reading.is_over or cancellation.is_cancelled:
                break
    finally:
        timer.cancel()
        reading.close()
    if not prefilled or not stream.usage.is_counted:
        with suppress(EngineError, TimeoutError):  # for the number of tokens that were evaluated
            await asyncio.wait_for(stream.ended(), USAGE_TIMEOUT_S)
    now, usage = time.perf_counter(), stream.usage
    return Generation(
        written=reading.outputs(StopReason.CANCELLED if cancellation.is_cancelled else StopReason.TIMEOUT),
        n_prompt=n_prompt,
        n_reused=usage.n_reused,
        n_evaluated=usage.n_evaluated,
        prefill_ms=((prefilled or now) - started) * 1000,
        decode_ms=(now - prefilled) * 1000 if prefilled else 0.0,
        evaluation_ms=usage.evaluation_ms,
        is_counted=usage.is_counted,
    )
