"""Make suggestions of whole lines: continue a draft that leaves its line open, under a constraint.

The filters judge (`suggestions/postprocess.py`); `suggestions/forks.py` decides where to go on. The model chooses among
the tokens that are allowed, so it writes what is added. The KV cells up to the fork are shared: a further draft costs
the tokens behind it and one more. An engine that cannot constrain its tokens writes one draft, which the filters
shorten or drop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from attrs import define, evolve, field, frozen

from starcoder_lsp.background import in_background
from starcoder_lsp.engine.engine import (
    Cancellation,
    CompletionOutput,
    Engine,
    Generation,
    GenerationRequest,
    Prompt,
    StopRule,
)
from starcoder_lsp.engine.generation import OnTexts, Piece, generate
from starcoder_lsp.engine.stream import StopReason
from starcoder_lsp.suggestions.cursor_context import CursorContext
from starcoder_lsp.suggestions.forks import Fork, closing, going_on
from starcoder_lsp.suggestions.postprocess import is_whole, postprocess
from starcoder_lsp.suggestions.stopping import TextEnd
from starcoder_lsp.suggestions.suggestion import Suggestion

T = TypeVar("T")
NO_WAY_ON = (StopReason.CANCELLED, StopReason.TIMEOUT, StopReason.LOW_CONFIDENCE)
"""Stop reasons after which no further draft is written."""
N_OTHERS = 3
"""The number of drafts with other first tokens, if neither the first draft nor a part of it can be shown. Other numbers
are not measured."""
MIN_LEFT_MS = 50.0
"""The least time for which a further draft begins. Not measured."""


@frozen
class Writer:
    """Writes the drafts of one request: engine, prompt and rules that all of them share."""

    engine: Engine
    request: GenerationRequest
    piece: Piece
    rule: StopRule
    cancellation: Cancellation
    on_texts: OnTexts

    async def draft(self) -> Generation:
        """Write the first draft. Raises `EngineError`."""
        return await generate(
            self.engine, self.request, self.piece, self.rule, self.cancellation, on_texts=self.on_texts
        )

    async def others(self, n_answers: int, left_ms: float) -> Generation:
        """Write drafts that begin with the likeliest first tokens, one each. Raises `EngineError`."""
        request = evolve(self.request, n_answers=n_answers, beam_margin_nats=0.0, timeout_ms=left_ms)
        return await generate(self.engine, request, self.piece, self.rule, self.cancellation, on_texts=self.on_texts)

    async def go_on(self, output: CompletionOutput, at: Fork, left_ms: float) -> Generation:
        """Write on behind a fork of `output`; the first answer is the whole text. Raises `EngineError`."""
        ids, heal = _resumed(self.request.prompt, output, at, self.piece)
        prompt = evolve(self.request.prompt, ids=(*self.request.prompt.ids, *ids), heal=heal, avoid=at.avoid)
        begun = at.kept + at.forced
        n_left = self.request.max_new_tokens - len(ids)
        request = evolve(
            self.request,
            prompt=prompt,
            max_new_tokens=max(1, n_left),
            timeout_ms=left_ms,
            n_answers=1,
            beam_margin_nats=0.0,
        )
        generation = await generate(
            self.engine,
            request,
            self.piece,
            lambda text: self.rule(begun + text),
            self.cancellation,
            on_texts=lambda texts: self.on_texts(tuple(begun + text for text in texts)),
        )
        written = generation.written[0]
        whole = evolve(
            written,
            text=begun + written.text,
            ids=(*ids, *written.ids),
            logprobs=(*output.logprobs[: len(ids)], *written.logprobs),
            first_line_logprob=sum(output.logprobs[: len(ids)]) + written.first_line_logprob,
        )
        return evolve(generation, written=(whole,))


def _resumed(prompt: Prompt, output: CompletionOutput, at: Fork, piece: Piece) -> tuple[tuple[int, ...], bytes]:
    """Return the tokens of an answer up to a fork, and the rest of the kept bytes, which must follow them."""
    begun, n_bytes, ids = prompt.heal + at.kept, 0, []
    for token_id in output.ids:
        text = piece(token_id)
        if not begun.startswith(text, n_bytes) or n_bytes + len(text) > len(begun):
            break
        ids.append(token_id)
        n_bytes += len(text)
    return tuple(ids), begun[n_bytes:] + at.forced


async def write_whole(
    writer: Writer, cursor: CursorContext, normalized: Callable[[bytes], bytes]
) -> tuple[Generation, float]:
    """Write a draft. If it is not whole, write others: one that goes on, one that closes brackets, other beginnings.

    Return the first whole one in place of the first draft, or the first draft; and the milliseconds for which filters
    judged drafts. All costs are counted. `normalized` gives a text the line ends that filters know. Raises
    `EngineError`.
    """
    started = time.perf_counter()
    first = await writer.draft()
    capabilities, draft = writer.engine.capabilities, first.written[0]
    may_steer = capabilities.healing and capabilities.avoidance and writer.request.n_answers == 1
    if not may_steer or normalized(draft.text) != draft.text or draft.stop_reason in NO_WAY_ON:
        return first, 0.0
    drafts = Drafts(writer, cursor, started + writer.request.timeout_ms / 1000, first)
    if await drafts.is_whole(draft):
        return first, drafts.judging_ms
    found = await drafts.go_on(going_on(draft.text, draft.stop_reason, cursor), draft)
    for each in reversed(drafts.written):
        found = found or await drafts.go_on(closing(each.text, cursor), each)
    found = found or await drafts.begin_otherwise()
    return evolve(drafts.total, written=(found or draft,)), drafts.judging_ms


@define
class Drafts:
    """The further drafts of one request. `total` is the first draft, with the cost of all drafts so far."""

    writer: Writer
    cursor: CursorContext
    deadline_s: float
    """The deadline on the clock of `time.perf_counter`."""
    total: Generation
    written: list[CompletionOutput] = field(factory=list)
    judging_ms: float = 0.0
    """The milliseconds for which filters judged drafts so far."""

    def __attrs_post_init__(self) -> None:
        """Begin with the first draft."""
        self.written.append(self.total.written[0])

    @property
    def left_ms(self) -> float:
        """The milliseconds left for a further draft; 0 if none may begin."""
        left_ms = (self.deadline_s - time.perf_counter()) * 1000
        return 0.0 if left_ms < MIN_LEFT_MS or self.writer.cancellation.is_cancelled else left_ms

    async def is_whole(self, draft: CompletionOutput) -> bool:
        """Return whether the filters show a draft whole; false after the deadline."""
        if draft.stop_reason in NO_WAY_ON:
            return False
        return bool(await self._judged(partial(is_whole, draft.text, draft.stop_reason, self.cursor)))

    async def go_on(self, at: Fork | None, behind: CompletionOutput) -> CompletionOutput | None:
        """Write on from a fork; return the new draft, or its part up to the forced text's end, if that is whole."""
        left_ms = self.left_ms
        if at is None or not left_ms:
            return None
        further = await self.writer.go_on(behind, at, left_ms)
        self.total, draft = _with_cost(self.total, further), further.written[0]
        self.written.append(draft)
        if await self.is_whole(draft):
            return draft
        begun = evolve(draft, text=at.kept + at.forced, stop_reason=TextEnd.LINE_END)
        is_begun = bool(at.forced) and draft.stop_reason not in NO_WAY_ON and await self.is_whole(begun)
        return begun if is_begun else None

    async def begin_otherwise(self) -> CompletionOutput | None:
        """Return the likeliest whole draft with another first token, unless a part of the first draft is shown."""
        first, n_answers = self.written[0], min(N_OTHERS, self.writer.engine.capabilities.n_answers)
        shown = await self._judged(partial(postprocess, Suggestion(first.text, first.stop_reason), self.cursor))
        left_ms = self.left_ms
        if shown is None or shown[0].text or not left_ms or n_answers == 1:
            return None
        others = await self.writer.others(n_answers, left_ms)
        self.total = _with_cost(self.total, others)
        for each in sorted(others.written, key=lambda draft: -draft.first_line_logprob):
            if await self.is_whole(each):
                return each
        return None

    async def _judged(self, judge: Callable[[], T]) -> T | None:
        """Return a verdict of the background thread, or `None` after the deadline."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(max(0.0, self.deadline_s - started)):
                return await in_background(judge)
        except TimeoutError:
            return None
        finally:
            self.judging_ms += (time.perf_counter() - started) * 1000


def _with_cost(first: Generation, further: Generation) -> Generation:
    """Add the cost of a further draft. The first draft's prompt and text, which it repeats, are not counted twice."""
    return evolve(
        first,
        n_evaluated=first.n_evaluated + further.n_evaluated,
        decode_ms=first.decode_ms + further.prefill_ms + further.decode_ms,
        evaluation_ms=first.evaluation_ms + further.evaluation_ms,
    )
